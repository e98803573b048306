/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues, device half
 *
 * A queue joins a ring (of either format), the map that it translates with, a kick source, a
 * call sink, and the device type's run(). It is a poller of its worker's loop: run() is called
 * while there is work, and when there is none the driver is asked to kick before the queue
 * falls asleep. Kicks are edge-triggered events on an eventfd that is never read: each write is
 * an edge, and reading would be one more system call.
 *
 * Publication. Completed chains are staged, and published in groups of a quarter of what is
 * out, and at the end of each run. Publishing is the only place that writes to the used ring. A
 * driver that polls sees each group at once; one that sleeps is called at the end of the run,
 * since waking it for the first group would have it come and go for each.
 *
 * Generations. A queue that is taken from its driver (reset, lost connection) or that lost its
 * ring's memory gets a new generation at once; chains of an older one, when their I/O ends, go
 * back to the pool and nobody is told. Each chain holds the map that it was translated with.
 *
 *   STOPPED   start
 *   RUNNING   stop, abandon, break, enable, and all else
 *   DRAINING  abandon; becomes STOPPED when the last chain is back
 *
 * Broken is sticky until the next start, not a state: a broken queue pops nothing, but its
 * chains end, and it can be stopped as any other.
 */

#include "ring/queue.h"

#include "base/fd.h"
#include "base/log.h"
#include "ring/gather.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define REASON_MAX 160

/* What a queue without a hit translates with: holds no address. */
static const struct map_range no_range;

uint64_t ob_ring_features(void)
{
    return feature_bit(VIRTIO_F_VERSION_1) | feature_bit(VIRTIO_F_RING_PACKED) |
           feature_bit(VIRTIO_F_IN_ORDER) | feature_bit(VIRTIO_F_ANY_LAYOUT) |
           feature_bit(VIRTIO_RING_F_INDIRECT_DESC) | feature_bit(VIRTIO_RING_F_EVENT_IDX);
}

int queue_check_setup(const struct ob_queue_setup *setup, unsigned size_max,
                      const struct ob_log *log, unsigned index)
{
    bool packed = setup->features & feature_bit(VIRTIO_F_RING_PACKED);
    /* 2.7 and 2.8.10: alignment of the three areas. */
    uint64_t driver_align = packed ? 4 : 2, device_align = 4;

    if (!setup->size || setup->size > size_max || (!packed && !is_power_of_two(setup->size))) {
        log_error(log, "queue %u: a %s ring of %u descriptors; it takes 1 to %u%s", index,
                  packed ? "packed" : "split", setup->size, size_max,
                  packed ? "" : ", a power of two");
        return -EINVAL;
    }
    if (setup->desc % 16 || setup->driver % driver_align || setup->device % device_align) {
        log_error(log, "queue %u: ring areas at 0x%llx, 0x%llx, 0x%llx are not aligned to 16, "
                  "%u, %u", index, (unsigned long long)setup->desc,
                  (unsigned long long)setup->driver, (unsigned long long)setup->device,
                  (unsigned)driver_align, (unsigned)device_align);
        return -EINVAL;
    }
    if (packed && (setup->base.avail_idx >= setup->size || setup->base.used_idx >= setup->size)) {
        log_error(log, "queue %u: indices %u and %u in a packed ring of %u", index,
                  setup->base.avail_idx, setup->base.used_idx, setup->size);
        return -EINVAL;
    }
    return 0;
}

