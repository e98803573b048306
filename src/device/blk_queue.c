/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue of the block device, on its worker: chains come from the ring in bursts, go to the
 * store, and leave as the store finishes them, in any order.
 *
 * Work is counted in requests and in bytes, since a store may copy them right here: neighbours on
 * the worker wait for as long as a budget lasts.
 *
 * One call of run() fetches what is finished, takes new chains, has the store push what they
 * made it gather (one system call a burst), and fetches once more, as what is in a cache is
 * finished by then.
 */

#include "device/blk.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>

static void store_wakes(void *ctx)
{
    struct blk_queue *queue = ctx;

    ob_queue_wake(queue->queue);
}

int blk_queue_open(void *dev, struct ob_queue *queue, void **ret)
{
    struct blk *blk = dev;
    struct blk_queue *new = calloc(1, sizeof(*new));

    if (!new)
        return -ENOMEM;
    *new = (struct blk_queue){
        .blk = blk,
        .queue = queue,
        .ops = blk->store->ops,
        .counters = ob_queue_counters(queue),
        .burst = BLK_BURST,
    };
    struct store_queue_options options = {
        .loop = ob_queue_loop(queue),
        .depth = (unsigned)min_u64(ob_queue_size(queue), OB_QUEUE_INFLIGHT_MAX),
        .wake = store_wakes,
        .ctx = new,
        .log = blk->log,
    };
    int error = new->ops->queue_open(blk->store, &options, &new->store);
    if (error) {
        free(new);
        return error;
    }
    *ret = new;
    return 0;
}

static unsigned reap(struct blk_queue *queue, unsigned budget)
{
    struct store_io *ios[BLK_BURST];
    unsigned done = 0;

    if (!queue->ops->reap)
        return 0;
    while (done < budget) {
        unsigned max = (unsigned)min_u64(BLK_BURST, budget - done);
        unsigned n = queue->ops->reap(queue->store, ios, max);
        for (unsigned i = 0; i < n; i++)
            blk_request_continue(queue, container_of(ios[i], struct blk_request, io));
        done += n;
        if (n < max)
            break;
    }
    return done;
}

/* Headers and statuses come from the driver's cache. Asking for those of a whole burst at once
 * overlaps their ways; drivers keep both in one line, which is asked for to be written. */
static always_inline void fetch_ahead(struct ob_chain *const *chains, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct ob_chain *chain = chains[i];
        const struct iovec *last = &chain->iov[chain->n_out + chain->n_in - 1];

        prefetch_write(last->iov_base);
        __builtin_prefetch(chain->iov->iov_base);
    }
}

static unsigned pop(struct blk_queue *queue, unsigned budget)
{
    struct ob_chain *chains[BLK_BURST];
    unsigned done = 0;

    while (done < budget) {
        unsigned max = (unsigned)min_u64(queue->burst, budget - done);
        unsigned n = ob_queue_pop(queue->queue, chains, max);
        uint64_t before = queue->bytes;
        unsigned units;

        fetch_ahead(chains, n);
        for (unsigned i = 0; i < n; i++)
            blk_request_start(queue, container_of(chains[i], struct blk_request, chain));
        units = (unsigned)((queue->bytes - before) / BLK_BYTES_A_UNIT);
        queue->burst = units > n ? 1 : BLK_BURST;
        done += n + units;
        if (n < max)
            break;
    }
    return done;
}

unsigned blk_queue_run(void *ctx, unsigned budget)
{
    struct blk_queue *queue = ctx;
    unsigned done = reap(queue, budget);

    if (done < budget)
        done += pop(queue, budget - done);
    if (queue->ops->push)
        queue->ops->push(queue->store);
    if (done < budget)
        done += reap(queue, budget - done);
    return done;
}

bool blk_queue_pending(void *ctx)
{
    const struct blk_queue *queue = ctx;

    return queue->ops->pending && queue->ops->pending(queue->store);
}

void blk_queue_close(void *ctx)
{
    struct blk_queue *queue = ctx;

    if (queue->ops->queue_close)
        queue->ops->queue_close(queue->store);
    free(queue);
}
