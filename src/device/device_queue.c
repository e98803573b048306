/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of a device, from the control thread
 *
 * Each queue belongs to a worker. What the control thread wants of it travels as a command: an
 * allocated record that is posted to the worker, carried out there, posted back with its
 * result, and freed. Commands to one worker keep their order, both ways, so a transport may
 * issue several and wait only for the last.
 *
 * A command that stops or abandons a queue stays with the worker until the queue has drained;
 * neither thread waits.
 *
 * Reset. The device is taken from its driver at once, but I/O of that driver may still be under
 * way in the kernel. The next driver must not overtake it: a write that is still out could land
 * on top of a newer one. So the next driver may do all it likes, but its queues start when the
 * reset has drained; until then their start commands are kept here ("deferred").
 */

#include "device/device.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>

/* Several commands with one answer. */
struct barrier {
    struct ob_device *device;
    unsigned left;
    bool reset;
    ob_done_fn done;
    void *ctx;
};

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

static void command_back(struct ob_work *work)
{
    struct command *command = container_of(work, struct command, work);

    if (command->finish)
        command->finish(command);
    free(command);
}

static void command_arrives(struct ob_work *work)
{
    struct command *command = container_of(work, struct command, work);

    command->run(command);
}

/* Worker, or the control thread for a command that never left. */
static void command_finish(struct command *command, int result)
{
    command->result = result;
    command->work.run = command_back;
    ob_loop_post(command->slot->device->options.control, &command->work);
}

static struct command *command_new(struct device_queue *slot, void (*run)(struct command *))
{
    struct command *command = calloc(1, sizeof(*command));

    if (!command)
        return NULL;
    command->slot = slot;
    command->run = run;
    command->epoch = slot->epoch;
    command->work.run = command_arrives;
    return command;
}

static void command_post(struct command *command)
{
    ob_loop_post(command->slot->queue.loop, &command->work);
}

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

/* A start that was deferred ends before it began. */
static void cancel_deferred(struct device_queue *slot)
{
    struct command *command = slot->deferred;

    if (!command)
        return;
    slot->deferred = NULL;
    pool_done(&command->start.pool);
    command_finish(command, -ECANCELED);
}

static void post_deferred(struct ob_device *device)
{
    for (unsigned i = 0; i < device->options.n_queues; i++) {
        struct command *command = device->queues[i].deferred;

        device->queues[i].deferred = NULL;
        if (command)
            command_post(command);
    }
}

/* Stop, and reset */

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

static void wait_for_drain(struct command *command)
{
    struct command **last = &command->slot->drain_waiters;

    while (*last)
        last = &(*last)->next;
    *last = command;
}

static void stop_run(struct command *command)
{
    if (command->slot->queue.state == QUEUE_STOPPED) {
        command_finish(command, -EALREADY);
        return;
    }
    wait_for_drain(command);
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
        cancel_deferred(slot);
        command_finish(command, 0);
    } else {
        command_post(command);
    }
    return 0;
}

static void barrier_arrive(struct command *command)
{
    struct barrier *barrier = command->barrier;
    struct ob_device *device = barrier->device;

    if (--barrier->left)
        return;
    if (barrier->reset && !--device->resets)
        post_deferred(device);
    if (barrier->done)
        barrier->done(barrier->ctx, 0);
    free(barrier);
}

/* Makes a command for each queue, all or none, with one answer when the last is back. */
static int commands_new(struct ob_device *device, void (*run)(struct command *), ob_done_fn done,
                        void *ctx, struct command **commands)
{
    struct barrier *barrier = calloc(1, sizeof(*barrier));
    unsigned n = device->options.n_queues, i;

    if (!barrier)
        return -ENOMEM;
    *barrier = (struct barrier){.device = device, .left = n, .done = done, .ctx = ctx};
    for (i = 0; i < n; i++) {
        commands[i] = command_new(&device->queues[i], run);
        if (!commands[i])
            break;
        commands[i]->barrier = barrier;
        commands[i]->finish = barrier_arrive;
    }
    if (i == n)
        return 0;
    while (i--)
        free(commands[i]);
    free(barrier);
    return -ENOMEM;
}

static void reset_run(struct command *command)
{
    struct ob_queue *queue = &command->slot->queue;

    if (queue->state == QUEUE_STOPPED) {
        queue_abandon(queue);
        command_finish(command, 0);
        return;
    }
    wait_for_drain(command);
    queue_abandon(queue);
}

int ob_device_reset(struct ob_device *device, ob_done_fn done, void *ctx)
{
    struct command *commands[OB_DEVICE_QUEUES_MAX];
    int result = commands_new(device, reset_run, done, ctx, commands);

    if (result < 0)
        return result;
    commands[0]->barrier->reset = true;
    device->resets++;
    for (unsigned i = 0; i < device->options.n_queues; i++) {
        struct device_queue *slot = &device->queues[i];

        cancel_deferred(slot);
        slot->running = false;
        slot->epoch++;
        command_post(commands[i]);
    }
    ob_map_unref(device->map);
    device->map = NULL;
    device->features = 0;
    if (device->ops->reset)
        device->ops->reset(device->dev);
    return 0;
}

/* Map */

static void map_run(struct command *command)
{
    queue_set_map(&command->slot->queue, command->map);
    command_finish(command, 0);
}

int ob_device_set_map(struct ob_device *device, struct ob_map *map, ob_done_fn done, void *ctx)
{
    struct command *commands[OB_DEVICE_QUEUES_MAX];
    struct ob_queue_map *maps[OB_DEVICE_QUEUES_MAX];
    unsigned n = device->options.n_queues;
    int result;

    for (unsigned i = 0; i < n; i++) {
        maps[i] = calloc(1, sizeof(*maps[i]));
        if (!maps[i]) {
            while (i--)
                free(maps[i]);
            return -ENOMEM;
        }
    }
    result = commands_new(device, map_run, done, ctx, commands);
    for (unsigned i = 0; i < n; i++) {
        if (result < 0) {
            free(maps[i]);
            continue;
        }
        maps[i]->map = ob_map_ref(map);
        maps[i]->refs = 1;
        commands[i]->map = maps[i];
        command_post(commands[i]);
    }
    if (result < 0)
        return result;
    ob_map_unref(device->map);
    device->map = ob_map_ref(map);
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
