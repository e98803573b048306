/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_DRIVER_H
#define OUTBOARD_DRIVER_H

#include <outboard/export.h>
#include <outboard/frontend.h>
#include <outboard/log.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The driver side of a virtio device that somebody else serves: a front-end, shared memory for
 * buffers, and queues. doc/examples/read_disk.c is a block client on a page.
 *
 * One thread connects, starts and stops; then each queue may have a thread of its own.
 */
struct ob_driver;

/** One queue. One thread at a time. */
struct ob_driver_queue;

/** Options of a driver; zero-initialise for the defaults. */
struct ob_driver_options {
    const char *endpoint;     /**< "vhost-user:PATH" */
    const struct ob_frontend_ops *frontend; /**< a kind of your own, whose word the endpoint
                                   begins with; NULL: one of the library's */
    const struct ob_log *log; /**< may be NULL */
    uint64_t features;        /**< wanted; those that are offered too will be accepted.
                                   VERSION_1 is always among them, IN_ORDER only with
                                   RING_PACKED */
    unsigned n_queues;        /**< 0: 1 */
    unsigned queue_size;      /**< descriptors; 0: 256 */
    unsigned request_ranges;  /**< ranges of one request at most; 0: 8 */
    size_t buffer_bytes;      /**< of shared memory for the caller's buffers */
    const char *memory_file;  /**< a file to put all shared memory in, or NULL: a memfd */
    uint64_t memory_offset;   /**< where in that file; a multiple of its page size */
    bool hugepages;           /**< of a memfd */
    unsigned timeout_ms;      /**< as in struct ob_frontend_options */
};

/** One range of a request; memory lies in ob_driver_buffers(). */
struct ob_driver_range {
    void *memory;
    uint32_t len;
};

/** A request that came back. */
struct ob_driver_used {
    uint32_t request; /**< its number */
    uint32_t written; /**< bytes that the device says it wrote */
};

/**
 * Connects, negotiates, and allocates. @return 0; -EINVAL, -ENOTSUP (a feature is missing that
 * must not), or -errno of the front-end, with the cause in the log.
 */
OB_PUBLIC int ob_driver_new(const struct ob_driver_options *options, struct ob_driver **ret);

/** Stops what runs, disconnects, frees. NULL is fine. */
OB_PUBLIC void ob_driver_free(struct ob_driver *driver);

/** The accepted feature bits. */
OB_PUBLIC uint64_t ob_driver_features(const struct ob_driver *driver);

/** The front-end, for configuration and events. */
OB_PUBLIC struct ob_frontend *ob_driver_frontend(struct ob_driver *driver);

/** The caller's shared memory, buffer_bytes of it, zeroed, aligned to pages. */
OB_PUBLIC void *ob_driver_buffers(struct ob_driver *driver);

/** Starts all queues. @return 0 or -errno. */
OB_PUBLIC int ob_driver_start(struct ob_driver *driver);

/** Stops all queues: the device ends its requests before, and they can still be reaped. */
OB_PUBLIC int ob_driver_stop(struct ob_driver *driver);

/** Queue index, which stays the driver's. */
OB_PUBLIC struct ob_driver_queue *ob_driver_queue(struct ob_driver *driver, unsigned index);

/**
 * Lays out a request: what the device reads, then what it writes. A request is laid out once
 * and can be submitted any number of times, with what its memory then holds.
 * @param request  0 to ob_driver_requests() - 1, and not under way.
 * @return 0; -EINVAL (memory not shared, an empty range, no ranges), -E2BIG.
 */
OB_PUBLIC int ob_driver_lay_out(struct ob_driver_queue *queue, uint32_t request,
                                const struct ob_driver_range *ranges, unsigned n_out,
                                unsigned n_in);

/** How many requests a queue has: its size, or less without indirect descriptors. */
OB_PUBLIC unsigned ob_driver_requests(const struct ob_driver_queue *queue);

/**
 * Gives laid out requests to the device, and kicks it if it asked for that. Each must not be
 * under way already.
 */
OB_PUBLIC void ob_driver_submit(struct ob_driver_queue *queue, const uint32_t *requests,
                                unsigned count);

/**
 * Takes up to max requests that the device has ended.
 * @return how many; -EPROTO if the device broke the rules; -ENOBUFS if the ring is in order
 * and max is less than what is under way.
 */
OB_PUBLIC int ob_driver_reap(struct ob_driver_queue *queue, struct ob_driver_used *used,
                             unsigned max);

/**
 * Waits until ob_driver_reap() has something, sleeping on the call.
 * @return 0, -ETIMEDOUT, or -errno.
 */
OB_PUBLIC int ob_driver_wait(struct ob_driver_queue *queue, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