int queue_bad(struct ob_queue *queue, const char *format, ...)
{
    char reason[REASON_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    ob_queue_break(queue, reason);
    return -EPROTO;
}

void ob_queue_break(struct ob_queue *queue, const char *reason)
{
    if (queue->broken)
        return;
    queue->broken = true;
    queue->popping = false;
    counter_add(&queue->counters.broken, 1);
    log_error(queue->log, "queue %u is broken and serves no more requests until it is reset: %s",
              queue->index, reason);
    queue->told_broken(queue);
}

void queue_map_unref(struct ob_queue_map *map)
{
    if (!map || --map->refs)
        return;
    ob_map_unref(map->map);
    free(map);
}

/* Gives back the chains that are completed but not published, and forgets those that are not
 * completed: their generation does the rest. */
static void drop_order(struct ob_queue *queue)
{
    for (; queue->order_count; queue->order_count--) {
        struct ob_chain *chain = queue->order[queue->order_first];

        if (chain->done)
            chain_recycle(queue, chain);
        if (++queue->order_first == queue->pool.capacity)
            queue->order_first = 0;
    }
}

/* Chains that are out belong to the driver no more, nor does the ring. */
static void forget_driver(struct ob_queue *queue)
{
    queue->generation++;
    queue->popping = false;
    queue->call_owed = false;
    queue->ring_lost = true;
    if (queue->order) {
        drop_order(queue); /* staged ones are among them */
    } else {
        for (unsigned i = 0; i < queue->staged_count; i++)
            chain_recycle(queue, queue->staged[i]);
    }
    queue->staged_count = 0;
}

static void drop_map(struct ob_queue *queue)
{
    queue_map_unref(queue->map);
    queue->map = NULL;
    queue->map_stale = false;
    queue->last_range = &no_range;
}

static void finish_drain(struct ob_queue *queue)
{
    ob_poller_remove(&queue->poller);
    queue->type->queue_close(queue->ctx);
    queue->ctx = NULL;
    pool_done(&queue->pool);
    free(queue->order);
    free(queue->table_copy);
    queue->order = NULL;
    queue->table_copy = NULL;
    queue->state = QUEUE_STOPPED;
    if (queue->map_stale)
        drop_map(queue);
    queue->drained(queue);
}

static void stop_asking_for_kicks(struct ob_queue *queue)
{
    queue->kick_wanted = false;
    if (!queue->ring_lost)
        queue->format->no_kick(queue);
}

static void call_driver(struct ob_queue *queue)
{
    queue->call_owed = false;
    if (!queue->call.call)
        return;
    counter_add(&queue->counters.calls, 1);
    queue->call.call(queue->call.ctx);
}

static unsigned queue_run(struct ob_poller *poller, unsigned budget)
{
    struct ob_queue *queue = container_of(poller, struct ob_queue, poller);
    unsigned done;

    if (unlikely(load_once(queue->map->map->faulted)))
        ob_queue_break(queue, "its memory was taken away (the file behind it was truncated)");
    if (queue->kick_wanted)
        stop_asking_for_kicks(queue);
    done = queue->type->run(queue->ctx, budget);
    if (queue->staged_count)
        ob_queue_publish(queue);
    if (queue->call_owed)
        call_driver(queue);
    if (unlikely(queue->state == QUEUE_DRAINING) && !queue->pool.taken)
        finish_drain(queue);
    return done;
}

static bool queue_sleep(struct ob_poller *poller)
{
    struct ob_queue *queue = container_of(poller, struct ob_queue, poller);

    if (unlikely(load_once(queue->map->map->faulted) && !queue->broken))
        return false; /* what it saw as empty was the hole */
    if (queue->popping && !queue->blocked) {
        queue->kick_wanted = true;
        if (queue->format->ask_kick(queue))
            return false;
    }
    return !queue->type->pending || !queue->type->pending(queue->ctx);
}

static void kick_ready(struct ob_watch *watch, uint32_t events)
{
    (void)events;
    queue_kicked(container_of(watch, struct ob_queue, kick));
}

void queue_init(struct ob_queue *queue)
{
    queue->poller.run = queue_run;
    queue->poller.sleep = queue_sleep;
    queue->kick.fd = -1;
    queue->kick.events = EPOLLIN | EPOLLET;
    queue->kick.ready = kick_ready;
    queue->last_range = &no_range;
}

static int start_tables(struct ob_queue *queue)
{
    queue->table_copy = malloc(OB_CHAIN_RANGES_MAX * sizeof(*queue->table_copy));
    if (!queue->table_copy)
        return -ENOMEM;
    if (queue->setup.features & feature_bit(VIRTIO_F_IN_ORDER)) {
        queue->order = calloc(queue->pool.capacity, sizeof(*queue->order));
        if (!queue->order)
            return -ENOMEM;
    }
    queue->order_first = 0;
    queue->order_count = 0;
    return 0;
}

int queue_start(struct ob_queue *queue, const struct ob_queue_setup *setup, struct pool *pool)
{
    bool packed = setup->features & feature_bit(VIRTIO_F_RING_PACKED);
    int result;

    queue->setup = *setup;
    queue->size = setup->size;
    queue->pool = *pool;
    queue->format = packed ? ring_packed_format(setup->features)
                           : ring_split_format(setup->features);
    queue->broken = false;
    queue->ring_lost = false;
    queue->staged_count = 0;
    queue->publish_every = 1;
    result = queue->kick.fd >= 0 && !queue->kick.loop ? -ENOSPC : start_tables(queue);
    if (!result)
        result = queue->format->attach(queue);
    if (!result)
        result = queue->type->queue_open(queue->dev, queue, &queue->ctx);
    if (result < 0) {
        free(queue->order);
        free(queue->table_copy);
        queue->order = NULL;
        queue->table_copy = NULL;
        pool_done(&queue->pool);
        return result;
    }
    queue->format->restore(queue, &setup->base);
    queue->state = QUEUE_RUNNING;
    queue->popping = queue->enabled;
    queue->kick_wanted = true;
    ob_poller_add(queue->loop, &queue->poller);
    /* Whoever served this ring before may have gone between a completion and its call. */
    if (queue->call.call)
        queue->call.call(queue->call.ctx);
    return 0;
}

void queue_stop(struct ob_queue *queue)
{
    queue->popping = false;
    queue->state = QUEUE_DRAINING;
    ob_poller_wake(&queue->poller); /* which looks if there is anything to drain */
}

void queue_abandon(struct ob_queue *queue)
{
    queue_set_kick(queue, -1);
    queue_set_call(queue, (struct ob_call){0});
    queue->enabled = false;
    if (queue->state == QUEUE_STOPPED) {
        drop_map(queue);
        return;
    }
    queue->map_stale = true;
    forget_driver(queue);
    queue_stop(queue);
}

void queue_set_map(struct ob_queue *queue, struct ob_queue_map *map)
{
    queue_map_unref(queue->map);
    queue->map = map;
    queue->map_stale = false;
    queue->last_range = &no_range;
    queue->blocked = false;
    if (queue->state == QUEUE_STOPPED)
        return;
    if (!queue->ring_lost && queue->format->attach(queue) < 0) {
        ob_queue_break(queue, "its ring is not in the new memory map");
        forget_driver(queue);
    }
    ob_poller_wake(&queue->poller);
}

void queue_enable(struct ob_queue *queue, bool enable)
{
    queue->enabled = enable;
    if (queue->state != QUEUE_RUNNING)
        return;
    queue->popping = enable && !queue->broken;
    ob_poller_wake(&queue->poller);
}

void queue_set_kick(struct ob_queue *queue, int fd)
{
    ob_watch_remove(&queue->kick);
    fd_close(&queue->kick.fd);
    queue->kick.fd = fd;
    if (fd >= 0 && ob_watch_add(queue->loop, &queue->kick) < 0 && queue->state == QUEUE_RUNNING)
        ob_queue_break(queue, "its kick descriptor cannot be watched");
    /* A kick may have come by the one before; with event indices there is no other. */
    ob_poller_wake(&queue->poller);
}

void queue_set_call(struct ob_queue *queue, struct ob_call call)
{
    if (queue->call.release)
        queue->call.release(queue->call.ctx);
    queue->call = call;
    /* A call may have gone to the sink before, or to none, and with event indices the driver
     * asks but once. */
    if (queue->state != QUEUE_STOPPED && !queue->ring_lost && call.call)
        call.call(call.ctx);
}

void queue_kicked(struct ob_queue *queue)
{
    counter_add(&queue->counters.kicks, 1);
    ob_poller_wake(&queue->poller);
}

unsigned ob_queue_pop(struct ob_queue *queue, struct ob_chain **chains, unsigned max)
{
    queue->blocked = false;
    if (unlikely(!queue->popping))
        return 0;
    return queue->format->pop(queue, chains, max);
}

void ob_queue_complete(struct ob_queue *queue, struct ob_chain *chain, uint32_t written)
{
    counter_add(&queue->counters.requests, 1);
    if (unlikely(chain->generation != queue->generation)) {
        chain_recycle(queue, chain);
        return;
    }
    chain->written = written;
    chain->done = true;
    queue->staged[queue->staged_count++] = chain;
    if (queue->staged_count >= queue->publish_every)
        ob_queue_publish(queue);
}

void ob_queue_publish(struct ob_queue *queue)
{
    if (queue->format->publish(queue))
        queue->call_owed = true;
}

bool ob_queue_chain_live(const struct ob_queue *queue, const struct ob_chain *chain)
{
    return chain->generation == queue->generation;
}

void ob_queue_wake(struct ob_queue *queue)
{
    ob_poller_wake(&queue->poller);
}

unsigned ob_queue_index(const struct ob_queue *queue)
{
    return queue->index;
}

unsigned ob_queue_size(const struct ob_queue *queue)
{
    return queue->size;
}

uint64_t ob_queue_features(const struct ob_queue *queue)
{
    return queue->setup.features;
}

struct ob_loop *ob_queue_loop(const struct ob_queue *queue)
{
    return queue->loop;
}

struct ob_queue_counters *ob_queue_counters(struct ob_queue *queue)
{
    return &queue->counters;
}
