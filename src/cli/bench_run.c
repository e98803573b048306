/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: one measurement
 *
 * Connects, gives each queue its part of the disk and a thread, lets them warm up, measures,
 * and stops. CPU time of the back-end is that of the process at the other end of the socket, as
 * the kernel accounts it, before and after the measured phase.
 */

#include "cli/bench.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BIT(bit) (1ull << (bit))
#define PROGRESS_MS 200

struct run {
    const struct bench_options *options;
    struct ob_log log;
    struct ob_driver *driver;
    struct bench_queue *queues;
    unsigned started;
    pthread_barrier_t barrier;
};

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* User and system time of a process, in seconds; -1 if it cannot be told. */
static double process_cpu(int pid)
{
    char path[64], line[1024];
    unsigned long user, system;
    FILE *file;
    const char *after;

    if (pid < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return -1;
    after = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    fclose(file);
    if (!after ||
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return -1;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int connect_driver(struct run *run)
{
    const struct bench_options *options = run->options;
    bool bare = !strncmp(options->endpoint, "bare:", 5);
    struct ob_driver_options driver = {
        .endpoint = options->endpoint,
        .frontend = bare ? &bench_bare : NULL,
        .log = &run->log,
        .features = BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_BLK_F_FLUSH) |
                    (options->direct ? 0 : BIT(VIRTIO_RING_F_INDIRECT_DESC)) |
                    (options->packed ? BIT(VIRTIO_F_RING_PACKED) : 0) |
                    (options->in_order ? BIT(VIRTIO_F_IN_ORDER) : 0),
        .n_queues = (unsigned)options->queues,
        .queue_size = (unsigned)options->queue_size,
        .request_ranges = 3,
        .buffer_bytes = bench_queue_memory(options) * options->queues,
        .memory_file = *options->memory_file ? options->memory_file : NULL,
        .memory_offset = options->memory_offset,
        .hugepages = options->hugepages,
    };

    return ob_driver_new(&driver, &run->driver);
}

static int check_features(const struct run *run, const struct bench_result *result)
{
    if (run->options->packed && !(result->features & BIT(VIRTIO_F_RING_PACKED))) {
        cli_complain("the device does not offer packed rings");
        return -ENOTSUP;
    }
    if (run->options->in_order && !(result->features & BIT(VIRTIO_F_IN_ORDER))) {
        cli_complain("the device does not offer in-order rings");
        return -ENOTSUP;
    }
    if (run->options->depth > ob_driver_requests(ob_driver_queue(run->driver, 0))) {
        cli_complain("a queue of %u descriptors has room for a --depth of %u, not %u",
                     (unsigned)run->options->queue_size,
                     ob_driver_requests(ob_driver_queue(run->driver, 0)),
                     (unsigned)run->options->depth);
        return -EINVAL;
    }
    return 0;
}

static int read_capacity(struct run *run, struct bench_result *result)
{
    struct ob_frontend *frontend = ob_driver_frontend(run->driver);
    uint64_t sectors, span = run->options->span;
    int error = frontend->ops->config_read(frontend, 0, &sectors, sizeof(sectors));

    if (error) {
        cli_complain("cannot read the device's configuration: %s", strerror(-error));
        return error;
    }
    result->capacity = sectors * 512;
    if (span && span < result->capacity)
        result->capacity = span;
    if (result->capacity / run->options->size / run->options->queues < run->options->depth) {
        cli_complain("the disk of %llu bytes is too small for %u queues of %u requests",
                     (unsigned long long)result->capacity, (unsigned)run->options->queues,
                     (unsigned)run->options->depth);
        return -EINVAL;
    }
    return 0;
}

static int start_threads(struct run *run, const struct bench_result *result)
{
    const struct bench_options *options = run->options;
    uint64_t blocks = result->capacity / options->size / options->queues;
    size_t part = bench_queue_memory(options);

    for (unsigned i = 0; i < options->queues; i++) {
        struct bench_queue *queue = &run->queues[i];

        queue->options = options;
        queue->driver = run->driver;
        queue->queue = ob_driver_queue(run->driver, i);
        queue->index = i;
        queue->memory = (uint8_t *)ob_driver_buffers(run->driver) + i * part;
        queue->first = i * blocks;
        queue->blocks = blocks;
        queue->cpu = options->n_cpus ? options->cpus[i % options->n_cpus] : -1;
        queue->ticks_per_ns = bench_ticks_per_ns();
        queue->start = &run->barrier;
        if (pthread_create(&queue->thread, NULL, bench_queue_main, queue)) {
            cli_complain("cannot start a thread");
            exit(CLI_FAILED); /* those started wait for it */
        }
        run->started++;
    }
    return 0;
}

static void set_phase(struct run *run, enum bench_phase phase)
{
    for (unsigned i = 0; i < run->started; i++)
        store_once(&run->queues[i].phase, (unsigned)phase);
}

static uint64_t total(const struct run *run)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < run->started; i++)
        sum += load_once(&run->queues[i].requests);
    return sum;
}

