/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms of latencies
 *
 * Slots are logarithmic with linear steps inside each doubling. Adding is a few instructions
 * (histogram.h), so that measuring does not show in what is measured; reading is here.
 */

#include "base/histogram.h"

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    histogram->count += other->count;
    histogram->sum += other->sum;
    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++)
        histogram->slots[i] += other->slots[i];
}

uint64_t histogram_value(unsigned slot)
{
    unsigned shift;

    if (slot < 2 * HISTOGRAM_STEPS)
        return slot;
    shift = slot / HISTOGRAM_STEPS - 1;
    return (uint64_t)(slot % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += histogram->slots[i];
        if (seen > wanted || (seen && seen == histogram->count))
            return histogram_value(i);
    }
    return 0;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
}
