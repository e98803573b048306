/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prepared requests in a packed ring (virtio 1.3, 2.8)
 *
 * A submission copies the slots that were laid out for the request to where the ring stands;
 * the buffer id is the request. Flags of the first slot of a group are stored last, with
 * release, so the device sees the group whole or not at all; groups are small, so that it starts
 * while we still write.
 */

#include "ring/prepared.h"

#include <errno.h>

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)
#define PUBLISH_MAX 16

static void write_row(struct vring_packed_desc *row, uint32_t request,
                      const struct ring_range *ranges, unsigned n_out, unsigned n_in, bool chain)
{
    for (unsigned i = 0; i < n_out + n_in; i++)
        row[i] = (struct vring_packed_desc){
            .addr = ranges[i].addr,
            .len = ranges[i].len,
            .id = (uint16_t)request,
            .flags = (uint16_t)((i >= n_out ? VRING_DESC_F_WRITE : 0) |
                                (chain && i + 1 < n_out + n_in ? VRING_DESC_F_NEXT : 0)),
        };
}

void prepared_packed_lay_out(struct prepared *ring, uint32_t request,
                             const struct ring_range *ranges, unsigned n_out, unsigned n_in)
{
    struct vring_packed_desc *row = ring->layout + (size_t)request * ring->ranges_max;

    if (ring->indirect) {
        uint64_t at = (uint64_t)request * ring->setup.table_entries;

        write_row((struct vring_packed_desc *)(ring->setup.tables + at), request, ranges, n_out,
                  n_in, false);
        row[0] = (struct vring_packed_desc){
            .addr = ring->setup.tables_addr + at * sizeof(*row),
            .len = (uint32_t)((n_out + n_in) * sizeof(*row)),
            .id = (uint16_t)request,
            .flags = VRING_DESC_F_INDIRECT,
        };
    } else {
        write_row(row, request, ranges, n_out, n_in, true);
    }
}

/* A group of slots that the device does not see yet. */
struct group {
    struct vring_packed_desc *first;
    uint16_t flags;
};

static always_inline void put(struct prepared *ring, const struct vring_packed_desc *from,
                              struct group *group)
{
    struct vring_packed_desc *desc = &ring->pack.desc[ring->pack.avail_next];
    uint16_t flags = (uint16_t)(from->flags | (ring->pack.avail_wrap ? FLAG_AVAIL : FLAG_USED));

    desc->addr = from->addr;
    desc->len = from->len;
    desc->id = from->id;
    if (group->first) {
        store_once(&desc->flags, flags);
    } else {
        group->first = desc;
        group->flags = flags;
    }
    if (++ring->pack.avail_next == ring->size) {
        ring->pack.avail_next = 0;
        ring->pack.avail_wrap = !ring->pack.avail_wrap;
    }
}

static always_inline void publish(struct group *group)
{
    if (group->first)
        store_release(&group->first->flags, group->flags);
    group->first = NULL;
}

static bool wants_kick(const struct prepared *ring, unsigned slots)
{
    uint16_t flags = load_acquire(&ring->pack.device->flags), off_wrap, event;

    if (!ring->event_idx || flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    off_wrap = load_once(&ring->pack.device->off_wrap);
    event = off_wrap & 0x7fff;
    if (off_wrap >> 15 != ring->pack.avail_wrap)
        event = (uint16_t)(event - ring->size);
    return vring_need_event(event, ring->pack.avail_next,
                            (uint16_t)(ring->pack.avail_next - slots));
}

bool prepared_packed_submit(struct prepared *ring, const uint32_t *requests, unsigned count)
{
    struct group group = {0};
    unsigned slots = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t request = requests[i];
        const struct vring_packed_desc *row = ring->layout + (size_t)request * ring->ranges_max;

        for (unsigned j = 0; j < ring->requests[request].slots; j++)
            put(ring, &row[j], &group);
        slots += ring->requests[request].slots;
        prepared_note_out(ring, request);
        if (i % PUBLISH_MAX == PUBLISH_MAX - 1)
            publish(&group);
    }
    publish(&group);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return wants_kick(ring, slots);
}

static always_inline bool is_used(const struct prepared *ring)
{
    uint16_t flags = load_acquire(&ring->pack.desc[ring->pack.used_next].flags);
    bool wrap = ring->pack.used_wrap;

    return !!(flags & FLAG_AVAIL) == wrap && !!(flags & FLAG_USED) == wrap;
}

static always_inline void skip(struct prepared *ring, unsigned slots)
{
    unsigned next = ring->pack.used_next + slots;

    if (next >= ring->size) {
        next -= ring->size;
        ring->pack.used_wrap = !ring->pack.used_wrap;
    }
    ring->pack.used_next = (uint16_t)next;
}

int prepared_packed_reap(struct prepared *ring, struct ob_driver_used *used, unsigned max)
{
    unsigned count = 0;

    if (ring->in_order && max < ring->order_count)
        return -ENOBUFS;
    while (count < max && is_used(ring)) {
        const struct vring_packed_desc *desc = &ring->pack.desc[ring->pack.used_next];
        uint32_t request = load_once(&desc->id), len = load_once(&desc->len);
        int taken = 1;

        if (unlikely(request >= ring->count || !ring->requests[request].out))
            return -EPROTO;
        if (ring->in_order) {
            taken = prepared_take_in_order(ring, request, len, used + count, max - count);
            if (taken < 0)
                return taken;
        } else {
            ring->requests[request].out = false;
            used[count] = (struct ob_driver_used){request, len};
        }
        for (int i = 0; i < taken; i++)
            skip(ring, ring->requests[used[count + (unsigned)i].request].slots);
        count += (unsigned)taken;
    }
    return (int)count;
}

bool prepared_packed_has_used(const struct prepared *ring)
{
    return is_used(ring);
}