/* Lets time pass, with a line of progress on a terminal. */
static void let_pass(const struct run *run, double seconds, const char *what)
{
    double begin = now_seconds(), end = begin + seconds, now;
    bool show = isatty(STDERR_FILENO) && !run->options->json;
    uint64_t before = total(run);

    while ((now = now_seconds()) < end) {
        double left = end - now;
        useconds_t pause = (useconds_t)(left * 1e6);

        if (show && pause > PROGRESS_MS * 1000)
            pause = PROGRESS_MS * 1000;
        usleep(pause < 500000 ? pause : 500000);
        if (show) {
            uint64_t sum = total(run);

            fprintf(stderr, "\r%s %4.1f s left, %.0f requests/s \033[K", what,
                    end - now_seconds() > 0 ? end - now_seconds() : 0.0,
                    (double)(sum - before) / (now_seconds() - now));
            before = sum;
        }
    }
    if (show)
        fprintf(stderr, "\r\033[K");
}

static void measure(struct run *run, struct bench_result *result)
{
    struct ob_frontend *frontend = ob_driver_frontend(run->driver);
    int peer = frontend->ops->peer ? frontend->ops->peer(frontend) : -1;
    double back, begin;

    pthread_barrier_wait(&run->barrier);
    let_pass(run, run->options->warm_up, "warming up:");
    back = process_cpu(peer);
    begin = now_seconds();
    set_phase(run, BENCH_MEASURE);
    let_pass(run, run->options->seconds, "measuring: ");
    set_phase(run, BENCH_STOP);
    result->seconds = now_seconds() - begin;
    result->requests = total(run);
    result->cpu_back = back < 0 ? -1 : process_cpu(peer) - back;
}

static int join_threads(struct run *run, struct bench_result *result)
{
    int failed = 0;

    for (unsigned i = 0; i < run->started; i++) {
        struct bench_queue *queue = &run->queues[i];

        pthread_join(queue->thread, NULL);
        histogram_merge(&result->latency, &queue->latency);
        result->errors += queue->errors;
        result->cpu_front += queue->cpu_seconds;
        if (queue->failed)
            failed = queue->failed;
    }
    if (failed)
        cli_complain("the device did not go on: %s", strerror(-failed));
    /* The threads' time includes warming up, at the same pace. */
    result->cpu_front *= result->seconds / (result->seconds + run->options->warm_up);
    return failed;
}

static int run_connected(struct run *run, struct bench_result *result)
{
    int error;

    result->features = ob_driver_features(run->driver);
    error = check_features(run, result);
    if (!error)
        error = read_capacity(run, result);
    if (!error)
        error = ob_driver_start(run->driver);
    if (error)
        return error;
    run->queues = calloc(run->options->queues, sizeof(*run->queues));
    if (!run->queues)
        return -ENOMEM;
    pthread_barrier_init(&run->barrier, NULL, (unsigned)run->options->queues + 1);
    start_threads(run, result);
    measure(run, result);
    error = join_threads(run, result);
    pthread_barrier_destroy(&run->barrier);
    free(run->queues);
    return error;
}

int bench_run(const struct bench_options *options, struct bench_result *ret)
{
    struct run run = {
        .options = options,
        .log = {.write = cli_log_write, .level = (enum ob_log_level)options->log_level},
    };
    int front = options->n_cpus ? options->cpus[0] : 0;
    int error;

    memset(ret, 0, sizeof(*ret));
    if (options->line_cpu >= 0)
        ret->line_before = bench_line(front, options->line_cpu);
    error = connect_driver(&run);
    if (!error)
        error = run_connected(&run, ret);
    ob_driver_free(run.driver);
    if (options->line_cpu >= 0)
        ret->line_after = bench_line(front, options->line_cpu);
    return error;
}
