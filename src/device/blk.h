/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_BLK_H
#define DEVICE_BLK_H

#include "device/store.h"
#include "wire/virtio.h"

#include <linux/virtio_blk.h>
#include <outboard/blk.h>

/* Requests popped, or finished ones fetched, at a time: enough to gather what a burst shares,
 * few enough that the first need not wait for the last. */
#define BLK_BURST 32

/* Most ranges of one DISCARD or WRITE_ZEROES: what fits a request, 16 bytes each. */
#define BLK_SEGMENTS_MAX 16

/* Most bytes of one READ or WRITE. Drivers that heed size_max and seg_max stay below half of it;
 * one request must not hold up its worker for long. */
#define BLK_DATA_MAX (64u << 20)

/* Bytes that count as much as one more request where work is shared out among queues. */
#define BLK_BYTES_A_UNIT (64u << 10)

/* A block device. The control thread's, but for what is said. */
struct blk {
    struct ob_device *device;
    const struct ob_log *log;
    struct store *store;
    uint64_t features; /* that the driver accepted */
    bool wce;          /* the configuration's writeback byte */
    bool wce_seen;     /* somebody knows what it is */

    /* Written by the control thread, read by workers. */
    uint64_t sectors;   /* of 512 bytes */
    bool write_through; /* a write is complete only when it is durable */

    uint64_t failures; /* of the store; atomic, any worker */

    /* As they were at the start. */
    uint32_t block_size;
    uint32_t seg_max;
    uint16_t n_queues;
    bool read_only;
    char serial[VIRTIO_BLK_ID_BYTES]; /* padded with zeros, maybe without any */
};

/* A queue of it. Its worker's. */
struct blk_queue {
    struct blk *blk;
    struct ob_queue *queue;
    struct store_queue *store;
    const struct store_ops *ops; /* of the store */
    struct ob_queue_counters *counters;
    uint64_t bytes; /* given to the store */
    unsigned burst; /* requests to pop at a time; fewer when they are large */
};

/* A request of a queue. */
struct blk_request {
    struct ob_chain chain;
    struct store_io io;
    uint8_t *status; /* the chain's last writable byte */
    uint32_t in;     /* writable bytes before it */
    uint32_t filled; /* of these, written when the request succeeds, from the first on */
    uint8_t segment; /* under way */
    uint8_t n_segments;
    struct virtio_blk_discard_write_zeroes segments[BLK_SEGMENTS_MAX];
};

/* As ob_blk_new(), with another table of stores than the usual one. */
int blk_new(const struct ob_blk_options *options, const struct store_ops *const *stores,
            struct ob_device **ret);

/* Worker: the verbs of a queue. */
int blk_queue_open(void *dev, struct ob_queue *queue, void **ret);
unsigned blk_queue_run(void *ctx, unsigned budget);
bool blk_queue_pending(void *ctx);
void blk_queue_close(void *ctx);

/* Worker: serves a chain that was just popped, or begins to. */
void blk_request_start(struct blk_queue *queue, struct blk_request *request);

/* Worker: the store has finished with a request that it had taken. */
void blk_request_continue(struct blk_queue *queue, struct blk_request *request);

#endif
