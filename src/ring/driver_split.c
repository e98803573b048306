/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split ring, driver half (virtio 1.3, 2.7)
 *
 * Free descriptors form a list in our own memory, which also serves as the chain of those that
 * are out; a buffer's id is the index of its first descriptor.
 */

#include "ring/driver_impl.h"

static int split_add(struct ring_driver *driver, const struct ring_range *ranges, unsigned n_out,
                     unsigned n_in, uint64_t token)
{
    struct driver_split *ring = &driver->split;
    unsigned count = n_out + n_in;
    uint16_t head = driver->free_head, at = head;
    uint16_t slots = 1;

    if (driver_use_table(driver, count)) {
        ring->desc[head] = (struct vring_desc){
            .addr = driver_fill_table(driver, head, ranges, n_out, n_in),
            .len = (uint32_t)(count * sizeof(struct vring_desc)),
            .flags = VRING_DESC_F_INDIRECT,
        };
    } else {
        slots = (uint16_t)count;
        for (unsigned i = 0; i < count; i++) {
            bool last = i + 1 == count;

            if (i)
                at = driver->buffers[at].next;
            ring->desc[at] = (struct vring_desc){
                .addr = ranges[i].addr,
                .len = ranges[i].len,
                .flags = (uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
                                    (last ? 0 : VRING_DESC_F_NEXT)),
                .next = last ? 0 : driver->buffers[at].next,
            };
        }
    }
    driver->free_head = driver->buffers[at].next;
    driver_note(driver, head, ranges, n_out, n_in, slots, token);
    store_once(&ring->avail->ring[ring->avail_next++ & (driver->size - 1)], head);
    return 0;
}

static bool split_publish(struct ring_driver *driver)
{
    struct driver_split *ring = &driver->split;
    uint16_t before = ring->avail_published, event;

    if (before == ring->avail_next)
        return false;
    store_release(&ring->avail->idx, ring->avail_next);
    ring->avail_published = ring->avail_next;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!driver->event_idx)
        return !(load_once(&ring->used->flags) & VRING_USED_F_NO_NOTIFY);
    event = load_once((uint16_t *)&ring->used->ring[driver->size]);
    return vring_need_event(event, ring->avail_next, before);
}

static bool split_peek(const struct ring_driver *driver)
{
    return load_acquire(&driver->split.used->idx) != driver->split.used_next;
}

static void split_next(struct ring_driver *driver, uint32_t *ret_id, uint32_t *ret_len)
{
    struct driver_split *ring = &driver->split;
    const struct vring_used_elem *used = &ring->used->ring[ring->used_next++ & (driver->size - 1)];

    *ret_id = load_once(&used->id);
    *ret_len = load_once(&used->len);
}

static void split_release(struct ring_driver *driver, uint16_t id)
{
    uint16_t last = id;

    for (unsigned i = 1; i < driver->buffers[id].slots; i++)
        last = driver->buffers[last].next;
    if (!driver->in_order) {
        driver->buffers[last].next = driver->free_head;
        driver->free_head = id;
        return;
    }
    /* Descriptors go round the table in its order (2.7): those used first are taken first. */
    if (driver->free_slots)
        driver->buffers[driver->free_tail].next = id;
    else
        driver->free_head = id;
    driver->free_tail = last;
}

static bool split_ask_call(struct ring_driver *driver)
{
    struct driver_split *ring = &driver->split;

    if (driver->event_idx)
        store_once(&ring->avail->ring[driver->size], ring->used_next);
    else
        store_once(&ring->avail->flags, (uint16_t)0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return split_peek(driver);
}

static void split_no_call(struct ring_driver *driver)
{
    if (!driver->event_idx)
        store_once(&driver->split.avail->flags, (uint16_t)VRING_AVAIL_F_NO_INTERRUPT);
}

const struct driver_format driver_split_format = {
    .add = split_add,
    .publish = split_publish,
    .peek = split_peek,
    .next = split_next,
    .release = split_release,
    .ask_call = split_ask_call,
    .no_call = split_no_call,
};
