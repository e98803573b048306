/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regions
 *
 * A peer names a region by a file, an offset and a size, and all three are checked before
 * anything is mapped: sums that wrap, a file that ends before the region does (touching the
 * rest would be SIGBUS; so would a later truncation, which memory/fault.c is for), an offset
 * that is not a multiple of the file's page size. That page size is asked of the file system,
 * as hugetlbfs maps in its own units only.
 *
 * Mappings are shared, never locked (pins break postcopy and ballooning), not part of core
 * dumps, and never executable.
 */

#include "memory/region.h"

#include "base/log.h"
#include "base/util.h"
#include "memory/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static int check_numbers(const struct ob_region_info *info, const struct ob_log *log)
{
    if (!info->size || range_wraps(info->driver_addr, info->size) ||
        range_wraps(info->ring_addr, info->size) || range_wraps(info->file_offset, info->size)) {
        log_error(log,
                  "memory region refused: size 0x%" PRIx64 " at guest address 0x%" PRIx64
                  ", user address 0x%" PRIx64 ", file offset 0x%" PRIx64
                  " is empty or wraps around",
                  info->size, info->driver_addr, info->ring_addr, info->file_offset);
        return -EINVAL;
    }
    return 0;
}

static int file_page_size(int fd, uint64_t *ret)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0)
        return -errno;
    *ret = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : (uint64_t)sysconf(_SC_PAGESIZE);
    return is_power_of_two(*ret) ? 0 : -EINVAL;
}

static int check_file(const struct ob_region_info *info, int fd, const struct ob_log *log)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode) && !range_inside(info->file_offset, info->size, (uint64_t)st.st_size)) {
        log_error(log,
                  "memory region refused: offset 0x%" PRIx64 " and size 0x%" PRIx64
                  " reach beyond the end of its file, 0x%" PRIx64,
                  info->file_offset, info->size, (uint64_t)st.st_size);
        return -EINVAL;
    }
    return 0;
}

static int region_map(struct region *region, int fd, const struct ob_log *log)
{
    const struct ob_region_info *info = &region->info;
    uint64_t page = 0, before;
    int prot = (info->access & OB_ACCESS_READ ? PROT_READ : 0) |
               (info->access & OB_ACCESS_WRITE ? PROT_WRITE : 0);
    int result = file_page_size(fd, &page);

    if (result < 0)
        return result;
    before = info->file_offset & (page - 1);
    if (range_wraps(info->size, before + page))
        return -EINVAL;
    region->length = (size_t)((info->size + before + page - 1) & ~(page - 1));
    region->base = mmap(NULL, region->length, prot, MAP_SHARED | MAP_NORESERVE, fd,
                        (off_t)(info->file_offset - before));
    if (region->base == MAP_FAILED) {
        result = -errno;
        log_error(log, "cannot map a memory region of 0x%" PRIx64 " bytes at file offset 0x%" PRIx64
                  ": errno %d", info->size, info->file_offset, -result);
        return result;
    }
    region->host = (uint8_t *)region->base + before;
    madvise(region->base, region->length, MADV_DONTDUMP);
    return 0;
}

int region_new(const struct ob_region_info *info, int fd, bool *faulted,
               const struct ob_log *log, struct region **ret)
{
    struct region *region;
    int result = check_numbers(info, log);

    if (!result)
        result = check_file(info, fd, log);
    if (result < 0)
        return result;
    region = calloc(1, sizeof(*region));
    if (!region)
        return -ENOMEM;
    region->info = *info;
    region->refs = 1;
    result = region_map(region, fd, log);
    if (result < 0) {
        free(region);
        return result;
    }
    region->fault_slot = fault_register(region->base, region->length, faulted);
    if (region->fault_slot < 0) {
        result = region->fault_slot;
        munmap(region->base, region->length);
        free(region);
        return result;
    }
    *ret = region;
    return 0;
}

struct region *region_ref(struct region *region)
{
    region->refs++;
    return region;
}

void region_unref(struct region *region)
{
    if (--region->refs)
        return;
    fault_unregister(region->fault_slot);
    munmap(region->base, region->length);
    free(region);
}
