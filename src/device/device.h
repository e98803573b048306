/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "ring/queue.h"

#include <outboard/device.h>

struct command;

/* A queue with what the control thread keeps of it. */
struct device_queue {
    struct ob_queue queue; /* the worker's */
    struct ob_device *device;
    struct command *drain_waiters; /* the worker's: answered when the queue has stopped */
    struct ob_work kick_work;      /* any thread to the worker, while kick_posted */
    bool kick_posted;              /* atomic */
    struct ob_work broken_work;    /* worker to control, while broken_posted */
    bool broken_posted;            /* atomic */
    bool running;                  /* the control thread's, as all below */
    unsigned epoch;                /* of starts and resets: earlier answers are not for now */
    struct command *deferred;      /* a start that waits for resets to drain */
};

/* All of it is the control thread's. */
struct ob_device {
    const struct ob_device_ops *ops;
    void *dev;
    struct ob_device_options options;
    struct ob_device_listener listener;
    uint64_t features;    /* accepted */
    struct ob_map *map;   /* last given; NULL: none */
    unsigned resets;      /* whose drain is under way */
    struct device_queue *queues;
};

/* Sets up queue index of a device; device_queue_done() undoes it. */
void device_queue_init(struct ob_device *device, unsigned index);
void device_queue_done(struct device_queue *slot);

#endif
