/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding out what a file or a block device can do, once, as it is opened. What the disk will
 * offer must work later, so each ability is asked for where the kernel tells, and tried
 * where it does not, in ways that change nothing.
 *
 * The logical block size of the disk is the unit that direct I/O takes, so that no request ever
 * needs a read before its write. A user may want smaller blocks, for a disk that was made with
 * them: then the page cache is the one to read before writing, and direct I/O stays off.
 */

#include "device/store/file.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Larger units than this are hints for throughput, not for what a disk's sector is. */
#define PHYSICAL_BLOCK_MAX 4096u

/* Bytes in one discard: what the kernel does in a second or so. */
#define RANGE_MAX (1u << 30)

/* Alignments tried where the kernel does not tell, the best first. */
static const struct {
    uint32_t memory;
    uint32_t offset;
} alignments[] = {{512, 512}, {4096, 512}, {4096, 4096}};

int file_capacity(const struct file *file, uint64_t *ret)
{
    struct stat stat_buf;
    uint64_t bytes;

    int failed =
        file->block_device ? ioctl(file->fd, BLKGETSIZE64, &bytes) : fstat(file->fd, &stat_buf);
    if (failed < 0) {
        int error = -errno;
        log_error(file->log, "cannot get the size of '%s': %s", file->path, strerror(-error));
        return error;
    }
    *ret = file->block_device ? bytes : (uint64_t)stat_buf.st_size;
    return 0;
}

/* An attribute of a block device's queue (of the whole disk's, for a partition); 0 if unknown. */
static uint64_t queue_attribute(const struct file *file, const char *name)
{
    static const char *const folders[] = {"", "/.."};
    struct stat stat_buf;
    char path[128];

    if (fstat(file->fd, &stat_buf) < 0)
        return 0;
    for (unsigned i = 0; i < array_size(folders); i++) {
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/queue/%s", major(stat_buf.st_rdev),
                 minor(stat_buf.st_rdev), folders[i], name);
        FILE *stream = fopen(path, "re");
        if (stream) {
            unsigned long long value = 0;
            int n = fscanf(stream, "%llu", &value);
            fclose(stream);
            return n == 1 ? value : 0;
        }
    }
    return 0;
}

static int probe_block_device(struct file *file)
{
    struct store_info *info = &file->store.info;
    int logical = 0, read_only = 0;
    unsigned physical = 0, optimal = 0;

    if (ioctl(file->fd, BLKSSZGET, &logical) < 0 || ioctl(file->fd, BLKPBSZGET, &physical) < 0 ||
        ioctl(file->fd, BLKIOOPT, &optimal) < 0 || ioctl(file->fd, BLKROGET, &read_only) < 0) {
        int error = -errno;
        log_error(file->log, "cannot get the geometry of '%s': %s", file->path, strerror(-error));
        return error;
    }
    if (read_only && !info->read_only) {
        log_error(file->log, "'%s' is a read-only device: serve it read-only", file->path);
        return -EROFS;
    }
    file->logical_block = (uint32_t)logical;
    file->direct_align = (uint32_t)logical;
    file->memory_align = (uint32_t)logical;
    info->physical_block_size = physical;
    info->optimal_io = optimal;
    info->discard_granularity = (uint32_t)queue_attribute(file, "discard_granularity");
    info->zero_unmaps = queue_attribute(file, "write_zeroes_max_bytes") > 0;
    info->discard = info->zero_unmaps || queue_attribute(file, "discard_max_bytes") > 0;
    return 0;
}

