/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: one queue's thread
 *
 * It keeps `depth` requests under way: what comes back is timed, renewed (another place on the
 * disk, and with --verify other data) and submitted again in the same burst, so that the loop
 * makes no system call when it polls and two a burst when it does not.
 *
 * Each request has a cache line of its own for header and status, and a buffer. Times are read
 * once a burst: a request's latency is from the end of the burst that submitted it to the start
 * of the one that found it back.
 *
 * With --rate, requests are submitted when they are due, by a Poisson process, and the latency
 * counts from when it was due: a device that falls behind is not rewarded for it.
 *
 * With --verify, the disk's places are divided among the requests so that no two touch the same
 * one, each block written says which it is and how often it was written, and each block read is
 * compared with what was written last.
 */

#include "cli/bench.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BURST 64
#define LINE 64
#define SECTOR 512
#define UNTOUCHED 0xff /* a status that no device writes */
#define WAIT_MS 1000

struct line {
    struct virtio_blk_outhdr header;
    uint8_t status;
} __attribute__((aligned(LINE)));

struct state {
    struct bench_queue *queue;
    const struct bench_options *options;
    struct line *lines;
    uint8_t *data;
    uint64_t *began;    /* ticks, by request */
    uint32_t *versions; /* --verify: by block, how often it was written; 0: never */
    struct ob_driver_used *used;
    uint64_t random;
    uint64_t next; /* of a sequential pattern */
    uint64_t due;  /* --rate: ticks of the next request */
    unsigned phase;
    unsigned idle_count; /* --rate: requests that wait to be due */
    uint32_t idle[];
};

static uint64_t random_next(struct state *state)
{
    state->random ^= state->random << 13;
    state->random ^= state->random >> 7;
    state->random ^= state->random << 17;
    return state->random;
}

static size_t data_offset(const struct bench_options *options)
{
    return (options->depth * sizeof(struct line) + 4095) & ~4095ul;
}

size_t bench_queue_memory(const struct bench_options *options)
{
    return (data_offset(options) + options->depth * options->size + 4095) & ~4095ul;
}

static bool writes(const struct bench_options *options, uint64_t random)
{
    switch (options->pattern) {
    case BENCH_WRITE:
    case BENCH_RANDWRITE: return true;
    case BENCH_MIXED: return (random >> 48) % 10 < 3;
    default: return false;
    }
}

/* The next place on the disk, in blocks of the request's size. */
static uint64_t next_block(struct state *state, uint32_t request, uint64_t random)
{
    const struct bench_queue *queue = state->queue;
    uint64_t blocks = queue->blocks, step = 1, at = 0;

    if (state->options->verify) {
        step = state->options->depth;
        at = request;
        blocks = (blocks - request + step - 1) / step;
    }
    if (state->options->pattern == BENCH_READ || state->options->pattern == BENCH_WRITE) {
        if (++state->next >= blocks)
            state->next = 0;
        return queue->first + at + state->next * step;
    }
    /* The upper half of a product: even, without a division. */
    return queue->first + at + (uint64_t)(((unsigned __int128)random * blocks) >> 64) * step;
}

static void fill(uint8_t *data, uint64_t size, uint64_t block, uint32_t version)
{
    for (uint64_t at = 0; at < size; at += SECTOR) {
        uint64_t *words = (uint64_t *)(data + at);

        for (unsigned i = 0; i < SECTOR / 8; i++)
            words[i] = block * 0x9e3779b97f4a7c15ull ^ (uint64_t)version << 32 ^ (at + i);
    }
}

static bool matches(const uint8_t *data, uint64_t size, uint64_t block, uint32_t version)
{
    for (uint64_t at = 0; at < size; at += SECTOR) {
        const uint64_t *words = (const uint64_t *)(data + at);

        for (unsigned i = 0; i < SECTOR / 8; i++)
            if (words[i] != (block * 0x9e3779b97f4a7c15ull ^ (uint64_t)version << 32 ^ (at + i)))
                return false;
    }
    return true;
}

