/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Maps
 *
 * A map is an immutable snapshot of the regions of a memory, sorted by the addresses that
 * descriptors carry. Queues translate with the snapshot that they hold, so changing the
 * memory under running queues is: make a new snapshot, hand it to each worker, and wait until
 * the last request that was popped under the old one has ended. That end is the last
 * ob_map_unref(), on whatever thread; what follows from it (unmapping, telling whoever waits)
 * is posted to the control thread, because regions are that thread's, and because munmap() of
 * a large region is slow.
 *
 * A map holds the one that took its place, so they are released in their order: a request may be
 * out under the map before last, and what was removed since is still used by it.
 *
 * Queues keep the range of their last hit and look there first (ring/gather.h); this file
 * is the way for the others: a binary search for descriptors' addresses, a scan for ring
 * addresses, which are translated only when a ring starts or the map changes.
 */

#include "memory/map.h"

#include <errno.h>
#include <stdlib.h>

/* True if that was the last reference. */
static bool drop(struct ob_map *map)
{
    /* Release: what was done with the memory comes before the unmapping; acquire: and the
     * unmapping after all of it. */
    return map && !__atomic_sub_fetch(&map->refs, 1, __ATOMIC_ACQ_REL);
}

static struct ob_map *map_free(struct ob_map *map)
{
    ob_memory_released_fn released = map->released;
    void *ctx = map->released_ctx;
    struct ob_map *next = map->next;

    for (unsigned i = 0; i < map->count; i++)
        region_unref(map->regions[i]);
    free(map->regions);
    if (map->free)
        map->free(map);
    free(map);
    if (released)
        released(ctx);
    return next;
}

static void map_release(struct ob_work *work)
{
    struct ob_map *map = container_of(work, struct ob_map, release);

    do {
        map = map_free(map);
    } while (drop(map));
}

static int compare_regions(const void *a, const void *b)
{
    const struct region *const *left = a, *const *right = b;

    if ((*left)->info.driver_addr == (*right)->info.driver_addr)
        return 0;
    return (*left)->info.driver_addr < (*right)->info.driver_addr ? -1 : 1;
}

struct ob_map *map_new(struct ob_loop *loop, struct region *const *regions, unsigned count,
                       const bool *faulted)
{
    struct ob_map *map = calloc(1, sizeof(*map) + count * sizeof(map->ranges[0]));

    if (!map)
        return NULL;
    map->regions = calloc(count ? count : 1, sizeof(*map->regions));
    if (!map->regions) {
        free(map);
        return NULL;
    }
    map->refs = 1;
    map->count = count;
    map->faulted = faulted;
    map->loop = loop;
    map->release.run = map_release;
    for (unsigned i = 0; i < count; i++)
        map->regions[i] = region_ref(regions[i]);
    qsort(map->regions, count, sizeof(*map->regions), compare_regions);
    for (unsigned i = 0; i < count; i++) {
        const struct region *region = map->regions[i];

        map->ranges[i] = (struct map_range){
            .driver_addr = region->info.driver_addr,
            .ring_addr = region->info.ring_addr,
            .size = region->info.size,
            .host = region->host,
            .access = region->info.access,
        };
    }
    return map;
}

static const struct map_range *find_driver(const struct ob_map *map, uint64_t addr)
{
    unsigned low = 0, high = map->count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (map->ranges[middle].driver_addr <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low || addr - map->ranges[low - 1].driver_addr >= map->ranges[low - 1].size)
        return NULL;
    return &map->ranges[low - 1];
}

static const struct map_range *find_ring(const struct ob_map *map, uint64_t addr)
{
    for (unsigned i = 0; i < map->count; i++)
        if (addr - map->ranges[i].ring_addr < map->ranges[i].size)
            return &map->ranges[i];
    return NULL;
}

const struct map_range *map_find(const struct ob_map *map, enum ob_space space, uint64_t addr)
{
    return space == OB_SPACE_DRIVER ? find_driver(map, addr) : find_ring(map, addr);
}

int64_t ob_map_translate(const struct ob_map *map, enum ob_space space, uint64_t addr,
                         uint64_t len, enum ob_access access, void **ret_host)
{
    const struct map_range *range = map_find(map, space, addr);
    uint64_t offset;

    if (!range)
        return map->miss ? map->miss(map->miss_ctx, addr, len, access) : -EFAULT;
    if ((range->access & access) != access)
        return -EFAULT;
    offset = addr - (space == OB_SPACE_DRIVER ? range->driver_addr : range->ring_addr);
    *ret_host = range->host + offset;
    return (int64_t)min_u64(len, range->size - offset);
}

struct ob_map *ob_map_ref(struct ob_map *map)
{
    __atomic_add_fetch(&map->refs, 1, __ATOMIC_RELAXED);
    return map;
}

void ob_map_unref(struct ob_map *map)
{
    if (drop(map))
        ob_loop_post(map->loop, &map->release);
}
