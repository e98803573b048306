/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed ring, device half (virtio 1.3, 2.8)
 *
 * One array of descriptors serves both directions. A descriptor is available if its AVAIL flag
 * equals our wrap counter and its USED flag does not; a chain takes as many slots in a row as
 * it has descriptors, and is available as a whole once its first is. We give it back by
 * overwriting the slot that is next in our own count with id and length, and then skip as many
 * slots as the chain took. The flags of the first slot of a publication are stored last, with
 * release: the driver looks at the slots in order and sees nothing of what is behind it.
 *
 * The ring is the driver's to change at any time: a descriptor is copied once and the copy
 * looked at. A chain takes at most one ring of slots. An id is never an index here: it is given
 * back as it came.
 *
 * As in ring/device_split.c each verb is one inlined body with its specialisations.
 */

#include "ring/gather.h"

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)

/* A 15-bit offset with a wrap counter above it (2.8.10). */
#define EVENT_OFFSET 0x7fffu
#define EVENT_WRAP_SHIFT 15

static int packed_attach(struct ob_queue *queue)
{
    const struct ob_queue_setup *setup = &queue->setup;
    struct ring_packed ring = queue->packed;
    struct ring_area desc = {"descriptor ring", setup->desc, sizeof(*ring.desc) * setup->size, 16,
                             OB_ACCESS_BOTH};
    struct ring_area driver = {"driver event area", setup->driver, sizeof(*ring.driver), 4,
                               OB_ACCESS_READ};
    struct ring_area device = {"device event area", setup->device, sizeof(*ring.device), 4,
                               OB_ACCESS_BOTH};
    int result = gather_ring_area(queue, &desc, &ring.desc);

    if (!result)
        result = gather_ring_area(queue, &driver, &ring.driver);
    if (!result)
        result = gather_ring_area(queue, &device, &ring.device);
    if (!result)
        queue->packed = ring;
    return result;
}

static void packed_restore(struct ob_queue *queue, const struct ob_queue_base *base)
{
    queue->packed.avail_next = base->avail_idx;
    queue->packed.avail_wrap = base->avail_wrap;
    queue->packed.used_next = base->used_idx;
    queue->packed.used_wrap = base->used_wrap;
}

static void packed_save(const struct ob_queue *queue, struct ob_queue_base *ret)
{
    *ret = (struct ob_queue_base){
        .avail_idx = queue->packed.avail_next,
        .avail_wrap = queue->packed.avail_wrap,
        .used_idx = queue->packed.used_next,
        .used_wrap = queue->packed.used_wrap,
    };
}

static always_inline void advance(uint16_t *at, bool *wrap, unsigned slots, unsigned size)
{
    unsigned next = *at + slots;

    if (next >= size) {
        next -= size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)next;
}

static always_inline bool packed_available(const struct ring_packed *ring)
{
    uint16_t flags = load_acquire(&ring->desc[ring->avail_next].flags);

    return !!(flags & FLAG_AVAIL) == ring->avail_wrap && !!(flags & FLAG_USED) != ring->avail_wrap;
}

/* Gathers an indirect table: all its descriptors, in their order (2.8.7). */
static always_inline int packed_gather_table(struct ob_queue *queue, struct ob_chain *chain,
                                             struct gathering *gathering,
                                             const struct descriptor *d)
{
    const struct vring_desc *table;
    int count = gather_table_fast(queue, gathering, d->addr, d->len, &table);

    if (unlikely(count < 0))
        return count;
    for (int i = 0; i < count; i++) {
        struct descriptor entry = descriptor_load(&table[i]);
        uint16_t flags = entry.word[PACKED_FLAGS];
        int result;

        if (unlikely(flags & VRING_DESC_F_INDIRECT))
            return queue_bad(queue, "entry %d of an indirect table is indirect", i);
        result = gather_range(queue, chain, gathering, entry.addr, entry.len,
                              flags & VRING_DESC_F_WRITE);
        if (unlikely(result < 0))
            return result;
    }
    return 0;
}

/* Gathers the chain at avail_next, whose first descriptor is available. */
static always_inline int packed_gather(struct ob_queue *queue, struct ob_chain *chain,
                                       struct gathering *gathering, uint16_t *ret_id,
                                       unsigned *ret_slots)
{
    const struct ring_packed *ring = &queue->packed;
    unsigned at = ring->avail_next, slots = 0;
    struct descriptor d;
    uint16_t flags;

    do {
        int result;

        if (unlikely(slots == queue->size))
            return queue_bad(queue, "a chain is longer than its ring of %u", queue->size);
        d = descriptor_load(&ring->desc[at]);
        flags = d.word[PACKED_FLAGS];
        if (flags & VRING_DESC_F_INDIRECT) {
            if (unlikely(slots || flags & VRING_DESC_F_NEXT))
                return queue_bad(queue, "descriptor %u is indirect and part of a longer chain", at);
            result = packed_gather_table(queue, chain, gathering, &d);
        } else {
            result = gather_range(queue, chain, gathering, d.addr, d.len,
                                  flags & VRING_DESC_F_WRITE);
        }
        if (unlikely(result < 0))
            return result;
        slots++;
        if (++at == queue->size)
            at = 0;
    } while (flags & VRING_DESC_F_NEXT);
    if (unlikely(gathering->bytes > UINT32_MAX))
        return queue_bad(queue, "a chain has more than 2^32 bytes");
    *ret_slots = slots;
    *ret_id = d.word[PACKED_ID];
    return 0;
}

