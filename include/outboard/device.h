/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_DEVICE_H
#define OUTBOARD_DEVICE_H

#include <outboard/export.h>
#include <outboard/log.h>
#include <outboard/loop.h>
#include <outboard/memory.h>
#include <outboard/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Most queues that a device may have. */
#define OB_DEVICE_QUEUES_MAX 1024

/** Ring features that the queue engine implements for every device; a device adds its own. */
OB_PUBLIC uint64_t ob_ring_features(void);

/**
 * A virtio device, between a transport, which brings rings, memory and messages, and a
 * device type, which serves requests. Two kinds of thread touch it: the *control thread*
 * (that of the control loop) all but run() and what run() calls; each *worker's thread*
 * its own queues.
 */
struct ob_device;

/**
 * A device type: blk, net, scsi ... Verbs are called on the control thread unless they
 * say "worker". NULL is allowed where a default is named.
 */
struct ob_device_ops {
    size_t size;           /**< sizeof(struct ob_device_ops) */
    const char *name;      /**< the command line's word */
    uint32_t virtio_id;    /**< device ID (virtio 1.3, 5) */
    size_t request_size;   /**< bytes a request, at least a chain, which stands first in it */
    size_t config_size;    /**< bytes of device configuration */

    /** Device feature bits offered, without those of the ring. */
    uint64_t (*features)(void *dev);
    /** The driver accepted these, a subset of what is offered. Queues may be running.
     *  Default: nothing to do. */
    void (*set_features)(void *dev, uint64_t features);
    /** Copies part of the configuration; the range is inside config_size. */
    void (*config_read)(void *dev, size_t offset, void *buf, size_t len);
    /** Changes part of it; the range is inside. @return 0, or -EINVAL if a byte is read-only.
     *  Default: all is read-only. */
    int (*config_write)(void *dev, size_t offset, const void *buf, size_t len);
    /** Back to the state before a driver came. Requests of the one before may still be out;
     *  their results go nowhere. Default: nothing to do. */
    void (*reset)(void *dev);
    /** Whoever spoke for the driver has left, and what it knew of the configuration with it;
     *  called before reset(). Default: nothing to do. */
    void (*left)(void *dev);
    /** Makes durable what was written and frees the device type's part. No queue runs.
     *  @return 0, or -errno with the cause in the log: it may not be durable. */
    int (*free)(void *dev);

    /** Worker: a queue starts. @param ret what run() gets. @return 0 or -errno. */
    int (*queue_open)(void *dev, struct ob_queue *queue, void **ret);
    /** Worker: pops, serves and completes at most budget chains, completions of earlier
     *  ones included. @return how many; 0 if there was nothing to do. */
    unsigned (*run)(void *ctx, unsigned budget);
    /** Worker: called before the queue sleeps; true if there is something to do at once,
     *  else a watch or a wake will come. Default: false. */
    bool (*pending)(void *ctx);
    /** Worker: the queue stopped; no chain of it is out. */
    void (*queue_close)(void *ctx);
};

/** Options of a device. */
struct ob_device_options {
    struct ob_loop *control;       /**< the control loop */
    const struct ob_log *log;
    struct ob_worker **workers;    /**< queue i runs on worker i modulo n_workers; borrowed */
    unsigned n_workers;            /**< at least 1 */
    unsigned n_queues;             /**< 1 to OB_DEVICE_QUEUES_MAX */
    unsigned queue_size_max;       /**< largest ring accepted; 0: OB_QUEUE_SIZE_MAX */
};

/**
 * Creates a device; device types wrap this in a constructor of their own.
 * @param dev  the device type's part; freed with ops->free by ob_device_free(), and not on
 *             failure.
 * @return 0, -EINVAL, -ENOMEM.
 */
OB_PUBLIC int ob_device_new(const struct ob_device_ops *ops, void *dev,
                            const struct ob_device_options *options, struct ob_device **ret);

/**
 * Frees a device with no transport whose queues are all stopped; NULL is fine.
 * @return 0, or -errno if what was written may not be durable, with the cause in the log.
 */
OB_PUBLIC int ob_device_free(struct ob_device *device);

/** The device type's table. */
OB_PUBLIC const struct ob_device_ops *ob_device_type(const struct ob_device *device);

/** The device type's part. */
OB_PUBLIC void *ob_device_part(const struct ob_device *device);

/** Number of queues. */
OB_PUBLIC unsigned ob_device_queues(const struct ob_device *device);

/** Largest ring that a queue accepts. */
OB_PUBLIC unsigned ob_device_queue_size_max(const struct ob_device *device);

/** All feature bits offered: the device's and the ring's. */
OB_PUBLIC uint64_t ob_device_features(const struct ob_device *device);

/**
 * The driver accepted these features. Running queues go on.
 * @return 0, or -EINVAL if one was not offered.
 */
OB_PUBLIC int ob_device_set_features(struct ob_device *device, uint64_t features);

/** Reads configuration. @return 0, or -EINVAL if the range is not inside. */
OB_PUBLIC int ob_device_config_read(struct ob_device *device, size_t offset, void *buf,
                                    size_t len);

