/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prepared requests in a split ring (virtio 1.3, 2.7)
 *
 * Request r owns descriptor r (with a table) or descriptors r * ranges_max and on (without), so
 * the head that goes into the available ring, and that comes back, says which it is. The index
 * is published every quarter of a submission: the device starts while we still write.
 */

#include "ring/prepared.h"

#include <errno.h>

/* The device begins with a part of a large submission while we write the rest. */
#define PUBLISH_MAX 16

static uint32_t stride(const struct prepared *ring)
{
    return ring->indirect ? 1 : ring->ranges_max;
}

static void write_row(struct vring_desc *row, uint32_t first, const struct ring_range *ranges,
                      unsigned n_out, unsigned n_in)
{
    for (unsigned i = 0; i < n_out + n_in; i++) {
        bool last = i + 1 == n_out + n_in;

        row[i] = (struct vring_desc){
            .addr = ranges[i].addr,
            .len = ranges[i].len,
            .flags = (uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
                                (last ? 0 : VRING_DESC_F_NEXT)),
            .next = (uint16_t)(last ? 0 : first + i + 1),
        };
    }
}

void prepared_split_lay_out(struct prepared *ring, uint32_t request,
                            const struct ring_range *ranges, unsigned n_out, unsigned n_in)
{
    uint32_t head = request * stride(ring);

    if (ring->indirect) {
        uint64_t at = (uint64_t)request * ring->setup.table_entries;

        write_row(ring->setup.tables + at, 0, ranges, n_out, n_in);
        ring->split.desc[head] = (struct vring_desc){
            .addr = ring->setup.tables_addr + at * sizeof(struct vring_desc),
            .len = (uint32_t)((n_out + n_in) * sizeof(struct vring_desc)),
            .flags = VRING_DESC_F_INDIRECT,
        };
    } else {
        write_row(&ring->split.desc[head], head, ranges, n_out, n_in);
    }
}

bool prepared_split_submit(struct prepared *ring, const uint32_t *requests, unsigned count)
{
    uint16_t before = ring->split.avail_next, event;
    uint16_t mask = (uint16_t)(ring->size - 1);
    uint32_t step = stride(ring);

    for (unsigned i = 0; i < count; i++) {
        uint16_t *entry = &ring->split.avail->ring[ring->split.avail_next++ & mask];

        store_once(entry, (uint16_t)(requests[i] * step));
        prepared_note_out(ring, requests[i]);
        if (i % PUBLISH_MAX == PUBLISH_MAX - 1)
            store_release(&ring->split.avail->idx, ring->split.avail_next);
    }
    store_release(&ring->split.avail->idx, ring->split.avail_next);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!ring->event_idx)
        return !(load_once(&ring->split.used->flags) & VRING_USED_F_NO_NOTIFY);
    event = load_once((uint16_t *)&ring->split.used->ring[ring->size]);
    return vring_need_event(event, ring->split.avail_next, before);
}

static always_inline int take(struct prepared *ring, struct ob_driver_used *used, unsigned max)
{
    uint16_t mask = (uint16_t)(ring->size - 1);
    const struct vring_used_elem *entry =
            &ring->split.used->ring[ring->split.used_next & mask];
    uint32_t head = load_once(&entry->id), len = load_once(&entry->len);
    uint32_t step = stride(ring), request = step == 1 ? head : head / step;

    if (unlikely(request >= ring->count || request * step != head ||
                 !ring->requests[request].out))
        return -EPROTO;
    ring->split.used_next++;
    if (ring->in_order)
        return prepared_take_in_order(ring, request, len, used, max);
    ring->requests[request].out = false;
    *used = (struct ob_driver_used){request, len};
    return 1;
}

int prepared_split_reap(struct prepared *ring, struct ob_driver_used *used, unsigned max)
{
    unsigned count = 0;

    if (ring->in_order && max < ring->order_count)
        return -ENOBUFS; /* one entry may stand for all */
    if (ring->split.used_seen == ring->split.used_next)
        ring->split.used_seen = load_acquire(&ring->split.used->idx);
    while (count < max && ring->split.used_next != ring->split.used_seen) {
        int taken = take(ring, used + count, max - count);

        if (unlikely(taken < 0))
            return taken;
        count += (unsigned)taken;
    }
    return (int)count;
}

bool prepared_split_has_used(const struct prepared *ring)
{
    return load_acquire(&ring->split.used->idx) != ring->split.used_next;
}
