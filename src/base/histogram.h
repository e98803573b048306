/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include "base/util.h"

/*
 * Counts of values by their size: exact below 128, then 64 steps for each doubling, so no value
 * is off by more than 1.6 %. (Debian has the HdrHistogram library for Java and Go only.)
 */
#define HISTOGRAM_STEPS 64u
#define HISTOGRAM_SLOTS (HISTOGRAM_STEPS * 48)

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t slots[HISTOGRAM_SLOTS];
};

static inline unsigned histogram_slot(uint64_t value)
{
    unsigned shift;

    if (value < 2 * HISTOGRAM_STEPS)
        return (unsigned)value;
    shift = (unsigned)(63 - __builtin_clzll(value)) - 6; /* leaves 64 to 127 */
    shift = (shift + 1) * HISTOGRAM_STEPS + (unsigned)(value >> shift) - HISTOGRAM_STEPS;
    return shift < HISTOGRAM_SLOTS ? shift : HISTOGRAM_SLOTS - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += value;
    histogram->slots[histogram_slot(value)]++;
}

/* Adds all that another has counted. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* A value that belongs to a slot. */
uint64_t histogram_value(unsigned slot);

/* The value that a share of all values, 0 to 1, does not exceed; 0 if there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

double histogram_mean(const struct histogram *histogram);

#endif
