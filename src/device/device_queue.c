/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of a device, one by one, from the control thread
 *
 * Start, stop, enable, kick and call are commands to the queue's worker (device/command.c). A
 * start may have to wait for requests of an earlier driver (device/device_all.c). Breaking comes
 * the other way: the worker posts it, and the transport is told.
 */

#include "device/command.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>

/* Start */

static void start_finish(struct command *command)
{
    if (command->result < 0 && command->epoch == command->slot->epoch)
        command->slot->running = false;
    if (command->done)
        command->done(command->ctx, command->result);
}

static void start_run(struct command *command)
{
    struct ob_queue *queue = &command->slot->queue;

    if (queue->state != QUEUE_STOPPED) {
        pool_done(&command->start.pool);
        command_finish(command, -EALREADY);
        return;
    }
    command_finish(command, queue_start(queue, &command->start.setup, &command->start.pool));
}

int ob_device_queue_start(struct ob_device *device, unsigned index,
                          const struct ob_queue_setup *setup, ob_done_fn done, void *ctx)
{
    struct device_queue *slot = &device->queues[index];
    struct command *command;
    unsigned capacity;
    int result;

    if (slot->running)
        return -EALREADY;
    result = queue_check_setup(setup, device->options.queue_size_max, device->options.log, index);
    if (result < 0)
        return result;
    if (!device->map) {
        log_error(device->options.log, "queue %u: it cannot start before there is memory", index);
        return -EINVAL;
    }
    command = command_new(slot, start_run);
    if (!command)
        return -ENOMEM;
    capacity = setup->size < OB_QUEUE_INFLIGHT_MAX ? setup->size : OB_QUEUE_INFLIGHT_MAX;
    result = pool_init(&command->start.pool, device->ops->request_size, capacity);
    if (result < 0) {
        free(command);
        return result;
    }
    command->start.setup = *setup;
    command->finish = start_finish;
    command->done = done;
    command->ctx = ctx;
    slot->running = true;
    slot->epoch++; /* of this start: a stop before it does not end it */
    command->epoch = slot->epoch;
    if (device->resets)
        slot->deferred = command;
    else
        command_post(command);
    return 0;
}

/* Stop */

static void queue_has_drained(struct ob_queue *queue)
{
    struct device_queue *slot = container_of(queue, struct device_queue, queue);
    struct command *command = slot->drain_waiters;

    /* With the last answer the device may be freed: nothing of it is touched after that. */
    slot->drain_waiters = NULL;
    while (command) {
        struct command *next = command->next;

        if (command->stopped)
            queue->format->save(queue, &command->base);
        command_finish(command, 0);
        command = next;
    }
}

static void stop_run(struct command *command)
{
    if (command->slot->queue.state == QUEUE_STOPPED) {
        command_finish(command, -EALREADY);
        return;
    }
    command_wait_for_drain(command);
    queue_stop(&command->slot->queue);
}

static void stop_finish(struct command *command)
{
    if (command->epoch == command->slot->epoch)
        command->slot->running = false;
    command->stopped(command->ctx, command->result, &command->base);
}

int ob_device_queue_stop(struct ob_device *device, unsigned index, ob_queue_stopped_fn stopped,
                         void *ctx)
{
    struct device_queue *slot = &device->queues[index];
    struct command *command = command_new(slot, stop_run);

    if (!command)
        return -ENOMEM;
    command->finish = stop_finish;
    command->stopped = stopped;
    command->ctx = ctx;
    if (slot->deferred) {
        /* It stands where it was to begin. */
        command->base = slot->deferred->start.setup.base;
        command_cancel_deferred(slot);
        command_finish(command, 0);
    } else {
        command_post(command);
    }
    return 0;
}

/* The small ones */

static void enable_run(struct command *command)
{
    queue_enable(&command->slot->queue, command->enable);
    command_finish(command, 0);
}

int ob_device_queue_enable(struct ob_device *device, unsigned index, bool enable)
{
    struct command *command = command_new(&device->queues[index], enable_run);

    if (!command)
        return -ENOMEM;
    command->enable = enable;
    command_post(command);
    return 0;
}