/** Writes configuration. @return 0, or -EINVAL if the range is not inside or read-only. */
OB_PUBLIC int ob_device_config_write(struct ob_device *device, size_t offset, const void *buf,
                                     size_t len);

/** What a device tells its transport, on the control thread. NULL verbs are skipped. */
struct ob_device_listener {
    void (*config_changed)(void *ctx);
    void (*queue_broken)(void *ctx, unsigned index);
    void *ctx;
};

/** Sets the listener, which is copied, or clears it with NULL: the transport's peer has left. */
OB_PUBLIC void ob_device_listen(struct ob_device *device,
                                const struct ob_device_listener *listener);

/** For a device type: the configuration changed by itself (a resize). Control thread. */
OB_PUBLIC void ob_device_config_changed(struct ob_device *device);

/**
 * A call sink: how a queue notifies its driver. call() never blocks; release() ends it.
 * Both on the worker's thread (release() also on the control thread if a queue never ran).
 */
struct ob_call {
    void (*call)(void *ctx); /**< NULL: nobody listens */
    void (*release)(void *ctx);
    void *ctx;
};

/** Where a ring stands, as GET_VRING_BASE and its like tell it. */
struct ob_queue_base {
    uint16_t avail_idx; /**< next available entry; packed: 15 bits */
    uint16_t used_idx;  /**< packed only: next used entry, 15 bits */
    bool avail_wrap;    /**< packed only */
    bool used_wrap;     /**< packed only */
};

/** All that a queue needs to run. */
struct ob_queue_setup {
    uint32_t size;          /**< descriptors */
    uint64_t features;      /**< accepted feature bits: they decide the ring format */
    enum ob_space space;    /**< of the three addresses */
    uint64_t desc;          /**< descriptor area */
    uint64_t driver;        /**< driver area: available ring, or driver events */
    uint64_t device;        /**< device area: used ring, or device events */
    struct ob_queue_base base;
};

/** Called on the control thread when a command is carried out. */
typedef void (*ob_done_fn)(void *ctx, int result);

/** Called on the control thread when a queue has stopped: result is 0, or -EALREADY if it
 *  did not run; base is where it stands. */
typedef void (*ob_queue_stopped_fn)(void *ctx, int result, const struct ob_queue_base *base);

/**
 * Starts a queue, or, while requests of an earlier driver are still out anywhere in the
 * device, as soon as they are not. done() is not called if the call itself fails, and is
 * called with -ECANCELED if the queue is stopped before it started. The map is the one
 * last given to ob_device_set_map().
 * @return 0; -EINVAL (size, alignment, no map given), -EALREADY, -ENOMEM.
 * done gets 0 or, beside, -EFAULT (a ring is not in memory) or what queue_open() said.
 */
OB_PUBLIC int ob_device_queue_start(struct ob_device *device, unsigned index,
                                    const struct ob_queue_setup *setup, ob_done_fn done,
                                    void *ctx);

/**
 * Stops a queue: takes no more requests, ends those it has, and tells where it stands.
 * @return 0 or -ENOMEM.
 */
OB_PUBLIC int ob_device_queue_stop(struct ob_device *device, unsigned index,
                                   ob_queue_stopped_fn stopped, void *ctx);

/** True from a successful ob_device_queue_start() to the end of a stop or reset. */
OB_PUBLIC bool ob_device_queue_running(const struct ob_device *device, unsigned index);

/**
 * Takes requests or pauses doing so (those it has are still completed). A queue is created
 * paused, and stopping it does not change this; resetting the device pauses it.
 */
OB_PUBLIC int ob_device_queue_enable(struct ob_device *device, unsigned index, bool enable);

/**
 * Sets the kick source, before or while a queue runs.
 * @param fd  an eventfd, non-blocking, consumed in any case; -1: none, the device is woken
 *            by ob_device_queue_kick() only.
 */
OB_PUBLIC int ob_device_queue_set_kick(struct ob_device *device, unsigned index, int fd);

/** Sets the call sink, before or while a queue runs; consumed in any case. */
OB_PUBLIC int ob_device_queue_set_call(struct ob_device *device, unsigned index,
                                       struct ob_call call);

/** Wakes a queue as its kick would. */
OB_PUBLIC void ob_device_queue_kick(struct ob_device *device, unsigned index);

/** Reads a queue's counters. Any thread. */
OB_PUBLIC void ob_device_queue_counters(const struct ob_device *device, unsigned index,
                                        struct ob_queue_counters *ret);

/**
 * Gives all queues a new map (a reference is taken). done() is called once every worker uses
 * it for new requests; the requests out hold the old one until they end.
 * @return 0 or -ENOMEM.
 */
OB_PUBLIC int ob_device_set_map(struct ob_device *device, struct ob_map *map, ob_done_fn done,
                                void *ctx);

/**
 * Takes the device away from its driver at once: queues stop, nothing more is written to
 * their memory by us; kick and call are dropped; features and configuration go back to
 * their start. done() is called when no request is out any more, so that the kernel
 * does not write there either; all callbacks of earlier calls have been called by then. The
 * map is dropped. The device can be used by the next driver at once.
 * @return 0 or -ENOMEM.
 */
OB_PUBLIC int ob_device_reset(struct ob_device *device, ob_done_fn done, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
