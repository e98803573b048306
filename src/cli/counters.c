/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The counters of a device as a table for people: a line for each queue that did anything, and
 * their sum.
 */

#include "cli/counters.h"

#include <inttypes.h>
#include <stdio.h>

static bool used(const struct ob_queue_counters *counters)
{
    return counters->requests || counters->kicks || counters->calls || counters->broken;
}

static void add(struct ob_queue_counters *sum, const struct ob_queue_counters *counters)
{
    sum->requests += counters->requests;
    sum->bytes_out += counters->bytes_out;
    sum->bytes_in += counters->bytes_in;
    sum->errors += counters->errors;
    sum->kicks += counters->kicks;
    sum->calls += counters->calls;
    sum->broken += counters->broken;
}

static void print_row(const char *name, const struct ob_queue_counters *counters)
{
    fprintf(stderr,
            "%8s %12" PRIu64 " %15" PRIu64 " %15" PRIu64 " %8" PRIu64 " %12" PRIu64 " %12" PRIu64
            " %6" PRIu64 "\n",
            name, counters->requests, counters->bytes_in, counters->bytes_out, counters->errors,
            counters->kicks, counters->calls, counters->broken);
}

void counters_print(const struct ob_device *device)
{
    struct ob_queue_counters counters, sum = {0};
    unsigned n_used = 0;
    char name[16];

    flockfile(stderr);
    fprintf(stderr, "%8s %12s %15s %15s %8s %12s %12s %6s\n", "queue", "requests", "bytes read",
            "bytes written", "errors", "kicks", "calls", "broken");
    for (unsigned i = 0; i < ob_device_queues(device); i++) {
        ob_device_queue_counters(device, i, &counters);
        if (!used(&counters))
            continue;
        add(&sum, &counters);
        n_used++;
        snprintf(name, sizeof(name), "%u", i);
        print_row(name, &counters);
    }
    if (n_used != 1)
        print_row("all", &sum);
    funlockfile(stderr);
}

bool counters_any(const struct ob_device *device)
{
    struct ob_queue_counters counters;

    for (unsigned i = 0; i < ob_device_queues(device); i++) {
        ob_device_queue_counters(device, i, &counters);
        if (counters.requests)
            return true;
    }
    return false;
}