static void kick_fd_run(struct command *command)
{
    queue_set_kick(&command->slot->queue, command->fd);
    command_finish(command, 0);
}

int ob_device_queue_set_kick(struct ob_device *device, unsigned index, int fd)
{
    struct command *command = command_new(&device->queues[index], kick_fd_run);

    if (!command) {
        fd_close(&fd);
        return -ENOMEM;
    }
    command->fd = fd;
    command_post(command);
    return 0;
}

static void call_run(struct command *command)
{
    queue_set_call(&command->slot->queue, command->call);
    command_finish(command, 0);
}

int ob_device_queue_set_call(struct ob_device *device, unsigned index, struct ob_call call)
{
    struct command *command = command_new(&device->queues[index], call_run);

    if (!command) {
        if (call.release)
            call.release(call.ctx);
        return -ENOMEM;
    }
    command->call = call;
    command_post(command);
    return 0;
}

static void kick_arrives(struct ob_work *work)
{
    struct device_queue *slot = container_of(work, struct device_queue, kick_work);

    __atomic_store_n(&slot->kick_posted, false, __ATOMIC_SEQ_CST);
    queue_kicked(&slot->queue);
}

void ob_device_queue_kick(struct ob_device *device, unsigned index)
{
    struct device_queue *slot = &device->queues[index];

    if (!__atomic_exchange_n(&slot->kick_posted, true, __ATOMIC_SEQ_CST))
        ob_loop_post(slot->queue.loop, &slot->kick_work);
}

static void broken_arrives(struct ob_work *work)
{
    struct device_queue *slot = container_of(work, struct device_queue, broken_work);
    const struct ob_device_listener *listener = &slot->device->listener;

    __atomic_store_n(&slot->broken_posted, false, __ATOMIC_SEQ_CST);
    /* A driver that is gone is told nothing, nor is the next one told of it. */
    if (slot->running && !slot->deferred && !slot->device->resets && listener->queue_broken)
        listener->queue_broken(listener->ctx, slot->queue.index);
}

static void queue_told_broken(struct ob_queue *queue)
{
    struct device_queue *slot = container_of(queue, struct device_queue, queue);

    if (!__atomic_exchange_n(&slot->broken_posted, true, __ATOMIC_SEQ_CST))
        ob_loop_post(slot->device->options.control, &slot->broken_work);
}

bool ob_device_queue_running(const struct ob_device *device, unsigned index)
{
    return device->queues[index].running;
}

void ob_device_queue_counters(const struct ob_device *device, unsigned index,
                              struct ob_queue_counters *ret)
{
    const struct ob_queue_counters *counters = &device->queues[index].queue.counters;

    *ret = (struct ob_queue_counters){
        .requests = load_once(&counters->requests),
        .bytes_out = load_once(&counters->bytes_out),
        .bytes_in = load_once(&counters->bytes_in),
        .errors = load_once(&counters->errors),
        .kicks = load_once(&counters->kicks),
        .calls = load_once(&counters->calls),
        .broken = load_once(&counters->broken),
    };
}

void device_queue_init(struct ob_device *device, unsigned index)
{
    struct device_queue *slot = &device->queues[index];
    const struct ob_device_options *options = &device->options;

    slot->device = device;
    slot->kick_work.run = kick_arrives;
    slot->broken_work.run = broken_arrives;
    slot->queue.type = device->ops;
    slot->queue.dev = device->dev;
    slot->queue.log = options->log;
    slot->queue.loop = ob_worker_loop(options->workers[index % options->n_workers]);
    slot->queue.index = index;
    slot->queue.drained = queue_has_drained;
    slot->queue.told_broken = queue_told_broken;
    queue_init(&slot->queue);
}

void device_queue_done(struct device_queue *slot)
{
    queue_set_kick(&slot->queue, -1);
    queue_set_call(&slot->queue, (struct ob_call){0});
    queue_map_unref(slot->queue.map);
    slot->queue.map = NULL;
}