static int lay_out(struct state *state, uint32_t request, bool write)
{
    const struct bench_options *options = state->options;
    struct line *line = &state->lines[request];
    uint8_t *data = state->data + request * options->size;
    struct ob_driver_range ranges[] = {
        {&line->header, sizeof(line->header)},
        {data, (uint32_t)options->size},
        {&line->status, 1},
    };

    line->header.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    return ob_driver_lay_out(state->queue->queue, request, ranges, write ? 2 : 1, write ? 1 : 2);
}

/* Prepares a request for its next turn. */
static int renew(struct state *state, uint32_t request)
{
    const struct bench_options *options = state->options;
    struct line *line = &state->lines[request];
    uint64_t random = random_next(state), block = next_block(state, request, random);
    bool write = writes(options, random);
    int result = 0;

    if (options->pattern == BENCH_MIXED)
        result = lay_out(state, request, write);
    line->header.sector = block * (options->size / SECTOR);
    line->status = UNTOUCHED;
    if (options->verify) {
        uint8_t *data = state->data + request * options->size;
        uint32_t *version = &state->versions[block - state->queue->first];

        if (write)
            fill(data, options->size, block, ++*version);
        else
            memset(data, 0xa5, options->size);
    }
    return result;
}

/* What came back is right: the status, and with --verify the data. */
static bool check(struct state *state, uint32_t request)
{
    const struct line *line = &state->lines[request];
    uint64_t block;

    if (*(volatile const uint8_t *)&line->status != VIRTIO_BLK_S_OK)
        return false;
    if (!state->options->verify || line->header.type != VIRTIO_BLK_T_IN)
        return true;
    block = line->header.sector / (state->options->size / SECTOR);
    if (!state->versions[block - state->queue->first])
        return true; /* nobody knows what is there */
    return matches(state->data + request * state->options->size, state->options->size, block,
                   state->versions[block - state->queue->first]);
}

static void count(struct state *state, const struct ob_driver_used *used, unsigned n, uint64_t now)
{
    struct bench_queue *queue = state->queue;
    uint64_t errors = 0;

    for (unsigned i = 0; i < n; i++) {
        uint32_t request = used[i].request;

        if (unlikely(!check(state, request)))
            errors++;
        if (state->phase == BENCH_MEASURE) {
            uint64_t began = state->began[request];
            uint64_t ticks = now > began ? now - began : 0;

            histogram_add(&queue->latency, (uint64_t)((double)ticks / queue->ticks_per_ns));
        }
    }
    if (state->phase == BENCH_MEASURE)
        counter_add(&queue->requests, n);
    if (errors)
        counter_add(&queue->errors, errors);
}

/* Submits n requests that are renewed. */
static void submit(struct state *state, const uint32_t *requests, unsigned n)
{
    uint64_t now;

    ob_driver_submit(state->queue->queue, requests, n);
    now = bench_ticks();
    for (unsigned i = 0; i < n; i++)
        state->began[requests[i]] = now;
}

/* --rate: time to the next request, exponentially distributed. */
static uint64_t pause_ticks(struct state *state)
{
    const struct bench_options *options = state->options;
    double uniform = ((double)(random_next(state) >> 11) + 1) / 9007199254740993.0;
    double mean_ns = 1e9 * (double)options->queues / (double)options->rate;

    return (uint64_t)(-log(uniform) * mean_ns * state->queue->ticks_per_ns);
}

/* --rate: submits what is due. */
static int submit_due(struct state *state, uint64_t now)
{
    uint32_t requests[BURST];
    unsigned n = 0;

    while (n < BURST && state->idle_count && state->due <= now) {
        uint32_t request = state->idle[--state->idle_count];
        int result = renew(state, request);

        if (result < 0)
            return result;
        state->began[request] = state->due;
        state->due += pause_ticks(state);
        requests[n++] = request;
    }
    ob_driver_submit(state->queue->queue, requests, n);
    return 0;
}

