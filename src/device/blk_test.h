/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_BLK_TEST_H
#define DEVICE_BLK_TEST_H

/*
 * What the tests of the block device share: a store that notes what it is asked to do and
 * finishes when it is told to, and a queue without a ring, whose chains are made by hand.
 */

#include "base/util.h"
#include "device/blk.h"
#include "device/device.h"
#include "ring/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_REQUESTS 8
#define N_NOTES 64

/* A status byte before the device has set it. */
#define UNTOUCHED 0xee

/* The store. One at a time; its info is set before it is opened. */
static struct fake_store {
    struct store store;
    struct store_queue queue;
    struct store_info info;
    bool queued;                    /* requests finish in reap(), not at once */
    int result;                     /* of those that finish at once, and for reap() */
    struct store_io notes[N_NOTES]; /* what was submitted, as it was then */
    unsigned n_notes;
    struct store_io *out[N_NOTES]; /* submitted and not yet let go */
    unsigned n_out;
    unsigned let_go; /* how many of these reap() may return */
    unsigned pushes, opens, closes;
    uint64_t next_capacity;
} fake;

static int fake_open(const struct store_options *options, struct store **ret);

static int fake_close(struct store *store)
{
    fake.closes++;
    return 0;
}

static int fake_refresh(struct store *store)
{
    store->info.capacity = fake.next_capacity;
    return 0;
}

static int fake_queue_open(struct store *store, const struct store_queue_options *options,
                           struct store_queue **ret)
{
    *ret = &fake.queue;
    return 0;
}

static enum store_submit fake_submit(struct store_queue *queue, struct store_io *io)
{
    assert_true(fake.n_notes < N_NOTES);
    fake.notes[fake.n_notes++] = *io;
    if (!fake.queued) {
        io->result = fake.result;
        return STORE_DONE;
    }
    fake.out[fake.n_out++] = io;
    return STORE_QUEUED;
}

static void fake_push(struct store_queue *queue)
{
    fake.pushes++;
}

static unsigned fake_reap(struct store_queue *queue, struct store_io **ios, unsigned max)
{
    unsigned n = 0;

    while (n < max && fake.let_go && fake.n_out) {
        ios[n] = fake.out[0];
        ios[n++]->result = fake.result;
        fake.let_go--;
        fake.n_out--;
        memmove(fake.out, fake.out + 1, fake.n_out * sizeof(fake.out[0]));
    }
    return n;
}

static const struct store_ops fake_ops = {
    .size = sizeof(struct store_ops),
    .name = "fake",
    .address = "ANY",
    .help = "for tests",
    .open = fake_open,
    .close = fake_close,
    .refresh = fake_refresh,
    .queue_open = fake_queue_open,
    .submit = fake_submit,
    .push = fake_push,
    .reap = fake_reap,
};

static int fake_open(const struct store_options *options, struct store **ret)
{
    fake.store.ops = &fake_ops;
    fake.store.info = fake.info;
    fake.store.info.read_only = options->read_only;
    fake.opens++;
    *ret = &fake.store;
    return 0;
}

static const struct store_ops *const fake_stores[] = {&fake_ops, NULL};

/* A store of 1000 blocks of 512 bytes that can do everything. */
static const struct store_info usual_info = {
    .capacity = 512000,
    .block_size = 512,
    .physical_block_size = 4096,
    .optimal_io = 65536,
    .discard_granularity = 4096,
    .range_max = 100 * 512,
    .discard = true,
    .zero_unmaps = true,
};

struct fixture {
    struct ob_loop *control;
    struct ob_worker *worker;
    struct ob_device *device;
    struct blk *blk;

    struct ob_queue queue;
    void *ctx;
    struct blk_request requests[N_REQUESTS];
    struct iovec iov[N_REQUESTS][8];
    uint64_t guest[N_REQUESTS][8];
    unsigned n_requests; /* made */
    unsigned n_popped;
    unsigned broken;
};

/* The queue's ring. */

static unsigned no_ring_pop(struct ob_queue *queue, struct ob_chain **chains, unsigned max)
{
    struct fixture *f = container_of(queue, struct fixture, queue);
    unsigned n = 0;

    while (n < max && f->n_popped < f->n_requests)
        chains[n++] = &f->requests[f->n_popped++].chain;
    return n;
}

static bool no_ring_publish(struct ob_queue *queue)
{
    return false;
}

