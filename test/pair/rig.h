/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PAIR_RIG_H
#define PAIR_RIG_H

/*
 * A queue and a driver half in one process, on one piece of memory that the queue sees as many
 * small regions. The device is whatever run() a test gives.
 */

#include "ring/driver.h"
#include "ring/queue.h"

#include <outboard/loop.h>
#include <outboard/memory.h>

#define RIG_GUEST_BASE 0x40000000ull /* of the memory, in descriptors */
#define RIG_USER_BASE 0x7f0000000000ull /* and for ring addresses */
#define RIG_RINGS (2u << 20)      /* rings lie in the first region, of this size */
#define RIG_REGION (64u << 10)    /* the rest is cut into regions of this size */
#define RIG_BYTES (RIG_RINGS + (16u << 20))
#define RIG_SLOT 2048u            /* each buffer's piece of the rest */
#define RIG_SLOT_SKEW 1000u       /* so that some pieces lie across regions */
#define RIG_SLOTS 4000u
#define RIG_TABLE_ENTRIES 16u

struct rig_options {
    uint64_t features;
    uint32_t size;
    uint16_t start;      /* split: first index */
    bool tables;         /* indirect tables, some across regions */
    struct ob_loop *loop; /* of the queue; NULL: one of its own, run by nobody */
    size_t request_size; /* 0: a chain alone */
};

struct rig {
    struct rig_options options;
    struct ob_loop *control, *loop;
    struct ob_memory *memory;
    int fd;
    uint8_t *base; /* the driver's own view, in one piece */
    struct ob_queue queue;
    struct ob_device_ops type;
    struct ring_driver *driver;
    unsigned calls;
    unsigned drained, broken;
    unsigned released; /* maps that nobody uses any more */
    unsigned (*run)(void *ctx, unsigned budget);
    void *ctx;
};

/* Makes all of it and starts the queue. A failure ends the test. */
void rig_init(struct rig *rig, const struct rig_options *options,
              unsigned (*run)(void *ctx, unsigned budget), void *ctx);
void rig_done(struct rig *rig);

/* Starts the queue (again) at a base, stops or abandons it and waits for the drain. */
void rig_start(struct rig *rig, const struct ob_queue_base *base);
void rig_stop(struct rig *rig, struct ob_queue_base *ret);

/* Publishes a new snapshot of the same regions and gives it to the queue. */
void rig_new_map(struct rig *rig);

/* Runs what was posted to the control loop. */
void rig_control(struct rig *rig);

/* One turn of the queue; it sleeps if there is nothing. True if it sleeps. */
bool rig_turn(struct rig *rig);

/* A buffer's piece of memory: for the driver, and its address in descriptors. */
uint8_t *rig_slot(struct rig *rig, unsigned slot);
uint64_t rig_slot_addr(unsigned slot);

/* Addresses of the three ring areas in the memory. */
struct rig_areas {
    uint64_t desc, driver, device;
};
struct rig_areas rig_areas(const struct rig_options *options);

#endif
