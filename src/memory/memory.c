/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of a peer
 *
 * The table of regions that a transport edits as its messages say, and the snapshot of it that
 * queues use (memory/map.c). Editing changes nothing for the queues until it is published.
 * All of this belongs to the control thread; only `faulted` is set by whatever thread faulted.
 *
 * The handle may be freed while maps are still out: they hold the memory by a reference, since
 * their fault flag lies in it.
 */

#include "memory/map.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct ob_memory {
    struct ob_loop *loop;
    const struct ob_log *log;
    unsigned refs; /* the handle, and each map */
    bool faulted;  /* atomic */
    struct ob_map *map;
    unsigned count;
    struct region *regions[OB_MEMORY_SLOTS];
};

static void memory_unref(struct ob_memory *memory)
{
    if (!--memory->refs)
        free(memory);
}

static void memory_map_freed(struct ob_map *map)
{
    memory_unref(map->owner);
}

static struct ob_map *memory_snapshot(struct ob_memory *memory)
{
    struct ob_map *map = map_new(memory->loop, memory->regions, memory->count, &memory->faulted);

    if (!map)
        return NULL;
    map->owner = memory;
    map->free = memory_map_freed;
    memory->refs++;
    return map;
}

int ob_memory_new(struct ob_loop *loop, const struct ob_log *log, struct ob_memory **ret)
{
    struct ob_memory *memory = calloc(1, sizeof(*memory));

    if (!memory)
        return -ENOMEM;
    memory->loop = loop;
    memory->log = log;
    memory->refs = 1;
    memory->map = memory_snapshot(memory);
    if (!memory->map) {
        free(memory);
        return -ENOMEM;
    }
    *ret = memory;
    return 0;
}

void ob_memory_free(struct ob_memory *memory)
{
    if (!memory)
        return;
    ob_memory_clear(memory);
    memory->log = NULL;
    ob_map_unref(memory->map);
    memory_unref(memory);
}

/* True if two regions share an address of either kind. */
static bool overlaps(const struct ob_region_info *a, const struct ob_region_info *b)
{
    return (a->driver_addr < b->driver_addr + b->size &&
            b->driver_addr < a->driver_addr + a->size) ||
           (a->ring_addr < b->ring_addr + b->size && b->ring_addr < a->ring_addr + a->size);
}

int ob_memory_add(struct ob_memory *memory, const struct ob_region_info *info, int fd)
{
    struct region *region;
    int result;

    if (memory->count == OB_MEMORY_SLOTS) {
        log_error(memory->log, "memory region refused: all %d slots are taken", OB_MEMORY_SLOTS);
        return -ENOSPC;
    }
    result = region_new(info, fd, &memory->faulted, memory->log, &region);
    if (result < 0)
        return result;
    /* After region_new(), which knows that the sums do not wrap. */
    for (unsigned i = 0; i < memory->count; i++) {
        const struct ob_region_info *other = &memory->regions[i]->info;

        if (overlaps(info, other)) {
            log_error(memory->log,
                      "memory region refused: 0x%" PRIx64 " bytes at guest address 0x%" PRIx64
                      " overlap 0x%" PRIx64 " bytes at 0x%" PRIx64,
                      info->size, info->driver_addr, other->size, other->driver_addr);
            region_unref(region);
            return -EEXIST;
        }
    }
    memory->regions[memory->count++] = region;
    return 0;
}

int ob_memory_remove(struct ob_memory *memory, const struct ob_region_info *info)
{
    for (unsigned i = 0; i < memory->count; i++) {
        struct region *region = memory->regions[i];

        if (region->info.driver_addr != info->driver_addr || region->info.size != info->size ||
            region->info.ring_addr != info->ring_addr)
            continue;
        memory->regions[i] = memory->regions[--memory->count];
        region_unref(region);
        return 0;
    }
    return -ENOENT;
}

void ob_memory_clear(struct ob_memory *memory)
{
    while (memory->count)
        region_unref(memory->regions[--memory->count]);
}

unsigned ob_memory_count(const struct ob_memory *memory)
{
    return memory->count;
}

int ob_memory_publish(struct ob_memory *memory, ob_memory_released_fn released, void *ctx)
{
    struct ob_map *old = memory->map;
    struct ob_map *map = memory_snapshot(memory);

    if (!map)
        return -ENOMEM;
    memory->map = map;
    old->released = released;
    old->released_ctx = ctx;
    old->next = ob_map_ref(map);
    ob_map_unref(old);
    return 0;
}

struct ob_map *ob_memory_map(struct ob_memory *memory)
{
    return memory->map;
}

bool ob_memory_faulted(const struct ob_memory *memory)
{
    return load_acquire(&memory->faulted);
}