/* Takes what came back and keeps the queue busy. The number, or -errno. */
static int turn(struct state *state)
{
    struct ob_driver_used *used = state->used;
    /* In order, one report may stand for all that is under way. */
    unsigned max = state->options->in_order ? (unsigned)state->options->depth : BURST;
    int n = ob_driver_reap(state->queue->queue, used, max);
    uint32_t requests[BURST];
    unsigned m = 0;

    if (n < 0)
        return n;
    for (int i = 0; i < n; i++)
        prefetch_write(&state->lines[used[i].request]);
    if (n)
        count(state, used, (unsigned)n, bench_ticks());
    if (state->options->rate) {
        for (int i = 0; i < n; i++)
            state->idle[state->idle_count++] = used[i].request;
        return submit_due(state, bench_ticks()) < 0 ? -EINVAL : n;
    }
    for (int i = 0; i < n; i++) {
        requests[m++] = used[i].request;
        if (renew(state, used[i].request) < 0)
            return -EINVAL;
        if (m == BURST || i + 1 == n) {
            submit(state, requests, m);
            m = 0;
        }
    }
    return n;
}

static int wait_for_some(struct state *state)
{
    struct timespec time = {0};
    int result;

    if (state->options->poll) {
        cpu_relax(); /* fewer looks at a line that the other side wants to write */
        return 0;
    }
    if (state->options->rate) {
        uint64_t now = bench_ticks();
        double ns = state->due > now ? (double)(state->due - now) / state->queue->ticks_per_ns : 0;

        if (ns > 60000 && state->idle_count == state->options->depth) {
            time.tv_nsec = (long)(ns > 1e8 ? 1e8 : ns) - 55000; /* and spin the rest */
            nanosleep(&time, NULL);
        }
        return 0;
    }
    result = ob_driver_wait(state->queue->queue, WAIT_MS);
    return result == -ETIMEDOUT ? 0 : result;
}

static int run(struct state *state)
{
    struct bench_queue *queue = state->queue;
    uint32_t all[BURST];
    unsigned m = 0;
    int result = 0;

    for (uint32_t i = 0; i < state->options->depth && !result; i++) {
        result = renew(state, i);
        if (state->options->rate) {
            state->idle[state->idle_count++] = i;
            continue;
        }
        all[m++] = i;
        if (m == BURST || i + 1 == state->options->depth) {
            submit(state, all, m);
            m = 0;
        }
    }
    state->due = bench_ticks();
    while (!result) {
        int n;

        state->phase = load_once(&queue->phase);
        if (state->phase == BENCH_STOP)
            break;
        n = turn(state);
        if (n < 0)
            result = n;
        else if (!n)
            result = wait_for_some(state);
    }
    return result;
}

static int prepare(struct state *state)
{
    for (uint32_t i = 0; i < state->options->depth; i++) {
        int result = lay_out(state, i, writes(state->options, 0));

        if (result < 0)
            return result;
    }
    return 0;
}

static double thread_cpu(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct state *state_new(struct bench_queue *queue)
{
    const struct bench_options *options = queue->options;
    struct state *state = calloc(1, sizeof(*state) + options->depth * sizeof(state->idle[0]));

    if (!state)
        return NULL;
    state->queue = queue;
    state->options = options;
    state->lines = (struct line *)queue->memory;
    state->data = queue->memory + data_offset(options);
    state->random = 0x2545f4914f6cdd1dull * (queue->index + 1);
    state->used = calloc(options->depth > BURST ? options->depth : BURST, sizeof(*state->used));
    state->began = calloc(options->depth, sizeof(*state->began));
    state->versions = options->verify ? calloc(queue->blocks, sizeof(*state->versions)) : NULL;
    return state;
}

void *bench_queue_main(void *arg)
{
    struct bench_queue *queue = arg;
    struct state *state;

    bench_pin(queue->cpu);
    state = state_new(queue);
    if (!state || !state->used || !state->began || (queue->options->verify && !state->versions))
        queue->failed = -ENOMEM;
    if (!queue->failed)
        queue->failed = prepare(state);
    pthread_barrier_wait(queue->start);
    if (!queue->failed)
        queue->failed = run(state);
    queue->cpu_seconds = thread_cpu();
    if (state) {
        free(state->used);
        free(state->began);
        free(state->versions);
    }
    free(state);
    return NULL;
}
