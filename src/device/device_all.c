/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All queues of a device at once: a new map, and reset
 *
 * A command goes to each queue, and one answer comes when the last is back.
 *
 * Reset. The device is taken from its driver at once, but I/O of that driver may still be under
 * way in the kernel. The next driver must not overtake it: a write that is still out could land
 * on top of a newer one. So the next driver may do all it likes, but its queues start when the
 * reset has drained; until then their start commands are kept ("deferred").
 */

#include "device/command.h"

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

static void post_deferred(struct ob_device *device)
{
    for (unsigned i = 0; i < device->options.n_queues; i++) {
        struct command *command = device->queues[i].deferred;

        device->queues[i].deferred = NULL;
        if (command)
            command_post(command);
    }
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
    command_wait_for_drain(command);
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

        command_cancel_deferred(slot);
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
