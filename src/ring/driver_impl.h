/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_DRIVER_IMPL_H
#define RING_DRIVER_IMPL_H

#include "ring/driver.h"

/* What the driver remembers of a buffer; never read back from shared memory. */
struct driver_buffer {
    uint64_t token;
    uint32_t writable; /* bytes: what a buffer that is used wholly got */
    uint16_t slots;    /* descriptors taken; 0: the id is free */
    uint16_t next;     /* free list of ids; split: also the chain of descriptors */
};

struct driver_split {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_next, avail_published, used_next;
};

struct driver_packed {
    struct vring_packed_desc *desc;
    struct vring_packed_desc_event *driver, *device;
    uint16_t avail_next, used_next;
    bool avail_wrap, used_wrap;
    struct vring_packed_desc *first; /* of what is not published; its flags come last */
    uint16_t first_flags;
    uint16_t unpublished; /* slots */
};

struct ring_driver {
    struct ring_driver_setup setup;
    const struct driver_format *format;
    uint32_t size;
    uint16_t free_head;  /* id; means nothing while no slot is free */
    uint16_t free_tail;  /* IN_ORDER takes from the head and gives back to the tail */
    uint32_t free_slots; /* descriptors */
    uint32_t out;        /* buffers */
    bool indirect, event_idx, in_order;
    union {
        struct driver_split split;
        struct driver_packed packed;
    };
    struct driver_buffer *buffers; /* by id */
    uint16_t *order;               /* IN_ORDER: ids out, oldest first; a ring of size */
    uint32_t order_first, order_count;
};

struct driver_format {
    int (*add)(struct ring_driver *driver, const struct ring_range *ranges, unsigned n_out,
               unsigned n_in, uint64_t token);
    bool (*publish)(struct ring_driver *driver);
    bool (*peek)(const struct ring_driver *driver);      /* a used entry is there */
    void (*next)(struct ring_driver *driver, uint32_t *ret_id, uint32_t *ret_len);
    void (*release)(struct ring_driver *driver, uint16_t id); /* slots go back */
    bool (*ask_call)(struct ring_driver *driver);
    void (*no_call)(struct ring_driver *driver);
};

extern const struct driver_format driver_split_format;
extern const struct driver_format driver_packed_format;

/* Fills the indirect table of an id; returns its address for the device. */
uint64_t driver_fill_table(struct ring_driver *driver, uint16_t id,
                           const struct ring_range *ranges, unsigned n_out, unsigned n_in);

/* Notes a buffer under an id that is taken off the free list by the caller. */
void driver_note(struct ring_driver *driver, uint16_t id, const struct ring_range *ranges,
                 unsigned n_out, unsigned n_in, uint16_t slots, uint64_t token);

static inline bool driver_use_table(const struct ring_driver *driver, unsigned count)
{
    return driver->indirect && count > 1 && count <= driver->setup.table_entries;
}

#endif
