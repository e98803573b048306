/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_PREPARED_H
#define RING_PREPARED_H

#include "ring/driver.h"

#include <outboard/driver.h>

/*
 * A driver half for clients that submit the same requests over and over: a fixed number of
 * them, each laid out once. What never changes is never written again, so that its cache lines
 * stay with the device. One thread.
 */
struct prepared {
    struct ring_driver_setup setup;
    uint32_t size;
    uint32_t count;      /* requests */
    uint32_t ranges_max; /* of each; without indirect tables also the slots of each */
    bool indirect, event_idx, in_order, packed;
    union {
        struct {
            struct vring_desc *desc;
            struct vring_avail *avail;
            struct vring_used *used;
            uint16_t avail_next, used_next, used_seen;
        } split;
        struct {
            struct vring_packed_desc *desc;
            struct vring_packed_desc_event *driver, *device;
            uint16_t avail_next, used_next;
            bool avail_wrap, used_wrap;
        } pack;
    };
    struct prepared_request *requests;
    struct vring_packed_desc *layout; /* packed: what each submission writes */
    uint16_t *order;                  /* IN_ORDER: requests out, oldest first; a ring of count */
    uint32_t order_first, order_count;
};

struct prepared_request {
    uint32_t writable; /* bytes */
    uint16_t slots;
    bool out;
};

/*
 * Sets up a ring for requests of at most ranges_max ranges. Tables are used if the setup has
 * them, with at least ranges_max entries each. 0, -EINVAL or -ENOMEM.
 */
int prepared_init(struct prepared *ring, const struct ring_driver_setup *setup,
                  uint32_t ranges_max);
void prepared_done(struct prepared *ring);

/* Lays out a request that is not out; n_out + n_in is 1 to ranges_max. */
void prepared_lay_out(struct prepared *ring, uint32_t request, const struct ring_range *ranges,
                      unsigned n_out, unsigned n_in);

/* Makes requests available that are not out. True if the device wants a kick. */
bool prepared_submit(struct prepared *ring, const uint32_t *requests, unsigned count);

/* As ob_driver_reap(). */
int prepared_reap(struct prepared *ring, struct ob_driver_used *used, unsigned max);

/* As ring_driver_ask_call() and ring_driver_no_call(). */
bool prepared_ask_call(struct prepared *ring);
void prepared_no_call(struct prepared *ring);

/* Where the ring stands when nothing is out. */
struct prepared_base {
    uint16_t avail_idx, used_idx;
    bool avail_wrap, used_wrap;
};

struct prepared_base prepared_base(const struct prepared *ring);

/* The two formats; prepared_*() choose. */
void prepared_split_lay_out(struct prepared *ring, uint32_t request,
                            const struct ring_range *ranges, unsigned n_out, unsigned n_in);
void prepared_packed_lay_out(struct prepared *ring, uint32_t request,
                             const struct ring_range *ranges, unsigned n_out, unsigned n_in);
bool prepared_split_submit(struct prepared *ring, const uint32_t *requests, unsigned count);
bool prepared_packed_submit(struct prepared *ring, const uint32_t *requests, unsigned count);
int prepared_split_reap(struct prepared *ring, struct ob_driver_used *used, unsigned max);
int prepared_packed_reap(struct prepared *ring, struct ob_driver_used *used, unsigned max);
bool prepared_split_has_used(const struct prepared *ring);
bool prepared_packed_has_used(const struct prepared *ring);

/*
 * For the formats: takes back what a used entry stands for, which IN_ORDER is all up to request.
 * Returns how many, or -EPROTO.
 */
int prepared_take_in_order(struct prepared *ring, uint32_t request, uint32_t len,
                           struct ob_driver_used *used, unsigned max);

static always_inline void prepared_note_out(struct prepared *ring, uint32_t request)
{
    uint32_t at;

    ring->requests[request].out = true;
    if (!ring->in_order)
        return;
    at = ring->order_first + ring->order_count++;
    ring->order[at < ring->count ? at : at - ring->count] = (uint16_t)request;
}

#endif
