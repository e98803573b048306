/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_COMMAND_H
#define DEVICE_COMMAND_H

#include "device/device.h"

struct barrier;

/* What the control thread wants of one queue, on its way to the worker and back. */
struct command {
    struct ob_work work; /* to the worker, and back */
    struct device_queue *slot;
    void (*run)(struct command *command);    /* worker; ends in command_finish() */
    void (*finish)(struct command *command); /* control; NULL: nothing to say */
    int result;
    unsigned epoch;
    struct command *next; /* in drain_waiters */
    struct barrier *barrier;
    ob_done_fn done;
    ob_queue_stopped_fn stopped;
    void *ctx;
    union {
        struct {
            struct ob_queue_setup setup;
            struct pool pool;
        } start;
        struct ob_queue_base base;
        struct ob_queue_map *map;
        struct ob_call call;
        int fd;
        bool enable;
    };
};

/* Control thread: a command for a queue; run() is called on its worker. NULL: no memory. */
struct command *command_new(struct device_queue *slot, void (*run)(struct command *));

/* Control thread: sends it. */
void command_post(struct command *command);

/* Worker, or the control thread for a command that never left: sends it back, with a result. */
void command_finish(struct command *command, int result);

/* Worker: has it finished when the queue has drained. */
void command_wait_for_drain(struct command *command);

/* Control thread: ends a start that was deferred before it began. */
void command_cancel_deferred(struct device_queue *slot);

#endif
