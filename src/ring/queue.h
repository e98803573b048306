/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_QUEUE_H
#define RING_QUEUE_H

#include "memory/map.h"
#include "ring/pool.h"
#include "wire/virtio.h"

#include <outboard/device.h>

/* Completed chains that wait for the next publication. */
#define QUEUE_STAGED_MAX 64

/* A map as one queue holds it; counts the chains popped under it, and the queue itself. */
struct ob_queue_map {
    struct ob_map *map;
    unsigned refs;
};

enum queue_state {
    QUEUE_STOPPED,  /* may be started */
    QUEUE_RUNNING,  /* may be stopped or abandoned */
    QUEUE_DRAINING, /* pops no more; STOPPED once no chain is out */
};

/* Split ring, virtio 1.3, 2.7. Indices run free; only their use is masked. */
struct ring_split {
    const struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t mask;
    uint16_t avail_next; /* the entry to pop next */
    uint16_t avail_seen; /* the driver's index as last read */
    uint16_t used_next;  /* the entry to write next */
};

/* Packed ring, 2.8. */
struct ring_packed {
    struct vring_packed_desc *desc;
    const struct vring_packed_desc_event *driver;
    struct vring_packed_desc_event *device;
    uint16_t avail_next, used_next;
    bool avail_wrap, used_wrap;
};

struct ring_format;

/*
 * The device half of a virtqueue. All fields belong to the worker's thread, but those under
 * "fixed", and the counters, which others may read.
 */
struct ob_queue {
    struct ob_poller poller;
    const struct ring_format *format;
    union {
        struct ring_split split;
        struct ring_packed packed;
    };
    uint32_t size;
    uint32_t generation;   /* chains of another one are recycled without a trace */
    bool popping;          /* running, enabled and not broken */
    bool kick_wanted;      /* the driver was asked to kick */
    bool blocked;          /* the last pop ended for a reason that no kick ends */
    bool call_owed;        /* something was published that the driver wants to be told of */
    uint8_t publish_every; /* completions until the next publication */
    unsigned staged_count;
    struct ob_queue_map *map;
    const struct map_range *last_range; /* of the last address translated */
    void *ctx;                          /* the device type's, while not stopped */
    struct pool pool;
    struct ob_chain *staged[QUEUE_STAGED_MAX];

    struct ob_chain **order; /* IN_ORDER only: chains out, a ring of pool.capacity */
    unsigned order_first, order_count;

    enum queue_state state;
    bool enabled, broken, ring_lost;
    bool map_stale; /* of a driver that is gone: dropped when drained */
    struct ob_queue_setup setup;
    struct ob_watch kick;
    struct ob_call call;
    struct vring_desc *table_copy; /* an indirect table that crosses regions */
    struct ob_queue_counters counters; /* atomic reads anywhere */

    /* Fixed when the device is made. */
    const struct ob_device_ops *type;
    void *dev;
    const struct ob_log *log;
    struct ob_loop *loop;
    unsigned index;
    void (*drained)(struct ob_queue *queue);    /* worker: it reached QUEUE_STOPPED */
    void (*told_broken)(struct ob_queue *queue); /* worker */
};

/*
 * What differs between ring formats, each verb specialised for the accepted features.
 * pop, publish and the kick verbs are as ob_queue_pop() and so on; ask_kick() returns true if
 * there is something to pop after all.
 */
struct ring_format {
    int (*attach)(struct ob_queue *queue); /* finds the ring areas in the map; 0 or -errno */
    void (*restore)(struct ob_queue *queue, const struct ob_queue_base *base);
    void (*save)(const struct ob_queue *queue, struct ob_queue_base *ret);
    unsigned (*pop)(struct ob_queue *queue, struct ob_chain **chains, unsigned max);
    bool (*publish)(struct ob_queue *queue); /* true if the driver wants a call */
    bool (*ask_kick)(struct ob_queue *queue);
    void (*no_kick)(struct ob_queue *queue);
};

/* The verbs for a set of accepted features. */
const struct ring_format *ring_split_format(uint64_t features);
const struct ring_format *ring_packed_format(uint64_t features);

/* Checks what can be checked before a queue starts. Any thread. 0 or -EINVAL. */
int queue_check_setup(const struct ob_queue_setup *setup, unsigned size_max,
                      const struct ob_log *log, unsigned index);

/* Sets up a zeroed queue after its fixed fields are filled in. Control thread. */
void queue_init(struct ob_queue *queue);

/* Worker: starts a stopped queue that has a map; the pool is consumed, also on failure.
 * 0, -EFAULT, or as queue_open(). */
int queue_start(struct ob_queue *queue, const struct ob_queue_setup *setup, struct pool *pool);

/* Worker: ends the requests out; drained() follows, at once or later. */
void queue_stop(struct ob_queue *queue);

/* Worker: the same, but nothing more is written to the driver; kick, call and map are dropped.
 * drained() follows unless the queue was stopped already. */
void queue_abandon(struct ob_queue *queue);

/* Worker: uses another map from now on; consumed. */
void queue_set_map(struct ob_queue *queue, struct ob_queue_map *map);

/* Worker: as ob_device_queue_enable(), _set_kick(), _set_call(). */
void queue_enable(struct ob_queue *queue, bool enable);
void queue_set_kick(struct ob_queue *queue, int fd);
void queue_set_call(struct ob_queue *queue, struct ob_call call);

/* Worker: the driver kicked. */
void queue_kicked(struct ob_queue *queue);

/* Drops a reference that a chain or the queue held. */
void queue_map_unref(struct ob_queue_map *map);

/* Breaks the queue with a reason that names the value. Returns -EPROTO. Cold. */
int queue_bad(struct ob_queue *queue, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold, noinline));

#endif
