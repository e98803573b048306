/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_TRANSPORT_H
#define OUTBOARD_TRANSPORT_H

#include <outboard/device.h>
#include <outboard/export.h>
#include <outboard/log.h>
#include <outboard/loop.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How a device reaches a driver: one running instance. Owned by the control thread. */
struct ob_transport;

/** What a transport is opened with. */
struct ob_transport_options {
    struct ob_loop *control;   /**< the device's control loop */
    const struct ob_log *log;
    struct ob_device *device;  /**< served by this transport alone; borrowed */
    const char *address;       /**< what follows "NAME:" on the command line */
    int fd;                    /**< an inherited descriptor instead of the address, or -1;
                                    consumed on success */
    /** The peer left and none can follow, as of an inherited connection: time to close the
     *  transport. Control thread; may close it at once. May be NULL. */
    void (*closed)(void *ctx);
    void *ctx;                 /**< of closed() */
};

/** A kind of transport: vhost-user, vduse ... */
struct ob_transport_ops {
    size_t size;      /**< sizeof(struct ob_transport_ops) */
    const char *name; /**< the command line's word */
    const char *help; /**< one line: the form of the address */
    /** Starts to serve. @return 0, or -errno with the cause in the log. */
    int (*open)(const struct ob_transport_options *options, struct ob_transport **ret);
    /** Takes the device away from its driver after ending the requests out, then frees;
     *  done() is called last. */
    void (*close)(struct ob_transport *transport, ob_done_fn done, void *ctx);
};

/** Every transport starts with this. */
struct ob_transport {
    const struct ob_transport_ops *ops;
};

/** vhost-user over a Unix socket: PATH[,client]. */
OB_PUBLIC extern const struct ob_transport_ops ob_transport_vhost_user;

#ifdef __cplusplus
}
#endif

#endif
