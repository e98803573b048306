/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMORY_REGION_H
#define MEMORY_REGION_H

#include <outboard/memory.h>

/* A region of a peer's memory, mapped. Owned by the control thread, references included. */
struct region {
    struct ob_region_info info;
    uint8_t *host;      /* where info.driver_addr is mapped */
    void *base;         /* the mapping, whole pages of the file */
    size_t length;
    unsigned refs;
    int fault_slot;     /* in the table of memory/fault.c */
};

/*
 * Maps a region with one reference. faulted is what a fault in it sets; it must stay until the
 * region is gone. Errors as ob_memory_add().
 */
int region_new(const struct ob_region_info *info, int fd, bool *faulted,
               const struct ob_log *log, struct region **ret);

struct region *region_ref(struct region *region);

/* Unmaps with the last reference. */
void region_unref(struct region *region);

#endif
