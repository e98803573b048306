/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split ring, device half (virtio 1.3, 2.7)
 *
 * The driver writes descriptors, then heads into the available ring, then its index; we read
 * them in the opposite order, the index with acquire. Used elements are written with plain
 * stores and become visible when the used index is stored with release.
 *
 * All three areas are the driver's to change at any time. The available index is read only when
 * all that it showed before is popped, and may be at most one ring ahead; heads and `next` are
 * checked against the table that they index; a chain that loops ends at the most ranges that one
 * may have. What fails breaks the queue.
 *
 * Each verb is one inlined body; the tables at the end hold its specialisations for the
 * features that change it: EVENT_IDX for notifications, IN_ORDER for publication. INDIRECT is a
 * flag in the descriptor, so it needs none; a table from a driver that never accepted the
 * feature is taken too, as one in the field does that.
 */

#include "ring/gather.h"

static int split_attach(struct ob_queue *queue)
{
    const struct ob_queue_setup *setup = &queue->setup;
    struct ring_split ring = queue->split;
    uint64_t event = setup->features & feature_bit(VIRTIO_RING_F_EVENT_IDX) ? 2 : 0;
    struct ring_area desc = {"descriptor table", setup->desc, sizeof(*ring.desc) * setup->size,
                             16, OB_ACCESS_READ};
    struct ring_area avail = {"available ring", setup->driver,
                              SPLIT_AVAIL_HEADER + 2ull * setup->size + event, 2, OB_ACCESS_READ};
    struct ring_area used = {"used ring", setup->device,
                             SPLIT_USED_HEADER + 8ull * setup->size + event, 4, OB_ACCESS_BOTH};
    int result = gather_ring_area(queue, &desc, &ring.desc);

    if (!result)
        result = gather_ring_area(queue, &avail, &ring.avail);
    if (!result)
        result = gather_ring_area(queue, &used, &ring.used);
    if (!result)
        queue->split = ring;
    return result;
}

static void split_restore(struct ob_queue *queue, const struct ob_queue_base *base)
{
    struct ring_split *ring = &queue->split;

    ring->mask = (uint16_t)(queue->size - 1);
    ring->avail_next = base->avail_idx;
    ring->avail_seen = base->avail_idx;
    ring->used_next = load_once(&ring->used->idx);
}

static void split_save(const struct ob_queue *queue, struct ob_queue_base *ret)
{
    *ret = (struct ob_queue_base){
        .avail_idx = queue->split.avail_next,
        .used_idx = queue->split.used_next,
    };
}

/* Number of heads to pop, or 0; reads the driver's index if none is left. */
static always_inline uint16_t split_available(struct ob_queue *queue)
{
    struct ring_split *ring = &queue->split;
    uint16_t count = (uint16_t)(ring->avail_seen - ring->avail_next);

    if (count)
        return count;
    ring->avail_seen = load_acquire(&ring->avail->idx);
    count = (uint16_t)(ring->avail_seen - ring->avail_next);
    if (unlikely(count > queue->size)) {
        queue_bad(queue, "the available index went from %u to %u in a ring of %u",
                  ring->avail_next, ring->avail_seen, queue->size);
        return 0;
    }
    return count;
}

/* Gathers the chain at head. 0, -EAGAIN or -EPROTO. */
static always_inline int split_gather(struct ob_queue *queue, struct ob_chain *chain,
                                      struct gathering *gathering, uint16_t head)
{
    const struct vring_desc *table = queue->split.desc;
    unsigned count = queue->size, at = head;
    bool indirect = false;

    for (;;) {
        struct descriptor d = descriptor_load(&table[at]);
        uint16_t flags = d.word[SPLIT_FLAGS];
        int result;

        if (flags & VRING_DESC_F_INDIRECT) {
            if (unlikely(indirect || flags & VRING_DESC_F_NEXT))
                return queue_bad(queue, "descriptor %u is indirect and %s", at,
                                 indirect ? "in an indirect table" : "has a next one");
            result = gather_table_fast(queue, gathering, d.addr, d.len, &table);
            if (unlikely(result < 0))
                return result;
            indirect = true;
            count = (unsigned)result;
            at = 0;
            continue;
        }
        result = gather_range(queue, chain, gathering, d.addr, d.len, flags & VRING_DESC_F_WRITE);
        if (unlikely(result < 0))
            return result;
        if (!(flags & VRING_DESC_F_NEXT))
            break;
        at = d.word[SPLIT_NEXT];
        if (unlikely(at >= count))
            return queue_bad(queue, "next descriptor %u of a table of %u", at, count);
    }
    if (unlikely(gathering->bytes > UINT32_MAX))
        return queue_bad(queue, "a chain has more than 2^32 bytes");
    return 0;
}

