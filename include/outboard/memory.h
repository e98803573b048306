/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_MEMORY_H
#define OUTBOARD_MEMORY_H

#include <outboard/export.h>
#include <outboard/log.h>
#include <outboard/loop.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Most regions in one map: what KVM and the vhost-user front-ends allow a guest. */
#define OB_MEMORY_SLOTS 509

/** Which addresses a translation starts from. */
enum ob_space {
    OB_SPACE_DRIVER, /**< addresses in descriptors: guest-physical, or I/O virtual */
    OB_SPACE_RING,   /**< addresses that a front-end gives for rings: its own virtual ones */
};

/** What the device wants to do with a range. */
enum ob_access {
    OB_ACCESS_READ = 1,
    OB_ACCESS_WRITE = 2,
    OB_ACCESS_BOTH = 3,
};

/** One region of a peer's memory, as a peer described it. */
struct ob_region_info {
    uint64_t driver_addr; /**< where it begins in OB_SPACE_DRIVER */
    uint64_t ring_addr;   /**< where it begins in OB_SPACE_RING */
    uint64_t size;        /**< bytes, not zero */
    uint64_t file_offset; /**< where it begins in the file */
    enum ob_access access;
};

/**
 * The memory of one peer: the regions, and the snapshot of them that queues use.
 * Owned by the control thread (that of the loop given to ob_memory_new()).
 */
struct ob_memory;

/**
 * An immutable snapshot of a memory's regions. Queues hold references, so what they
 * translated stays mapped until they are done with it.
 */
struct ob_map;

/** Called on the control thread. */
typedef void (*ob_memory_released_fn)(void *ctx);

/** Creates a memory without regions. @return 0 or -ENOMEM. */
OB_PUBLIC int ob_memory_new(struct ob_loop *loop, const struct ob_log *log, struct ob_memory **ret);

/** Drops the regions and the handle; maps still referenced stay until they are not. */
OB_PUBLIC void ob_memory_free(struct ob_memory *memory);

/**
 * Maps a region of a file. The map that queues use changes with ob_memory_publish().
 *
 * @param fd  not consumed; may be closed after.
 * @return 0; -EINVAL (zero size, overflow, offset not aligned to the file's page size, or
 *         the file is shorter than the region); -EEXIST (overlaps a region); -ENOSPC (all
 *         OB_MEMORY_SLOTS taken); or -errno of mmap.
 */
OB_PUBLIC int ob_memory_add(struct ob_memory *memory, const struct ob_region_info *info, int fd);

/**
 * Forgets a region given exactly as it was added (the file offset and access are not
 * compared). It stays mapped while a map holds it.
 * @return 0 or -ENOENT.
 */
OB_PUBLIC int ob_memory_remove(struct ob_memory *memory, const struct ob_region_info *info);

/** Forgets all regions. */
OB_PUBLIC void ob_memory_clear(struct ob_memory *memory);

/** How many regions there are. */
OB_PUBLIC unsigned ob_memory_count(const struct ob_memory *memory);

/**
 * Makes a new snapshot the current one, and drops this memory's reference to the one
 * before.
 *
 * @param released  called once the snapshot before, and all before that, are referenced by
 *                  nobody and their lost regions are unmapped: at that time the kernel does
 *                  not use them any more either. Called (posted) also if there was none. May be NULL.
 * @return 0 or -ENOMEM.
 */
OB_PUBLIC int ob_memory_publish(struct ob_memory *memory, ob_memory_released_fn released,
                                void *ctx);

/** The current snapshot, never NULL; borrowed: take a reference to keep it. */
OB_PUBLIC struct ob_map *ob_memory_map(struct ob_memory *memory);

/** True once a peer cut a file short under one of the regions and we touched the hole. */
OB_PUBLIC bool ob_memory_faulted(const struct ob_memory *memory);

/** Takes a reference. Any thread. @return map. */
OB_PUBLIC struct ob_map *ob_map_ref(struct ob_map *map);

/** Drops a reference; NULL is fine. Any thread: unmapping is posted to the control thread. */
OB_PUBLIC void ob_map_unref(struct ob_map *map);

/**
 * Translates the longest run at the start of a range that is contiguous for us too.
 *
 * @param ret_host  where the run begins.
 * @return the length of the run, 1 to len; -EFAULT where addr is in no region or not
 *         accessible so; -EAGAIN where the answer is not known yet, and the caller must
 *         ask again once it is told of a new map, having consumed nothing.
 * Any thread that holds a reference.
 */
OB_PUBLIC int64_t ob_map_translate(const struct ob_map *map, enum ob_space space, uint64_t addr,
                                   uint64_t len, enum ob_access access, void **ret_host);

/**
 * For a SIGBUS handler: if addr (si_addr) lies in a region, puts private zero pages there,
 * marks the memory as faulted and returns true: the access that faulted can be repeated.
 * Queues that use the memory break soon after. Async-signal-safe; any thread.
 */
OB_PUBLIC bool ob_memory_fault(void *addr);

#ifdef __cplusplus
}
#endif

#endif
