/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_QUEUE_H
#define OUTBOARD_QUEUE_H

#include <outboard/export.h>
#include <outboard/loop.h>
#include <outboard/memory.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Largest ring, of either format (virtio 1.3, 2.6 and 2.8). */
#define OB_QUEUE_SIZE_MAX 32768

/** Most ranges in one chain: what one preadv() takes. A longer chain breaks its queue. */
#define OB_CHAIN_RANGES_MAX 1024

/** Ranges that a chain holds without a table of its own: header, two pages, status. */
#define OB_CHAIN_RANGES_INLINE 4

/** Most chains that one queue has popped at a time; the rest waits in the ring. */
#define OB_QUEUE_INFLIGHT_MAX 1024

/** The device half of a virtqueue, as a device sees it. Owned by its worker's thread. */
struct ob_queue;

/**
 * A popped chain: the buffer of one request. The first n_out ranges are for the device to
 * read, the n_in after them to write. The memory stays mapped until the chain is completed.
 * The device may change the ranges (advance past what it has consumed).
 */
struct ob_chain {
    struct iovec *iov;        /**< host ranges */
    uint64_t *guest;          /**< where each range begins in OB_SPACE_DRIVER */
    uint16_t n_out;           /**< ranges to read */
    uint16_t n_in;            /**< ranges to write, after those to read */
    uint16_t id;              /**< the rest is the ring's */
    uint16_t slots;
    uint32_t generation;
    uint32_t written;
    bool done;
    struct ob_queue_map *map;
    struct ob_chain *next;
    struct iovec iov_inline[OB_CHAIN_RANGES_INLINE];
    uint64_t guest_inline[OB_CHAIN_RANGES_INLINE];
};

/** What a queue has counted since its device was created; never goes back. */
struct ob_queue_counters {
    uint64_t requests;  /**< chains completed */
    uint64_t bytes_out; /**< payload read from the driver, as the device counts it */
    uint64_t bytes_in;  /**< payload written to the driver */
    uint64_t errors;    /**< requests that ended in an error that the driver was told */
    uint64_t kicks;     /**< wake-ups by the driver */
    uint64_t calls;     /**< notifications sent to the driver */
    uint64_t broken;    /**< times that the queue broke */
};

/**
 * Takes up to max chains from the ring.
 * @param chains  each is a request of the device's request_size with the chain first.
 * @return how many; fewer than max when the ring is empty, all OB_QUEUE_INFLIGHT_MAX are
 *         out, an address is not known yet, or the queue is stopping or broken.
 */
OB_PUBLIC unsigned ob_queue_pop(struct ob_queue *queue, struct ob_chain **chains, unsigned max);

/**
 * Gives a chain back, in any order. The driver sees it at the next publication, which
 * happens by itself from time to time and at the end of the device's run().
 * A chain of a generation that is gone is recycled and nothing is written.
 * @param written  bytes written to the chain from its first writable byte on.
 */
OB_PUBLIC void ob_queue_complete(struct ob_queue *queue, struct ob_chain *chain, uint32_t written);

/** Makes all completed chains visible to the driver; it is called, if it asked for that, at the
 *  end of the device's run(). */
OB_PUBLIC void ob_queue_publish(struct ob_queue *queue);

/** True while completing a chain of it can still reach the driver. */
OB_PUBLIC bool ob_queue_chain_live(const struct ob_queue *queue, const struct ob_chain *chain);

/**
 * Breaks the queue: nothing is popped any more until it is started anew. The reason is
 * logged once and counted, and the transport tells the peer if it can.
 */
OB_PUBLIC void ob_queue_break(struct ob_queue *queue, const char *reason);

/** Has the device's run() called (again), for instance as a completion came in. */
OB_PUBLIC void ob_queue_wake(struct ob_queue *queue);

/** Number of this queue in its device. */
OB_PUBLIC unsigned ob_queue_index(const struct ob_queue *queue);

/** Size of the running ring, in descriptors. */
OB_PUBLIC unsigned ob_queue_size(const struct ob_queue *queue);

/** The feature bits that the driver accepted. */
OB_PUBLIC uint64_t ob_queue_features(const struct ob_queue *queue);

/** The loop of the worker that runs this queue. */
OB_PUBLIC struct ob_loop *ob_queue_loop(const struct ob_queue *queue);

/** The counters, for the device to add payload bytes and errors to. */
OB_PUBLIC struct ob_queue_counters *ob_queue_counters(struct ob_queue *queue);

/** Bytes that the device may still read from the chain. */
OB_PUBLIC size_t ob_chain_readable(const struct ob_chain *chain);

/** Bytes that the device may still write to the chain. */
OB_PUBLIC size_t ob_chain_writable(const struct ob_chain *chain);

/**
 * Copies bytes from the front of the readable part, across ranges, and drops them from the
 * chain. @return true, or false (nothing dropped) if there are fewer.
 */
OB_PUBLIC bool ob_chain_take_front(struct ob_chain *chain, void *buf, size_t len);

/**
 * Drops the last bytes of the writable part from the chain, across ranges, and tells where
 * they were. @param ret  host addresses, one a byte. @return as ob_chain_take_front().
 */
OB_PUBLIC bool ob_chain_take_back(struct ob_chain *chain, uint8_t **ret, size_t len);

/** Copies to the writable part from byte offset on. @return bytes copied (fewer: chain ended). */
OB_PUBLIC size_t ob_chain_write(struct ob_chain *chain, size_t offset, const void *buf,
                                size_t len);

#ifdef __cplusplus
}
#endif

#endif