static unsigned split_pop(struct ob_queue *queue, struct ob_chain **chains, unsigned max)
{
    struct ring_split *ring = &queue->split;
    unsigned count = split_available(queue), done = 0;

    if (count > max)
        count = max;
    if (count) {
        /* The driver has these lines; they come while we look at the chains. */
        prefetch_write(&ring->used->ring[ring->used_next & ring->mask]);
        prefetch_write(&ring->used->idx);
    }
    while (done < count) {
        uint16_t head = load_once(&ring->avail->ring[ring->avail_next & ring->mask]);
        struct gathering gathering;
        struct ob_chain *chain;

        if (unlikely(head >= queue->size)) {
            queue_bad(queue, "head %u in a ring of %u", head, queue->size);
            break;
        }
        chain = gather_begin(queue, &gathering);
        if (unlikely(!chain)) {
            queue->blocked = true;
            break;
        }
        if (unlikely(split_gather(queue, chain, &gathering, head) < 0)) {
            queue->blocked = true;
            pool_put(&queue->pool, chain);
            break;
        }
        gather_end(queue, chain, &gathering, head, 1);
        ring->avail_next++;
        chains[done++] = chain;
    }
    if (done)
        set_publish_interval(queue, (uint16_t)(ring->avail_seen - ring->used_next));
    return done;
}

static always_inline void split_put_used(struct ring_split *ring, const struct ob_chain *chain)
{
    struct vring_used_elem *used = &ring->used->ring[ring->used_next++ & ring->mask];

    store_once(&used->id, chain->id);
    store_once(&used->len, chain->written);
}

static always_inline bool split_publish_body(struct ob_queue *queue, bool event_idx, bool in_order)
{
    struct ring_split *ring = &queue->split;
    uint16_t before = ring->used_next, event;

    if (in_order) {
        struct ob_chain *chain;

        while ((chain = queue_take_in_order(queue))) {
            split_put_used(ring, chain);
            chain_recycle(queue, chain);
        }
    } else {
        for (unsigned i = 0; i < queue->staged_count; i++) {
            split_put_used(ring, queue->staged[i]);
            chain_recycle(queue, queue->staged[i]);
        }
    }
    queue->staged_count = 0;
    if (ring->used_next == before)
        return false;
    store_release(&ring->used->idx, ring->used_next);
    /* The driver writes its wish, fences, and looks at the index; we do the opposite. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!event_idx)
        return !(load_once(&ring->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
    event = load_once(&ring->avail->ring[queue->size]);
    return vring_need_event(event, ring->used_next, before);
}

static uint16_t *split_avail_event(struct ob_queue *queue)
{
    return (uint16_t *)&queue->split.used->ring[queue->size];
}

static bool split_ask_kick_flags(struct ob_queue *queue)
{
    store_once(&queue->split.used->flags, (uint16_t)0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_once(&queue->split.avail->idx) != queue->split.avail_next;
}

static bool split_ask_kick_event(struct ob_queue *queue)
{
    store_once(split_avail_event(queue), queue->split.avail_next);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load_once(&queue->split.avail->idx) != queue->split.avail_next;
}

static void split_no_kick_flags(struct ob_queue *queue)
{
    store_once(&queue->split.used->flags, (uint16_t)VRING_USED_F_NO_NOTIFY);
}

static void split_no_kick_event(struct ob_queue *queue)
{
    (void)queue; /* an event index that is behind asks for nothing */
}

static bool split_publish_flags(struct ob_queue *queue)
{
    return split_publish_body(queue, false, false);
}

static bool split_publish_event(struct ob_queue *queue)
{
    return split_publish_body(queue, true, false);
}

static bool split_publish_flags_in_order(struct ob_queue *queue)
{
    return split_publish_body(queue, false, true);
}

static bool split_publish_event_in_order(struct ob_queue *queue)
{
    return split_publish_body(queue, true, true);
}

#define SPLIT_FORMAT(publish_fn, kick)                                                           \
    {                                                                                            \
        .attach = split_attach, .restore = split_restore, .save = split_save, .pop = split_pop,  \
        .publish = publish_fn, .ask_kick = split_ask_kick_##kick,                                \
        .no_kick = split_no_kick_##kick,                                                         \
    }

/* By [IN_ORDER][EVENT_IDX]. */
static const struct ring_format formats[2][2] = {
    {SPLIT_FORMAT(split_publish_flags, flags), SPLIT_FORMAT(split_publish_event, event)},
    {SPLIT_FORMAT(split_publish_flags_in_order, flags),
     SPLIT_FORMAT(split_publish_event_in_order, event)},
};

const struct ring_format *ring_split_format(uint64_t features)
{
    return &formats[!!(features & feature_bit(VIRTIO_F_IN_ORDER))]
                   [!!(features & feature_bit(VIRTIO_RING_F_EVENT_IDX))];
}
