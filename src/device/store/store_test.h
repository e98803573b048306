/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_STORE_STORE_TEST_H
#define DEVICE_STORE_STORE_TEST_H

/*
 * What the tests of stores share: a queue of a store on a loop that the test runs itself.
 */

#include "base/util.h"
#include "device/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct ob_loop *loop;
    struct store *store;
    struct store_queue *queue;
};

static void bench_woken(void *ctx)
{
    ob_loop_stop(ctx);
}

/* A queue of depth on a store that is open. */
static inline void bench_open(struct bench *bench, struct store *store, unsigned depth)
{
    struct ob_loop_options loop_options = {.poll = OB_POLL_OFF};

    bench->store = store;
    assert_int_equal(ob_loop_new(&loop_options, &bench->loop), 0);
    struct store_queue_options options = {
        .loop = bench->loop,
        .depth = depth,
        .wake = bench_woken,
        .ctx = bench->loop,
    };
    assert_int_equal(store->ops->queue_open(store, &options, &bench->queue), 0);
}

/* expected: what closing the store says. */
static inline void bench_close_with(struct bench *bench, int expected)
{
    if (bench->store->ops->queue_close)
        bench->store->ops->queue_close(bench->queue);
    assert_int_equal(store_close(bench->store), expected);
    ob_loop_free(bench->loop);
}

static inline void bench_close(struct bench *bench)
{
    bench_close_with(bench, 0);
}

/* Submits n requests and waits for all, as a worker would: looking, then sleeping. */
static inline void bench_run_all(struct bench *bench, struct store_io *ios, unsigned n)
{
    const struct store_ops *ops = bench->store->ops;
    struct store_io *done[64];
    unsigned left = n;

    for (unsigned i = 0; i < n; i++) {
        ios[i].result = 1;
        left -= ops->submit(bench->queue, &ios[i]) == STORE_DONE;
    }
    if (ops->push)
        ops->push(bench->queue);
    while (left) {
        unsigned found = ops->reap(bench->queue, done, 64);
        left -= found;
        if (left && !found && !ops->pending(bench->queue))
            assert_int_equal(ob_loop_run(bench->loop), 0);
        if (ops->push)
            ops->push(bench->queue);
    }
    for (unsigned i = 0; i < n; i++)
        assert_true(ios[i].result <= 0);
}

static inline int bench_run(struct bench *bench, struct store_io *io)
{
    bench_run_all(bench, io, 1);
    return io->result;
}

/* One transfer of one range. */
static inline int bench_transfer(struct bench *bench, enum store_op op, void *data, uint64_t offset,
                                 size_t length)
{
    struct iovec iov = {data, length};
    struct store_io io = {
        .op = (uint8_t)op, .iov = &iov, .n_iov = 1, .offset = offset, .length = length};

    return bench_run(bench, &io);
}

/* A request without data. */
static inline int bench_command(struct bench *bench, enum store_op op, unsigned flags,
                                uint64_t offset, uint64_t length)
{
    struct store_io io = {
        .op = (uint8_t)op, .flags = (uint8_t)flags, .offset = offset, .length = length};

    return bench_run(bench, &io);
}

/* Bytes that tell where they belong. */
static inline void fill(void *data, size_t length, uint64_t seed)
{
    uint8_t *bytes = data;

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)((seed + i) * 2654435761u >> 13);
}

static inline bool all_zero(const void *data, size_t length)
{
    const uint8_t *bytes = data;

    return !length || (!bytes[0] && !memcmp(bytes, bytes + 1, length - 1));
}

#endif
