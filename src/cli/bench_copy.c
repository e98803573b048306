/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: a plain loop of copies
 *
 * What serving reads from memory cannot exceed: blocks from random places of a span, copied by
 * memcpy() into as many buffers as requests would be under way, on one CPU, with nothing else.
 */

#include "cli/bench.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    memset(memory, 0x5a, size);
    return memory;
}

/* Copies for some seconds. Returns how many blocks. */
static uint64_t copy(const struct bench_options *options, uint8_t *to, const uint8_t *from,
                     double seconds)
{
    uint64_t blocks = options->span / options->size, random = 0x2545f4914f6cdd1d, done = 0;
    double end = seconds_now() + seconds;

    while (seconds_now() < end) {
        for (unsigned i = 0; i < 4096; i++) {
            uint64_t block;

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            block = (uint64_t)(((unsigned __int128)random * blocks) >> 64);
            memcpy(to + (done++ % options->depth) * options->size, from + block * options->size,
                   options->size);
        }
    }
    return done;
}

int bench_copy(const struct bench_options *options, struct bench_result *ret)
{
    int cpu = options->n_cpus ? options->cpus[0] : 0;
    uint8_t *from = shared_memory(options->span);
    uint8_t *to = shared_memory(options->depth * options->size);
    double begin;

    memset(ret, 0, sizeof(*ret));
    ret->cpu_back = -1;
    if (!from || !to) {
        cli_complain("not enough memory for a --span of %llu bytes",
                     (unsigned long long)options->span);
        return -ENOMEM;
    }
    if (options->line_cpu >= 0)
        ret->line_before = ret->line_after = bench_line(cpu, options->line_cpu);
    bench_pin(cpu);
    copy(options, to, from, options->warm_up);
    begin = seconds_now();
    ret->requests = copy(options, to, from, options->seconds);
    ret->seconds = seconds_now() - begin;
    ret->capacity = options->span;
    munmap(from, options->span);
    munmap(to, options->depth * options->size);
    return 0;
}
