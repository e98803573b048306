/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_FRONTEND_H
#define OUTBOARD_FRONTEND_H

#include <outboard/device.h>
#include <outboard/export.h>
#include <outboard/log.h>
#include <outboard/memory.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A way to a device that somebody else serves: one connection. One thread. */
struct ob_frontend;

/** What a front-end is opened with. */
struct ob_frontend_options {
    const char *address;      /**< what follows "NAME:" */
    const struct ob_log *log; /**< may be NULL */
    unsigned timeout_ms;      /**< how long a back-end may owe an answer; 0: 10 s */
};

/** A queue to be started. The descriptors are not consumed. */
struct ob_frontend_queue {
    struct ob_queue_setup setup;
    int kick; /**< eventfd that we write, or -1: the device polls */
    int call; /**< eventfd that the device writes, or -1: we poll */
};

/**
 * A kind of front-end: vhost-user, later virtio-pci and others. All verbs but event() may wait
 * for the other side, up to the time-out, and then fail with -ETIMEDOUT; after a failure of
 * the connection (-ECONNRESET, -EPROTO, -ETIMEDOUT) only close() is of use.
 */
struct ob_frontend_ops {
    size_t size;      /**< sizeof(struct ob_frontend_ops) */
    const char *name; /**< the command line's word */
    const char *help; /**< one line: the form of the address */

    /** Connects. @return 0, or -errno with the cause in the log. */
    int (*open)(const struct ob_frontend_options *options, struct ob_frontend **ret);
    /** Leaves, and frees. */
    void (*close)(struct ob_frontend *frontend);
    /** The feature bits offered. */
    int (*features)(struct ob_frontend *frontend, uint64_t *ret);
    /** Accepts a subset of them. */
    int (*set_features)(struct ob_frontend *frontend, uint64_t features);
    /** How many queues the device has at most. */
    int (*queues)(struct ob_frontend *frontend, unsigned *ret);
    /** Gives the device our memory, before a queue starts. fds: one a region, not consumed. */
    int (*set_memory)(struct ob_frontend *frontend, const struct ob_region_info *regions,
                      const int *fds, unsigned count);
    int (*config_read)(struct ob_frontend *frontend, size_t offset, void *buf, size_t len);
    int (*config_write)(struct ob_frontend *frontend, size_t offset, const void *buf, size_t len);
    /** Starts and enables a queue. */
    int (*queue_start)(struct ob_frontend *frontend, unsigned index,
                       const struct ob_frontend_queue *queue);
    /** Stops a queue once the device has ended its requests; tells where it stands. */
    int (*queue_stop)(struct ob_frontend *frontend, unsigned index, struct ob_queue_base *ret);
    /** A descriptor that is readable when event() has something, or when the other side left. */
    int (*event_fd)(struct ob_frontend *frontend);
    /** Takes one event: 1, the configuration changed; 0, nothing; or -errno, the connection
     *  failed. */
    int (*event)(struct ob_frontend *frontend);
    /** The process that serves, for measurements; -1 if that cannot be told. */
    int (*peer)(struct ob_frontend *frontend);
};

/** Every front-end starts with this. */
struct ob_frontend {
    const struct ob_frontend_ops *ops;
};

/** vhost-user over a Unix socket: PATH. */
OB_PUBLIC extern const struct ob_frontend_ops ob_frontend_vhost_user;

#ifdef __cplusplus
}
#endif

#endif
