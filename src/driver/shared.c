/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared memory of a driver
 *
 * One file holds all that the device may touch: for each queue its ring areas and its indirect
 * tables, then the caller's buffers. It is a memfd, sealed against shrinking so that neither
 * side can take it from under the other, or a file that the caller names, which cannot be
 * sealed. Ring areas begin at cache lines of their own; queues' parts at pages.
 */

#include "driver/shared.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "ring/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE 128 /* a pair of lines is fetched together */
#define PAGE 4096
#define HUGE_PAGE (2ul << 20)

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void lay_out(struct shared *shared, const struct ob_driver_options *options,
                    uint64_t features)
{
    struct ring_driver_bytes bytes = ring_driver_bytes(features, options->queue_size);
    size_t at = round_up(bytes.desc, LINE);

    shared->driver = at;
    at += round_up(bytes.driver, LINE);
    shared->device = at;
    at += round_up(bytes.device, LINE);
    shared->tables = at;
    if (features & feature_bit(VIRTIO_RING_F_INDIRECT_DESC))
        at += sizeof(struct vring_desc) * options->request_ranges * options->queue_size;
    shared->queue_bytes = round_up(at, PAGE);
    shared->buffers = shared->queue_bytes * options->n_queues;
    shared->bytes = round_up(shared->buffers + options->buffer_bytes,
                             options->hugepages ? HUGE_PAGE : PAGE);
}

static int open_memfd(struct shared *shared, const struct ob_driver_options *options)
{
    unsigned flags = MFD_CLOEXEC | (options->hugepages ? MFD_HUGETLB : MFD_ALLOW_SEALING);

    shared->fd = memfd_create("outboard-driver", flags);
    if (shared->fd < 0 || ftruncate(shared->fd, (off_t)shared->bytes) < 0) {
        int result = -errno;

        log_error(options->log, "cannot make %zu bytes of shared memory%s: %s", shared->bytes,
                  options->hugepages ? " of huge pages" : "", strerror(-result));
        return result;
    }
    if (!options->hugepages)
        fcntl(shared->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return 0;
}

static int open_file(struct shared *shared, const struct ob_driver_options *options)
{
    struct stat st;

    shared->file_offset = options->memory_offset;
    shared->fd = open(options->memory_file, O_RDWR | O_CLOEXEC);
    if (shared->fd < 0 || fstat(shared->fd, &st) < 0) {
        int result = -errno;

        log_error(options->log, "cannot open '%s' for shared memory: %s", options->memory_file,
                  strerror(-result));
        return result;
    }
    if (range_inside(shared->file_offset, shared->bytes, (uint64_t)st.st_size))
        return 0;
    log_error(options->log, "'%s' has %lld bytes, but %zu are needed from %llu on: enlarge it",
              options->memory_file, (long long)st.st_size, shared->bytes,
              (unsigned long long)shared->file_offset);
    return -EINVAL;
}

int shared_init(struct shared *shared, const struct ob_driver_options *options,
                uint64_t features)
{
    int result;

    *shared = (struct shared){.fd = -1};
    lay_out(shared, options, features);
    result = options->memory_file ? open_file(shared, options) : open_memfd(shared, options);
    if (result < 0) {
        shared_done(shared);
        return result;
    }
    shared->base = mmap(NULL, shared->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd,
                        (off_t)shared->file_offset);
    if (shared->base == MAP_FAILED) {
        result = -errno;
        log_error(options->log, "cannot map %zu bytes of shared memory: %s", shared->bytes,
                  strerror(-result));
        shared->base = NULL;
        shared_done(shared);
        return result;
    }
    memset(shared->base, 0, shared->bytes); /* a file may hold anything; and no faults later */
    return 0;
}

void shared_done(struct shared *shared)
{
    if (shared->base)
        munmap(shared->base, shared->bytes);
    fd_close(&shared->fd);
    shared->base = NULL;
}

struct ob_region_info shared_region(const struct shared *shared)
{
    return (struct ob_region_info){
        .driver_addr = SHARED_DRIVER_ADDR,
        .ring_addr = (uintptr_t)shared->base,
        .size = shared->bytes,
        .file_offset = shared->file_offset,
        .access = OB_ACCESS_BOTH,
    };
}

int shared_addr(const struct shared *shared, const void *memory, size_t len, uint64_t *ret)
{
    uint64_t offset = (uintptr_t)memory - (uintptr_t)shared->base;

    if (!range_inside(offset, len, shared->bytes))
        return -EINVAL;
    *ret = SHARED_DRIVER_ADDR + offset;
    return 0;
}
