/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms: slots and values fit each other, percentiles are where they should be.
 */

#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void slots_and_values(void **state)
{
    for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++)
        assert_int_equal(histogram_slot(histogram_value(slot)), slot);
    for (uint64_t value = 1; value < 1ull << 40; value = value * 17 / 16 + 1) {
        uint64_t low = histogram_value(histogram_slot(value));

        assert_true(low <= value);
        assert_true((value - low) * 63 <= value);
    }
    assert_int_equal(histogram_slot(UINT64_MAX), HISTOGRAM_SLOTS - 1);
}

static void percentiles(void **state)
{
    static struct histogram histogram, other;

    assert_int_equal(histogram_percentile(&histogram, 0.5), 0);
    for (unsigned i = 1; i <= 100; i++)
        histogram_add(i % 2 ? &histogram : &other, i);
    histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, 100);
    assert_int_equal(histogram_percentile(&histogram, 0.5), 51);
    assert_int_equal(histogram_percentile(&histogram, 0.99), 100);
    assert_int_equal(histogram_percentile(&histogram, 1), 100);
    assert_int_equal(histogram_percentile(&histogram, 0), 1);
    assert_true(histogram_mean(&histogram) > 50.4 && histogram_mean(&histogram) < 50.6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_and_values),
        cmocka_unit_test(percentiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
