/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands
 *
 * Each queue belongs to a worker. What the control thread wants of it travels as a command: an
 * allocated record that is posted to the worker, carried out there, posted back with its
 * result, and freed. Commands to one worker keep their order, both ways, so a transport may
 * issue several and wait only for the last.
 *
 * A command that stops or abandons a queue stays with the worker until the queue has drained;
 * neither thread waits.
 */

#include "device/command.h"

#include <errno.h>
#include <stdlib.h>

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

void command_finish(struct command *command, int result)
{
    command->result = result;
    command->work.run = command_back;
    ob_loop_post(command->slot->device->options.control, &command->work);
}

struct command *command_new(struct device_queue *slot, void (*run)(struct command *))
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

void command_post(struct command *command)
{
    ob_loop_post(command->slot->queue.loop, &command->work);
}

void command_wait_for_drain(struct command *command)
{
    struct command **last = &command->slot->drain_waiters;

    while (*last)
        last = &(*last)->next;
    *last = command;
}

void command_cancel_deferred(struct device_queue *slot)
{
    struct command *command = slot->deferred;

    if (!command)
        return;
    slot->deferred = NULL;
    pool_done(&command->start.pool);
    command_finish(command, -ECANCELED);
}
