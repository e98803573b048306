/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "base/histogram.h"
#include "cli/cli.h"

#include <limits.h>
#include <outboard/driver.h>
#include <pthread.h>

#define BENCH_CPUS_MAX 64

enum bench_pattern {
    BENCH_READ,
    BENCH_WRITE,
    BENCH_RANDREAD,
    BENCH_RANDWRITE,
    BENCH_MIXED, /* random; seven reads to three writes */
};

struct bench_options {
    const char *endpoint;
    unsigned pattern; /* enum bench_pattern */
    uint64_t size;    /* bytes a request */
    uint64_t depth;   /* requests under way in each queue */
    uint64_t queues;
    uint64_t queue_size;
    bool packed, in_order, direct; /* ring format; direct: no indirect tables */
    bool poll;
    bool verify;
    uint64_t rate; /* requests a second over all queues; 0: as fast as they come back */
    double seconds;
    double warm_up;
    uint64_t span; /* bytes of the disk used; 0: all */
    int cpus[BENCH_CPUS_MAX];
    unsigned n_cpus;
    int line_cpu; /* measure the cache line round trip to it, or -1 */
    char memory_file[PATH_MAX]; /* "": a memfd */
    uint64_t memory_offset;
    bool hugepages;
    bool json;
    const char *plot;
    unsigned log_level;
    bool help;
};

/* What one run measured. */
struct bench_result {
    double seconds;
    uint64_t requests;
    uint64_t errors;            /* requests that ended in an error, or read what was not written */
    double cpu_front, cpu_back; /* seconds; cpu_back < 0: cannot be told */
    double line_before, line_after; /* ns a round trip; 0: not measured */
    uint64_t capacity;              /* of the disk */
    uint64_t features;              /* accepted */
    struct histogram latency;       /* ns */
};

/* One queue's thread. */
struct bench_queue {
    const struct bench_options *options;
    struct ob_driver *driver;
    struct ob_driver_queue *queue;
    unsigned index;
    uint8_t *memory;        /* its part of the shared buffers */
    uint64_t first, blocks; /* its part of the disk, in requests */
    int cpu;                /* or -1 */
    double ticks_per_ns;
    pthread_t thread;
    pthread_barrier_t *start; /* by all, when laid out */
    unsigned phase;           /* atomic, enum bench_phase; set by the main thread */
    uint64_t requests;        /* atomic; in the measured phase */
    uint64_t errors;          /* atomic */
    int failed;               /* -errno that ended the thread early */
    double cpu_seconds;
    struct histogram latency;
};

enum bench_phase { BENCH_WARM_UP, BENCH_MEASURE, BENCH_STOP };

/* Bytes of shared buffers that a queue needs. */
size_t bench_queue_memory(const struct bench_options *options);

/* The thread's function. */
void *bench_queue_main(void *queue);

/* Runs one measurement. 0, or -errno that was said. */
int bench_run(const struct bench_options *options, struct bench_result *ret);

/* Measures a plain loop of copies. 0, or -errno that was said. */
int bench_copy(const struct bench_options *options, struct bench_result *ret);

/* Prints a result for a person, or as JSON. */
void bench_print(const struct bench_options *options, const struct bench_result *result);
void bench_print_json(const struct bench_options *options, const struct bench_result *result);

/* Runs over growing depths and writes a plot. An exit status. */
int bench_plot(const struct bench_options *options);

/* Names of patterns, by enum bench_pattern, the last NULL. */
extern const char *const bench_patterns[];

/* An in-process device that does nothing but move rings: the ceiling. "bare:[CPU]". */
extern const struct ob_frontend_ops bench_bare;

/* Has the calling thread run on one CPU; -1: leaves it as it is. */
void bench_pin(int cpu);

/* Nanoseconds of a cache line's round trip between two CPUs. */
double bench_line(int cpu_a, int cpu_b);

/* A fast clock: ticks, and how many make a nanosecond (calibrated once). */
double bench_ticks_per_ns(void);

static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

#endif
