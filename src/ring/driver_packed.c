/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed ring, driver half (virtio 1.3, 2.8)
 *
 * A buffer takes slots in a row and an id of the free list. The flags of the first slot of all
 * that is unpublished are stored last, with release. A used entry tells the id; the count of
 * slots to skip is our own.
 */

#include "ring/driver_impl.h"

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)

static void advance(uint16_t *at, bool *wrap, unsigned slots, uint32_t size)
{
    unsigned next = *at + slots;

    if (next >= size) {
        next -= size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)next;
}

static void put(struct ring_driver *driver, uint64_t addr, uint32_t len, uint16_t id,
                uint16_t flags)
{
    struct driver_packed *ring = &driver->packed;
    struct vring_packed_desc *desc = &ring->desc[ring->avail_next];

    flags |= ring->avail_wrap ? FLAG_AVAIL : FLAG_USED;
    desc->addr = addr;
    desc->len = len;
    desc->id = id;
    if (ring->first) {
        store_once(&desc->flags, flags);
    } else {
        ring->first = desc;
        ring->first_flags = flags;
    }
    ring->unpublished++;
    advance(&ring->avail_next, &ring->avail_wrap, 1, driver->size);
}

static int packed_add(struct ring_driver *driver, const struct ring_range *ranges, unsigned n_out,
                      unsigned n_in, uint64_t token)
{
    unsigned count = n_out + n_in;
    uint16_t id = driver->free_head, slots = 1;

    driver->free_head = driver->buffers[id].next;
    if (driver_use_table(driver, count)) {
        put(driver, driver_fill_table(driver, id, ranges, n_out, n_in),
            (uint32_t)(count * sizeof(struct vring_packed_desc)), id, VRING_DESC_F_INDIRECT);
    } else {
        slots = (uint16_t)count;
        for (unsigned i = 0; i < count; i++)
            put(driver, ranges[i].addr, ranges[i].len, id,
                (uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
                           (i + 1 < count ? VRING_DESC_F_NEXT : 0)));
    }
    driver_note(driver, id, ranges, n_out, n_in, slots, token);
    return 0;
}

static bool packed_publish(struct ring_driver *driver)
{
    struct driver_packed *ring = &driver->packed;
    uint16_t slots = ring->unpublished, flags, off_wrap, event;

    if (!slots)
        return false;
    store_release(&ring->first->flags, ring->first_flags);
    ring->first = NULL;
    ring->unpublished = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    flags = load_acquire(&ring->device->flags);
    if (!driver->event_idx || flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    off_wrap = load_once(&ring->device->off_wrap);
    event = off_wrap & 0x7fff;
    if (off_wrap >> 15 != ring->avail_wrap)
        event = (uint16_t)(event - driver->size);
    return vring_need_event(event, ring->avail_next, (uint16_t)(ring->avail_next - slots));
}

static bool packed_peek(const struct ring_driver *driver)
{
    const struct driver_packed *ring = &driver->packed;
    uint16_t flags = load_acquire(&ring->desc[ring->used_next].flags);

    return !!(flags & FLAG_AVAIL) == ring->used_wrap && !!(flags & FLAG_USED) == ring->used_wrap;
}

static void packed_next(struct ring_driver *driver, uint32_t *ret_id, uint32_t *ret_len)
{
    const struct vring_packed_desc *desc = &driver->packed.desc[driver->packed.used_next];

    *ret_id = load_once(&desc->id);
    *ret_len = load_once(&desc->len);
}

static void packed_release(struct ring_driver *driver, uint16_t id)
{
    struct driver_packed *ring = &driver->packed;

    advance(&ring->used_next, &ring->used_wrap, driver->buffers[id].slots, driver->size);
    driver->buffers[id].next = driver->free_head;
    driver->free_head = id;
}

static bool packed_ask_call(struct ring_driver *driver)
{
    struct driver_packed *ring = &driver->packed;
    uint16_t flags = VRING_PACKED_EVENT_FLAG_ENABLE;

    if (driver->event_idx) {
        store_once(&ring->driver->off_wrap, (uint16_t)(ring->used_next | ring->used_wrap << 15));
        flags = VRING_PACKED_EVENT_FLAG_DESC;
    }
    store_release(&ring->driver->flags, flags);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return packed_peek(driver);
}

static void packed_no_call(struct ring_driver *driver)
{
    store_once(&driver->packed.driver->flags, (uint16_t)VRING_PACKED_EVENT_FLAG_DISABLE);
}

const struct driver_format driver_packed_format = {
    .add = packed_add,
    .publish = packed_publish,
    .peek = packed_peek,
    .next = packed_next,
    .release = packed_release,
    .ask_call = packed_ask_call,
    .no_call = packed_no_call,
};
