/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMORY_MAP_H
#define MEMORY_MAP_H

#include "base/util.h"
#include "memory/region.h"

#include <outboard/memory.h>

/* What a translation needs of a region. */
struct map_range {
    uint64_t driver_addr;
    uint64_t size;
    uint8_t *host;
    uint64_t ring_addr;
    enum ob_access access;
};

/*
 * Answers for addresses in no region: -EFAULT, or -EAGAIN if the answer is on its way. Any
 * thread.
 */
typedef int (*map_miss_fn)(void *ctx, uint64_t addr, uint64_t len, enum ob_access access);

/* Immutable but for refs. The order of ranges is by driver_addr. */
struct ob_map {
    unsigned refs;  /* atomic */
    unsigned count;
    const bool *faulted;
    map_miss_fn miss; /* NULL: -EFAULT */
    void *miss_ctx;
    struct ob_work release; /* the rest is the control thread's */
    struct ob_loop *loop;
    void (*free)(struct ob_map *map);
    void *owner;
    ob_memory_released_fn released;
    void *released_ctx;
    struct ob_map *next;     /* the one that took its place: not released before this one */
    struct region **regions; /* a reference each */
    struct map_range ranges[];
};

/* Creates a map with one reference that holds a reference to each region. NULL: no memory. */
struct ob_map *map_new(struct ob_loop *loop, struct region *const *regions, unsigned count,
                       const bool *faulted);

/*
 * Finds the range that holds addr; NULL if none does. Any thread with a reference.
 */
const struct map_range *map_find(const struct ob_map *map, enum ob_space space, uint64_t addr);

/* True if all of [addr, addr + len) lies in this range and may be accessed so. */
static always_inline bool map_range_holds(const struct map_range *range, uint64_t addr,
                                          uint64_t len, enum ob_access access)
{
    uint64_t offset = addr - range->driver_addr;

    return offset < range->size && len <= range->size - offset &&
           (range->access & access) == access;
}

#endif
