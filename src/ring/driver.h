/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_DRIVER_H
#define RING_DRIVER_H

#include "base/util.h"
#include "wire/virtio.h"

/* One range of a buffer, in the addresses that the device translates. */
struct ring_range {
    uint64_t addr;
    uint32_t len;
};

/* A buffer that came back. */
struct ring_used {
    uint64_t token; /* as given to ring_driver_add() */
    uint32_t len;   /* bytes that the device says it wrote; not to be trusted */
};

/* What a driver half needs. The areas are zeroed memory that the device sees, too. */
struct ring_driver_setup {
    uint64_t features;
    uint32_t size;
    void *desc, *driver, *device;
    struct vring_desc *tables; /* for INDIRECT: size tables, or NULL for none */
    uint64_t tables_addr;      /* where the device sees them */
    uint32_t table_entries;    /* of each */
    uint16_t start;            /* split: where the indices begin; packed: not used */
};

/* Bytes of the three areas of a ring (virtio 1.3, 2.7 and 2.8). */
struct ring_driver_bytes {
    size_t desc, driver, device;
};

struct ring_driver_bytes ring_driver_bytes(uint64_t features, uint32_t size);

/* The driver half of a virtqueue. One thread. */
struct ring_driver;

/* Creates a driver half on an empty ring. 0, -EINVAL or -ENOMEM. */
int ring_driver_new(const struct ring_driver_setup *setup, struct ring_driver **ret);
void ring_driver_free(struct ring_driver *driver);

/*
 * Adds a buffer: n_out ranges for the device to read, then n_in to write, at least one in all.
 * The device sees it after ring_driver_publish().
 * 0, -ENOSPC (the ring is full: take some first), -E2BIG (more ranges than it can ever take).
 */
int ring_driver_add(struct ring_driver *driver, const struct ring_range *ranges, unsigned n_out,
                    unsigned n_in, uint64_t token);

/* Makes what was added visible. True if the device wants a kick. */
bool ring_driver_publish(struct ring_driver *driver);

/*
 * Takes up to max used buffers. Returns how many; -EPROTO if the device gave back something
 * that it does not have; -ENOBUFS if the ring is in order and max is less than what is out.
 */
int ring_driver_take(struct ring_driver *driver, struct ring_used *used, unsigned max);

/* Asks to be called at the next used buffer; true if there is one already. */
bool ring_driver_ask_call(struct ring_driver *driver);

/* Asks not to be called. */
void ring_driver_no_call(struct ring_driver *driver);

/* Buffers that are with the device. */
unsigned ring_driver_out(const struct ring_driver *driver);

#endif