static unsigned packed_pop(struct ob_queue *queue, struct ob_chain **chains, unsigned max)
{
    struct ring_packed *ring = &queue->packed;
    unsigned done = 0;

    while (done < max && packed_available(ring)) {
        struct gathering gathering;
        struct ob_chain *chain = gather_begin(queue, &gathering);
        unsigned slots = 0;
        uint16_t id = 0;

        if (unlikely(!chain)) {
            queue->blocked = true;
            break;
        }
        if (unlikely(packed_gather(queue, chain, &gathering, &id, &slots) < 0)) {
            queue->blocked = true;
            pool_put(&queue->pool, chain);
            break;
        }
        gather_end(queue, chain, &gathering, id, slots);
        advance(&ring->avail_next, &ring->avail_wrap, slots, queue->size);
        chains[done++] = chain;
    }
    if (done)
        prefetch_write(&ring->desc[ring->used_next]);
    /* What the driver has made available beyond these is not known: as many again. */
    if (done)
        set_publish_interval(queue, 2 * queue->pool.taken);
    return done;
}

/* Where a publication began. */
struct packed_first {
    struct vring_packed_desc *desc; /* NULL: nothing so far */
    uint16_t flags;
    unsigned slots; /* of all chains in it */
};

static always_inline void packed_put_used(struct ob_queue *queue, const struct ob_chain *chain,
                                          struct packed_first *first)
{
    struct ring_packed *ring = &queue->packed;
    struct vring_packed_desc *desc = &ring->desc[ring->used_next];
    uint16_t flags = (uint16_t)((ring->used_wrap ? FLAG_AVAIL | FLAG_USED : 0) |
                                (chain->written ? VRING_DESC_F_WRITE : 0));

    store_once(&desc->len, chain->written);
    store_once(&desc->id, chain->id);
    if (first->desc) {
        store_once(&desc->flags, flags);
    } else {
        first->desc = desc;
        first->flags = flags;
    }
    first->slots += chain->slots;
    advance(&ring->used_next, &ring->used_wrap, chain->slots, queue->size);
}

static always_inline bool packed_wants_call(const struct ob_queue *queue, unsigned slots,
                                            bool event_idx)
{
    const struct ring_packed *ring = &queue->packed;
    uint16_t flags = load_acquire(&ring->driver->flags), off_wrap, event;

    if (!event_idx || flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    off_wrap = load_once(&ring->driver->off_wrap);
    event = off_wrap & EVENT_OFFSET;
    if (off_wrap >> EVENT_WRAP_SHIFT != ring->used_wrap)
        event = (uint16_t)(event - queue->size);
    return vring_need_event(event, ring->used_next, (uint16_t)(ring->used_next - slots));
}

static always_inline bool packed_publish_body(struct ob_queue *queue, bool event_idx,
                                              bool in_order)
{
    struct packed_first first = {0};

    if (in_order) {
        struct ob_chain *chain;

        while ((chain = queue_take_in_order(queue))) {
            packed_put_used(queue, chain, &first);
            chain_recycle(queue, chain);
        }
    } else {
        for (unsigned i = 0; i < queue->staged_count; i++) {
            packed_put_used(queue, queue->staged[i], &first);
            chain_recycle(queue, queue->staged[i]);
        }
    }
    queue->staged_count = 0;
    if (!first.desc)
        return false;
    store_release(&first.desc->flags, first.flags);
    /* The driver writes its wish, fences, and looks at the ring; we do the opposite. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return packed_wants_call(queue, first.slots, event_idx);
}

static void set_device_event(struct ob_queue *queue, uint16_t off_wrap, uint16_t flags)
{
    store_once(&queue->packed.device->off_wrap, off_wrap);
    store_release(&queue->packed.device->flags, flags);
}

static bool packed_ask_kick_flags(struct ob_queue *queue)
{
    set_device_event(queue, 0, VRING_PACKED_EVENT_FLAG_ENABLE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return packed_available(&queue->packed);
}

static bool packed_ask_kick_event(struct ob_queue *queue)
{
    const struct ring_packed *ring = &queue->packed;

    set_device_event(queue,
                     (uint16_t)(ring->avail_next | ring->avail_wrap << EVENT_WRAP_SHIFT),
                     VRING_PACKED_EVENT_FLAG_DESC);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return packed_available(ring);
}

static void packed_no_kick(struct ob_queue *queue)
{
    store_once(&queue->packed.device->flags, (uint16_t)VRING_PACKED_EVENT_FLAG_DISABLE);
}

static bool packed_publish_flags(struct ob_queue *queue)
{
    return packed_publish_body(queue, false, false);
}

static bool packed_publish_event(struct ob_queue *queue)
{
    return packed_publish_body(queue, true, false);
}

static bool packed_publish_flags_in_order(struct ob_queue *queue)
{
    return packed_publish_body(queue, false, true);
}

static bool packed_publish_event_in_order(struct ob_queue *queue)
{
    return packed_publish_body(queue, true, true);
}

#define PACKED_FORMAT(publish_fn, ask_kick_fn)                                                   \
    {                                                                                            \
        .attach = packed_attach, .restore = packed_restore, .save = packed_save,                 \
        .pop = packed_pop, .publish = publish_fn, .ask_kick = ask_kick_fn,                       \
        .no_kick = packed_no_kick,                                                               \
    }

/* By [IN_ORDER][EVENT_IDX]. */
static const struct ring_format formats[2][2] = {
    {PACKED_FORMAT(packed_publish_flags, packed_ask_kick_flags),
     PACKED_FORMAT(packed_publish_event, packed_ask_kick_event)},
    {PACKED_FORMAT(packed_publish_flags_in_order, packed_ask_kick_flags),
     PACKED_FORMAT(packed_publish_event_in_order, packed_ask_kick_event)},
};

const struct ring_format *ring_packed_format(uint64_t features)
{
    return &formats[!!(features & feature_bit(VIRTIO_F_IN_ORDER))]
                   [!!(features & feature_bit(VIRTIO_RING_F_EVENT_IDX))];
}