static const struct ring_format no_ring = {.pop = no_ring_pop, .publish = no_ring_publish};

static void told_broken(struct ob_queue *queue)
{
    container_of(queue, struct fixture, queue)->broken++;
}

static struct ob_blk_options usual_options(struct fixture *f)
{
    return (struct ob_blk_options){
        .device = {.control = f->control, .workers = &f->worker, .n_workers = 1, .n_queues = 4},
        .source = "fake:x",
    };
}

static void make_threads(struct fixture *f)
{
    struct ob_loop_options loop = {.poll = OB_POLL_OFF};
    struct ob_worker_options worker = {.cpu = -1};

    memset(f, 0, sizeof(*f));
    assert_int_equal(ob_loop_new(&loop, &f->control), 0);
    assert_int_equal(ob_worker_new(&worker, &f->worker), 0);
}

static void free_threads(struct fixture *f)
{
    ob_worker_free(f->worker);
    ob_loop_free(f->control);
}

/* A device on the fake store, with one queue open. */
static inline void setup_with(struct fixture *f, const struct ob_blk_options *options)
{
    fake.n_notes = fake.n_out = fake.let_go = fake.pushes = 0;
    fake.queued = false;
    fake.result = 0;
    assert_int_equal(blk_new(options, fake_stores, &f->device), 0);
    f->blk = ob_device_part(f->device);
    f->queue.format = &no_ring;
    f->queue.popping = true;
    f->queue.publish_every = UINT8_MAX;
    f->queue.size = 128;
    f->queue.told_broken = told_broken;
    assert_int_equal(blk_queue_open(f->blk, &f->queue, &f->ctx), 0);
}

static inline void setup(struct fixture *f)
{
    make_threads(f);
    fake.info = usual_info;
    struct ob_blk_options options = usual_options(f);
    setup_with(f, &options);
}

static inline void teardown(struct fixture *f)
{
    blk_queue_close(f->ctx);
    ob_device_free(f->device);
    free_threads(f);
}

/* Memory of the guest. */
static struct {
    struct virtio_blk_outhdr header;
    uint8_t data[8192];
    uint8_t status;
} guest;

static inline void header(uint32_t type, uint64_t sector)
{
    guest.header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    guest.status = UNTOUCHED;
}

/* Makes the next request out of ranges. */
static struct blk_request *chain(struct fixture *f, const struct iovec *ranges, unsigned n_out,
                                 unsigned n_in)
{
    unsigned i = f->n_requests++;
    struct blk_request *request = &f->requests[i];

    assert_true(i < N_REQUESTS && n_out + n_in <= array_size(f->iov[i]));
    memset(request, 0xa5, sizeof(*request)); /* as the ring leaves them: with old contents */
    memset(&request->chain, 0, sizeof(request->chain));
    memcpy(f->iov[i], ranges, (n_out + n_in) * sizeof(ranges[0]));
    request->chain.iov = f->iov[i];
    request->chain.guest = f->guest[i];
    request->chain.n_out = (uint16_t)n_out;
    request->chain.n_in = (uint16_t)n_in;
    return request;
}

/* The usual layout: a header, data that the device reads or writes, a status byte. */
static inline struct blk_request *usual(struct fixture *f, size_t out, size_t in)
{
    struct iovec ranges[4] = {{&guest.header, sizeof(guest.header)}};
    unsigned n_out = 1, n_in = 0;

    if (out)
        ranges[n_out++] = (struct iovec){guest.data, out};
    if (in)
        ranges[n_out + n_in++] = (struct iovec){guest.data, in};
    ranges[n_out + n_in++] = (struct iovec){&guest.status, 1};
    return chain(f, ranges, n_out, n_in);
}

static void run(struct fixture *f)
{
    blk_queue_run(f->ctx, 64);
}

/* The status of a request that takes no more than one run. */
static inline uint8_t status_of(struct fixture *f, const struct blk_request *request)
{
    unsigned errors = (unsigned)f->queue.counters.errors;

    run(f);
    assert_true(request->chain.done);
    assert_int_equal(f->queue.counters.errors - errors, guest.status != VIRTIO_BLK_S_OK);
    return guest.status;
}

static inline const struct store_io *last(void)
{
    assert_true(fake.n_notes > 0);
    return &fake.notes[fake.n_notes - 1];
}

#endif
