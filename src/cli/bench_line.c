/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: what a cache line costs between two CPUs, and the clock
 *
 * Virtual CPUs may be moved between cores that share a cache and cores that do not, unannounced,
 * and all that goes over rings gets several times slower or faster by it. So the round trip of
 * one line is measured around every measurement, and only those of one placement are compared.
 *
 * Many short series are timed and the median taken: a series in which one of the two threads
 * did not run is far off and does not count.
 */

#include "cli/bench.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define SERIES 101
#define TRIPS 200
#define GIVE_UP_TICKS 20000000ull /* a series in which the other does not run ends so */

struct line_test {
    uint32_t ball __attribute__((aligned(128))); /* even: ours, odd: theirs */
    uint32_t stop __attribute__((aligned(128)));
    int cpu;
};

void bench_pin(int cpu)
{
    cpu_set_t cpus;

    if (cpu < 0)
        return;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);
}

static void *answer(void *arg)
{
    struct line_test *test = arg;

    bench_pin(test->cpu);
    while (!load_once(&test->stop)) {
        uint32_t ball = load_acquire(&test->ball);

        if (ball & 1)
            store_release(&test->ball, ball + 1);
        else
            cpu_relax();
    }
    return NULL;
}

/* Ticks of one series; 0 if the other side did not answer. */
static uint64_t series(struct line_test *test)
{
    uint64_t begin = bench_ticks();

    for (unsigned i = 0; i < TRIPS; i++) {
        uint32_t ball = load_once(&test->ball);

        store_release(&test->ball, ball + 1);
        while (load_acquire(&test->ball) != ball + 2) {
            if (bench_ticks() - begin > GIVE_UP_TICKS) {
                /* Wait it out, so that the ball is ours again. */
                while (load_acquire(&test->ball) != ball + 2)
                    sched_yield();
                return 0;
            }
            cpu_relax();
        }
    }
    return bench_ticks() - begin;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

double bench_line(int cpu_a, int cpu_b)
{
    struct line_test test = {.cpu = cpu_b};
    uint64_t ticks[SERIES];
    unsigned n = 0;
    cpu_set_t before;
    pthread_t thread;

    if (sched_getaffinity(0, sizeof(before), &before) ||
        pthread_create(&thread, NULL, answer, &test))
        return 0;
    bench_pin(cpu_a);
    for (unsigned i = 0; i < SERIES; i++) {
        ticks[n] = series(&test);
        if (ticks[n])
            n++;
    }
    store_once(&test.stop, 1u);
    pthread_join(thread, NULL);
    sched_setaffinity(0, sizeof(before), &before);
    if (!n)
        return 0;
    qsort(ticks, n, sizeof(ticks[0]), compare);
    return (double)ticks[n / 2] / bench_ticks_per_ns() / TRIPS;
}

double bench_ticks_per_ns(void)
{
    static double ratio; /* found once, before there are threads */

    if (ratio == 0) {
        struct timespec begin, now;
        uint64_t ticks, ns;

        clock_gettime(CLOCK_MONOTONIC, &begin);
        ticks = bench_ticks();
        do {
            clock_gettime(CLOCK_MONOTONIC, &now);
            ns = (uint64_t)(now.tv_sec - begin.tv_sec) * 1000000000u +
                 (uint64_t)(now.tv_nsec - begin.tv_nsec);
        } while (ns < 20000000);
        ratio = (double)(bench_ticks() - ticks) / (double)ns;
    }
    return ratio;
}
