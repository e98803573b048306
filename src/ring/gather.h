/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_GATHER_H
#define RING_GATHER_H

/*
 * Turning descriptors into a chain's ranges, for both ring formats.
 *
 * A descriptor is copied out of shared memory once, with two loads that the compiler can
 * neither repeat nor split, and only the copy is looked at: the driver may rewrite the original
 * at any time.
 */

#include "ring/queue.h"

#include <errno.h>

/* Both formats' descriptors are 16 bytes: an address, and a length with two 16-bit words. */
struct descriptor {
    uint64_t addr;
    uint32_t len;
    uint16_t word[2]; /* split: flags, next; packed: id, flags */
};

_Static_assert(sizeof(struct descriptor) == sizeof(struct vring_desc), "split layout");
_Static_assert(sizeof(struct descriptor) == sizeof(struct vring_packed_desc), "packed layout");

#define SPLIT_FLAGS 0
#define SPLIT_NEXT 1
#define PACKED_ID 0
#define PACKED_FLAGS 1

/* Indirect tables may begin anywhere. */
typedef uint64_t __attribute__((aligned(1), may_alias)) unaligned_u64;

static always_inline struct descriptor descriptor_load(const void *from)
{
    const volatile unaligned_u64 *source = from;
    union {
        uint64_t half[2];
        struct descriptor descriptor;
    } copy;

    copy.half[0] = source[0];
    copy.half[1] = source[1];
    return copy.descriptor;
}

/*
 * A chain while it is gathered. It lives in registers: what is called for the rare cases gets a
 * copy, so that its address is never taken on the way that all take.
 */
struct gathering {
    const struct map_range *range; /* of the last address */
    unsigned count, n_out;         /* ranges; they lie in the request while they fit there */
    uint64_t bytes;
};

/* Takes a request for a chain to be gathered. NULL when all are out. */
static always_inline struct ob_chain *gather_begin(struct ob_queue *queue, struct gathering *ret)
{
    struct ob_chain *chain = pool_get(&queue->pool);

    if (unlikely(!chain))
        return NULL;
    *ret = (struct gathering){.range = queue->last_range};
    return chain;
}

/* The chain is whole: it holds its map from now on. */
static always_inline void gather_end(struct ob_queue *queue, struct ob_chain *chain,
                                     const struct gathering *gathering, uint16_t id,
                                     unsigned slots)
{
    chain->iov = chain->iov_inline;
    chain->guest = chain->guest_inline;
    if (unlikely(gathering->count > OB_CHAIN_RANGES_INLINE))
        pool_table(&queue->pool, chain, &chain->iov, &chain->guest);
    chain->n_out = (uint16_t)gathering->n_out;
    chain->n_in = (uint16_t)(gathering->count - gathering->n_out);
    chain->id = id;
    chain->slots = (uint16_t)slots;
    chain->generation = queue->generation;
    chain->map = queue->map;
    chain->done = false;
    queue->last_range = gathering->range;
    queue->map->refs++;
    if (queue->order) {
        unsigned at = queue->order_first + queue->order_count++;

        queue->order[at < queue->pool.capacity ? at : at - queue->pool.capacity] = chain;
    }
}

/* The slow way of gather_range(): another region, several, or a table. */
int gather_range_slow(struct ob_queue *queue, struct ob_chain *chain, struct gathering *gathering,
                      uint64_t addr, uint32_t len, bool write);

/*
 * Appends the range of one descriptor to a chain.
 * Returns 0, -EAGAIN (address not known yet), or -EPROTO (the queue broke).
 */
static always_inline int gather_range(struct ob_queue *queue, struct ob_chain *chain,
                                      struct gathering *gathering, uint64_t addr, uint32_t len,
                                      bool write)
{
    const struct map_range *range = gathering->range;
    unsigned count = gathering->count;
    uint64_t offset = addr - range->driver_addr;

    gathering->bytes += len;
    if (unlikely(count >= OB_CHAIN_RANGES_INLINE || !len || (!write && count != gathering->n_out) ||
                 offset >= range->size || len > range->size - offset ||
                 range->access != OB_ACCESS_BOTH)) {
        struct gathering copy = *gathering;
        int result = gather_range_slow(queue, chain, &copy, addr, len, write);

        *gathering = copy;
        return result;
    }
    chain->iov_inline[count].iov_base = range->host + offset;
    chain->iov_inline[count].iov_len = len;
    chain->guest_inline[count] = addr;
    gathering->count = count + 1;
    gathering->n_out += !write;
    return 0;
}

/*
 * Finds an indirect table: in place, or copied if it crosses regions.
 * Returns the number of its descriptors, -EAGAIN, or -EPROTO.
 */
int gather_table(struct ob_queue *queue, uint64_t addr, uint32_t len,
                 const struct vring_desc **ret);

/* The same, where table and last region are one. */
static always_inline int gather_table_fast(struct ob_queue *queue,
                                           const struct gathering *gathering, uint64_t addr,
                                           uint32_t len, const struct vring_desc **ret)
{
    const struct map_range *range = gathering->range;

    if (unlikely(!len || len % sizeof(**ret) || len > OB_CHAIN_RANGES_MAX * sizeof(**ret) ||
                 !map_range_holds(range, addr, len, OB_ACCESS_READ)))
        return gather_table(queue, addr, len, ret);
    *ret = (const struct vring_desc *)(range->host + (addr - range->driver_addr));
    return (int)(len / sizeof(**ret));
}

/* One of the three areas of a ring. */
struct ring_area {
    const char *name;
    uint64_t addr, len;
    unsigned align; /* for us, too: a region may shift addresses */
    enum ob_access access;
};

/* Translates it; it has to be contiguous for us, too. 0, -EFAULT or -EAGAIN. */
int gather_ring_area(const struct ob_queue *queue, const struct ring_area *area, void *ret_ptr);

/* What remains to be done with a chain that was published or dropped. */
static always_inline void chain_recycle(struct ob_queue *queue, struct ob_chain *chain)
{
    struct ob_queue_map *map = chain->map;

    if (unlikely(map->refs == 1))
        queue_map_unref(map);
    else
        map->refs--;
    pool_put(&queue->pool, chain);
}

/* IN_ORDER: the oldest chain that is out, taken off the list, if it is completed; else NULL. */
static always_inline struct ob_chain *queue_take_in_order(struct ob_queue *queue)
{
    struct ob_chain *chain = queue->order[queue->order_first];

    if (!queue->order_count || !chain->done)
        return NULL;
    queue->order_count--;
    if (++queue->order_first == queue->pool.capacity)
        queue->order_first = 0;
    return chain;
}

/*
 * Sets how many completions make a publication: a quarter of what the driver has out. Publishing
 * each costs a cache line transfer each; publishing all at once makes both sides wait for one
 * another.
 */
static always_inline void set_publish_interval(struct ob_queue *queue, unsigned backlog)
{
    unsigned quarter = backlog / 4;

    queue->publish_every = (uint8_t)(quarter < 1 ? 1 : quarter > 32 ? 32 : quarter);
}

#endif