static int probe_regular(struct file *file)
{
    struct store_info *info = &file->store.info;
    struct stat stat_buf;
    struct statfs fs;

    if (fstat(file->fd, &stat_buf) < 0 || fstatfs(file->fd, &fs) < 0) {
        int error = -errno;
        log_error(file->log, "cannot get the properties of '%s': %s", file->path, strerror(-error));
        return error;
    }
    uint32_t unit = is_power_of_two(stat_buf.st_blksize) ? (uint32_t)stat_buf.st_blksize : 0;
    file->in_memory = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
    info->physical_block_size = (uint32_t)min_u64(unit, PHYSICAL_BLOCK_MAX);
    info->optimal_io = unit > PHYSICAL_BLOCK_MAX ? unit : 0;
    info->discard_granularity = unit;

    /* Beyond the end there is nothing to lose. */
    off_t beyond = (off_t)((stat_buf.st_size + 0xfffff) & ~0xfffffLL);
    info->discard = !info->read_only &&
                    !fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, beyond, 4096);
    info->zero_unmaps = info->discard;
    return 0;
}

/* What the kernel says about direct I/O. 1: told (alignments of 0: there is none); 0: not told. */
static int ask_alignment(struct file *file)
{
#ifdef STATX_DIOALIGN
    struct statx statx_buf;

    memset(&statx_buf, 0, sizeof(statx_buf));
    if (!statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &statx_buf) &&
        statx_buf.stx_mask & STATX_DIOALIGN) {
        file->memory_align = statx_buf.stx_dio_mem_align;
        file->direct_align = statx_buf.stx_dio_offset_align;
        return 1;
    }
#endif
    return 0;
}

/* Tries what a regular file's direct I/O takes. False: none of what is tried. */
static bool try_alignment(struct file *file)
{
    char *buffer = aligned_alloc(8192, 16384);
    bool found = false;

    for (unsigned i = 0; buffer && !found && i < array_size(alignments); i++) {
        /* An address that is aligned to this and to no more. */
        ssize_t n = pread(file->fd, buffer + alignments[i].memory, alignments[i].offset, 0);
        if (n >= 0) {
            file->memory_align = alignments[i].memory;
            file->direct_align = alignments[i].offset;
            found = true;
        }
    }
    free(buffer);
    return found;
}

static int set_direct(const struct file *file, bool on)
{
    int flags = fcntl(file->fd, F_GETFL);

    return flags < 0 ? -errno : fcntl(file->fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

/* Switches direct I/O on where it can be. */
static void probe_direct(struct file *file, uint32_t wanted)
{
    if (file->in_memory)
        return; /* its pages are the page cache */
    if (set_direct(file, true) < 0) {
        log_info(file->log, "'%s' does not take direct I/O: it goes through the page cache",
                 file->path);
        return;
    }
    bool known = ask_alignment(file) || file->block_device || try_alignment(file);
    bool usable = known && is_power_of_two(file->memory_align) &&
                  is_power_of_two(file->direct_align) && file->direct_align <= STORE_BLOCK_MAX;

    if (usable && wanted && wanted < file->direct_align) {
        log_warning(file->log,
                    "'%s' takes direct I/O in blocks of %u bytes only: for blocks of %u it goes "
                    "through the page cache, which is slower",
                    file->path, file->direct_align, wanted);
        usable = false;
    } else if (!usable) {
        log_info(file->log, "'%s' does not take direct I/O: it goes through the page cache",
                 file->path);
    }
    if (!usable) {
        set_direct(file, false);
        return;
    }
    file->direct = true;
}

int file_probe(struct file *file, const struct store_options *options)
{
    struct store_info *info = &file->store.info;

    info->read_only = options->read_only;
    int error = file_capacity(file, &info->capacity);
    if (!error)
        error = file->block_device ? probe_block_device(file) : probe_regular(file);
    if (error)
        return error;
    if (!info->capacity) {
        log_error(file->log, "'%s' is empty: give it a size, as by truncate -s 10G '%s'",
                  file->path, file->path);
        return -EINVAL;
    }
    probe_direct(file, options->block_size);

    info->block_size = STORE_BLOCK_MIN;
    if (file->direct && file->direct_align > STORE_BLOCK_MIN)
        info->block_size = file->direct_align;
    if (info->physical_block_size < info->block_size)
        info->physical_block_size = info->block_size;
    if (info->discard_granularity < info->block_size)
        info->discard_granularity = info->block_size;
    info->range_max = RANGE_MAX;
    if (info->read_only)
        info->discard = info->zero_unmaps = false;
    return 0;
}
