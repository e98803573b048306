/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prepared requests, what both formats share
 *
 * A client with a fixed set of requests does not need descriptors handed out and taken back:
 * each request owns its own for good. In a split ring that is its head descriptor (with a
 * table) or a row of descriptors (without), which are written when the request is laid out and
 * never again. In a packed ring slots move on, so a submission writes a copy of what was laid
 * out; with a table that is one slot.
 *
 * What the device gives back is checked against our own note of what is out.
 */

#include "ring/prepared.h"

#include <errno.h>
#include <stdlib.h>

static void attach(struct prepared *ring)
{
    const struct ring_driver_setup *setup = &ring->setup;

    if (ring->packed) {
        ring->pack.desc = setup->desc;
        ring->pack.driver = setup->driver;
        ring->pack.device = setup->device;
        ring->pack.avail_wrap = true;
        ring->pack.used_wrap = true;
    } else {
        ring->split.desc = setup->desc;
        ring->split.avail = setup->driver;
        ring->split.used = setup->device;
    }
}

int prepared_init(struct prepared *ring, const struct ring_driver_setup *setup,
                  uint32_t ranges_max)
{
    bool tables = setup->tables && setup->features & feature_bit(VIRTIO_RING_F_INDIRECT_DESC);

    *ring = (struct prepared){
        .setup = *setup,
        .size = setup->size,
        .ranges_max = ranges_max,
        .indirect = tables,
        .event_idx = setup->features & feature_bit(VIRTIO_RING_F_EVENT_IDX),
        .in_order = setup->features & feature_bit(VIRTIO_F_IN_ORDER),
        .packed = setup->features & feature_bit(VIRTIO_F_RING_PACKED),
    };
    if (!setup->size || !ranges_max || (tables && setup->table_entries < ranges_max) ||
        (!ring->packed && !is_power_of_two(setup->size)))
        return -EINVAL;
    ring->count = tables ? setup->size : setup->size / ranges_max;
    if (!ring->count)
        return -EINVAL;
    ring->requests = calloc(ring->count, sizeof(*ring->requests));
    ring->order = calloc(ring->count, sizeof(*ring->order));
    ring->layout = calloc((size_t)ring->count * ranges_max, sizeof(*ring->layout));
    if (!ring->requests || !ring->order || !ring->layout) {
        prepared_done(ring);
        return -ENOMEM;
    }
    attach(ring);
    return 0;
}

void prepared_done(struct prepared *ring)
{
    free(ring->requests);
    free(ring->order);
    free(ring->layout);
    *ring = (struct prepared){0};
}

void prepared_lay_out(struct prepared *ring, uint32_t request, const struct ring_range *ranges,
                      unsigned n_out, unsigned n_in)
{
    struct prepared_request *note = &ring->requests[request];

    note->writable = 0;
    for (unsigned i = n_out; i < n_out + n_in; i++)
        note->writable += ranges[i].len;
    note->slots = (uint16_t)(ring->indirect ? 1 : n_out + n_in);
    if (ring->packed)
        prepared_packed_lay_out(ring, request, ranges, n_out, n_in);
    else
        prepared_split_lay_out(ring, request, ranges, n_out, n_in);
}

bool prepared_submit(struct prepared *ring, const uint32_t *requests, unsigned count)
{
    return ring->packed ? prepared_packed_submit(ring, requests, count)
                        : prepared_split_submit(ring, requests, count);
}

int prepared_reap(struct prepared *ring, struct ob_driver_used *used, unsigned max)
{
    return ring->packed ? prepared_packed_reap(ring, used, max)
                        : prepared_split_reap(ring, used, max);
}

int prepared_take_in_order(struct prepared *ring, uint32_t request, uint32_t len,
                           struct ob_driver_used *used, unsigned max)
{
    for (unsigned count = 0; count < max && ring->order_count; count++) {
        uint32_t oldest = ring->order[ring->order_first];

        if (++ring->order_first == ring->count)
            ring->order_first = 0;
        ring->order_count--;
        ring->requests[oldest].out = false;
        used[count] = (struct ob_driver_used){oldest, ring->requests[oldest].writable};
        if (oldest == request) {
            used[count].written = len;
            return (int)count + 1;
        }
    }
    return -EPROTO;
}

struct prepared_base prepared_base(const struct prepared *ring)
{
    if (!ring->packed)
        return (struct prepared_base){.avail_idx = ring->split.avail_next,
                                      .used_idx = ring->split.used_next};
    return (struct prepared_base){ring->pack.avail_next, ring->pack.used_next,
                                  ring->pack.avail_wrap, ring->pack.used_wrap};
}

bool prepared_ask_call(struct prepared *ring)
{
    if (ring->packed) {
        store_once(&ring->pack.driver->off_wrap,
                   (uint16_t)(ring->pack.used_next | ring->pack.used_wrap << 15));
        store_release(&ring->pack.driver->flags,
                      (uint16_t)(ring->event_idx ? VRING_PACKED_EVENT_FLAG_DESC
                                                 : VRING_PACKED_EVENT_FLAG_ENABLE));
    } else if (ring->event_idx) {
        store_once(&ring->split.avail->ring[ring->size], ring->split.used_next);
    } else {
        store_once(&ring->split.avail->flags, (uint16_t)0);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return ring->packed ? prepared_packed_has_used(ring) : prepared_split_has_used(ring);
}

void prepared_no_call(struct prepared *ring)
{
    if (ring->packed)
        store_once(&ring->pack.driver->flags, (uint16_t)VRING_PACKED_EVENT_FLAG_DISABLE);
    else if (!ring->event_idx)
        store_once(&ring->split.avail->flags, (uint16_t)VRING_AVAIL_F_NO_INTERRUPT);
}
