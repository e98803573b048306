/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_SHARED_H
#define DRIVER_SHARED_H

#include <outboard/driver.h>

/* Where our memory begins in descriptors; anything that is not a pointer shows mix-ups. */
#define SHARED_DRIVER_ADDR 0x100000000ull

/* The memory that a driver and a device share: one file, one mapping, one region. */
struct shared {
    int fd;
    uint64_t file_offset;
    uint8_t *base;
    size_t bytes;
    /* What lies where: the queues' parts, one after the other, then the buffers. */
    size_t queue_bytes;
    size_t desc, driver, device, tables; /* in a queue's part */
    size_t buffers;
};

/* Lays out and maps the memory. 0 or -errno with the cause in the log. */
int shared_init(struct shared *shared, const struct ob_driver_options *options,
                uint64_t features);
void shared_done(struct shared *shared);

/* The region as a front-end tells it. */
struct ob_region_info shared_region(const struct shared *shared);

/* A pointer's address in descriptors. 0, or -EINVAL if the range is not in the memory. */
int shared_addr(const struct shared *shared, const void *memory, size_t len, uint64_t *ret);

/* Where a queue's part begins. */
static inline uint8_t *shared_queue(const struct shared *shared, unsigned index)
{
    return shared->base + index * shared->queue_bytes;
}

#endif
