/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The null store: reads succeed without touching the data, writes are dropped. It shows what
 * everything around a store costs. Nothing is per queue and nothing changes after open(), so
 * one context serves all queues.
 */

#include "device/store.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>

struct null {
    struct store store;
    struct store_queue queue;
};

static int null_open(const struct store_options *options, struct store **ret)
{
    uint64_t capacity;
    int error = store_parse_capacity(options, store_null.name, &capacity);

    if (error)
        return error;
    struct null *null = calloc(1, sizeof(*null));
    if (!null)
        return -ENOMEM;
    null->store.ops = &store_null;
    null->store.info = (struct store_info){
        .capacity = capacity,
        .block_size = STORE_BLOCK_MIN,
        .physical_block_size = STORE_BLOCK_MIN,
        .discard_granularity = STORE_BLOCK_MIN,
        .range_max = 1u << 31,
        .read_only = options->read_only,
        .discard = !options->read_only,
        .zero_unmaps = !options->read_only,
    };
    null->queue.store = &null->store;
    *ret = &null->store;
    return 0;
}

static int null_close(struct store *store)
{
    free(container_of(store, struct null, store));
    return 0;
}

static int null_queue_open(struct store *store, const struct store_queue_options *options,
                           struct store_queue **ret)
{
    *ret = &container_of(store, struct null, store)->queue;
    return 0;
}

static enum store_submit null_submit(struct store_queue *queue, struct store_io *io)
{
    io->result = 0;
    return STORE_DONE;
}

const struct store_ops store_null = {
    .size = sizeof(struct store_ops),
    .name = "null",
    .address = "SIZE",
    .help = "a disk that forgets everything, to measure the rest",
    .open = null_open,
    .close = null_close,
    .queue_open = null_queue_open,
    .submit = null_submit,
};
