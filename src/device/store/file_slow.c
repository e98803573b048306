/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file store's calls that block, on the pool's threads: plain code from the beginning of a
 * request to its end. Nothing here belongs to a worker; a request is ours until it is posted.
 *
 * Transfers go on after short ones, so that the guest gets all, or the error that ended it:
 * ENOSPC, EIO, EFBIG. Reading where the file has ended meanwhile is EIO.
 *
 * Ranges that direct I/O does not take (firmware reads to odd addresses) are copied through
 * the thread's buffer. Offsets need no such care: they are multiples of the block size.
 *
 * The page cache tells once that it could not write something back, to the first who asks, and
 * then forgets it. But every queue's earlier writes are concerned, and the next flush would be
 * told that all is well. So from the first failure on, all flushes fail. With direct I/O there is
 * no such debt: each write has told its own result.
 *
 * Zeros, the cheapest way first:
 *
 *   may unmap   punch a hole
 *   may not     zero the range (extents turn into unwritten ones), or punch a hole and allocate
 *   otherwise   write zeros
 *
 * A block device takes the first two as well, and does in hardware what it can.
 */

#include "device/store/file.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

/* Written where nothing better makes zeros. */
static const char zeros[64 << 10] __attribute__((aligned(4096)));

bool file_aligned(const struct file *file, const struct iovec *iov, unsigned n_iov)
{
    uintptr_t address = 0;
    size_t length = 0;

    for (unsigned i = 0; i < n_iov; i++) {
        address |= (uintptr_t)iov[i].iov_base;
        length |= iov[i].iov_len;
    }
    return !(address & (file->memory_align - 1)) && !(length & (file->direct_align - 1));
}

static int rw_flags(const struct store_io *io)
{
    return io->flags & STORE_FUA ? RWF_DSYNC : 0;
}

static int64_t transfer(const struct file *file, const struct store_io *io, const struct iovec *iov,
                        unsigned n_iov, uint64_t offset)
{
    for (;;) {
        ssize_t n = io->op == STORE_READ
                        ? preadv2(file->fd, iov, (int)n_iov, (off_t)offset, 0)
                        : pwritev2(file->fd, iov, (int)n_iov, (off_t)offset, rw_flags(io));
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}

int64_t file_transfer_once(const struct file *file, const struct store_io *io)
{
    return transfer(file, io, io->iov, io->n_iov, io->offset);
}

/* Copies what lies between skip and skip + length of the ranges to ret. @return how many. */
static unsigned slice(struct iovec *ret, const struct store_io *io, uint64_t skip, uint64_t length)
{
    unsigned n = 0;

    for (unsigned i = 0; i < io->n_iov && length; i++) {
        struct iovec range = io->iov[i];
        if (skip >= range.iov_len) {
            skip -= range.iov_len;
            continue;
        }
        range.iov_base = (char *)range.iov_base + skip;
        range.iov_len = min_u64(range.iov_len - skip, length);
        skip = 0;
        length -= range.iov_len;
        ret[n++] = range;
    }
    return n;
}

/* The next piece, through the thread's buffer. Bytes or -errno. */
static int64_t bounce(const struct file *file, const struct store_io *io,
                      struct offload_scratch *scratch)
{
    uint64_t length = min_u64(io->length - io->progress, OFFLOAD_BOUNCE_SIZE);
    unsigned n_iov = slice(scratch->iov, io, io->progress, length);
    struct iovec one = {.iov_base = scratch->bounce, .iov_len = length};
    char *at = scratch->bounce;

    if (io->op == STORE_WRITE) {
        for (unsigned i = 0; i < n_iov; i++)
            at = mempcpy(at, scratch->iov[i].iov_base, scratch->iov[i].iov_len);
        return transfer(file, io, &one, 1, io->offset + io->progress);
    }
    int64_t result = transfer(file, io, &one, 1, io->offset + io->progress);
    size_t left = result > 0 ? (size_t)result : 0;
    for (unsigned i = 0; i < n_iov && left; i++) {
        size_t len = min_u64(scratch->iov[i].iov_len, left);
        memcpy(scratch->iov[i].iov_base, at, len);
        at += len;
        left -= len;
    }
    return result;
}

static int transfer_all(const struct file *file, struct store_io *io,
                        struct offload_scratch *scratch)
{
    bool bounced = file->direct && !file_aligned(file, io->iov, io->n_iov);

    while (io->progress < io->length) {
        int64_t result;
        /* A short transfer may end anywhere; what follows it is not aligned then. */
        if (bounced || (file->direct && io->progress & (file->direct_align - 1))) {
            result = bounce(file, io, scratch);
        } else {
            unsigned n_iov = slice(scratch->iov, io, io->progress, io->length - io->progress);
            result = transfer(file, io, scratch->iov, n_iov, io->offset + io->progress);
        }
        if (result == -EINVAL && file->direct && !bounced) {
            bounced = true; /* stricter than the kernel told */
            continue;
        }
        if (result <= 0)
            return result ? (int)result : -EIO;
        io->progress += (uint64_t)result;
    }
    return 0;
}

static int punch(struct file *file, const struct store_io *io)
{
    if (load_once(&file->no_punch))
        return -EOPNOTSUPP;
    if (!fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
                   (off_t)io->length))
        return 0;
    if (errno == EOPNOTSUPP)
        store_once(&file->no_punch, true);
    return -errno;
}

static int zero_range(struct file *file, const struct store_io *io)
{
    if (!load_once(&file->no_zero_range)) {
        if (!fallocate(file->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
                       (off_t)io->length))
            return 0;
        if (errno != EOPNOTSUPP)
            return -errno;
        store_once(&file->no_zero_range, true);
    }
    int error = punch(file, io);
    if (!error &&
        fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)io->offset, (off_t)io->length) < 0)
        error = -errno;
    return error;
}

static int write_zeros(const struct file *file, const struct store_io *io)
{
    for (uint64_t done = 0; done < io->length;) {
        ssize_t n = pwrite(file->fd, zeros, min_u64(sizeof(zeros), io->length - done),
                           (off_t)(io->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        done += (uint64_t)n;
    }
    return 0;
}

/* Past the end, ZERO_RANGE would only pretend. */
static bool inside(const struct file *file, const struct store_io *io)
{
    uint64_t capacity;

    return !file_capacity(file, &capacity) && range_inside(io->offset, io->length, capacity);
}

/* True if a block device takes these only by writing zeros. */
static bool cuts_blocks(const struct file *file, const struct store_io *io)
{
    return file->block_device && (io->offset | io->length) & (file->logical_block - 1);
}

static int make_zero(struct file *file, const struct store_io *io)
{
    int error = -EOPNOTSUPP;

    if (!inside(file, io))
        return -EIO;
    if (!cuts_blocks(file, io)) {
        if (io->flags & STORE_UNMAP)
            error = punch(file, io);
        if (error == -EOPNOTSUPP)
            error = zero_range(file, io);
    }
    if (error == -EOPNOTSUPP)
        error = write_zeros(file, io);
    return error;
}

/* A discard may do less than it is asked to: the blocks that are whole. */
static int discard(struct file *file, const struct store_io *io)
{
    uint64_t range[2] = {io->offset, io->length};

    if (cuts_blocks(file, io)) {
        uint64_t block = file->logical_block;

        range[0] = (io->offset + block - 1) & ~(block - 1);
        range[1] = (io->offset + io->length) & ~(block - 1);
        if (range[1] <= range[0])
            return 0;
        range[1] -= range[0];
    }
    if (file->block_device && !ioctl(file->fd, BLKDISCARD, range))
        return 0;
    return cuts_blocks(file, io) ? 0 : punch(file, io);
}

void file_note_sync(struct file *file, const struct store_io *io, int result)
{
    bool failed = io->op == STORE_FLUSH ? result < 0 : io->flags & STORE_FUA && result == -EIO;

    if (likely(!failed) || file->direct || load_once(&file->sync_failed))
        return;
    store_once(&file->sync_failed, true);
    log_error(file->log,
              "what was written to '%s' may be lost: all flushes fail until it is served anew",
              file->path);
}

static int sync_file(struct file *file)
{
    return fdatasync(file->fd) < 0 ? -errno : 0;
}

static int serve(struct file *file, struct store_io *io, struct offload_scratch *scratch)
{
    int error;

    switch (io->op) {
    case STORE_READ:
    case STORE_WRITE: return transfer_all(file, io, scratch);
    case STORE_FLUSH: return sync_file(file);
    case STORE_DISCARD: return discard(file, io);
    case STORE_WRITE_ZEROES:
        error = make_zero(file, io);
        return error || !(io->flags & STORE_FUA) ? error : sync_file(file);
    default: return -EOPNOTSUPP;
    }
}

/* What syncs the page cache, one at a time, so that an error that one is told fails all flushes
 * after it. A write that is to be durable speaks for itself only, and goes on. */
static void serve_sync(struct file *file, struct store_io *io, struct offload_scratch *scratch)
{
    pthread_mutex_lock(&file->sync_lock);
    if (io->op == STORE_FLUSH && load_once(&file->sync_failed))
        io->result = -EIO;
    else
        io->result = serve(file, io, scratch);
    file_note_sync(file, io, io->result);
    pthread_mutex_unlock(&file->sync_lock);
}

void file_slow_serve(struct store_io *io, struct offload_scratch *scratch)
{
    struct file *file = container_of(io->queue->store, struct file, store);

    if (!file->direct && (io->op == STORE_FLUSH || io->flags & STORE_FUA))
        serve_sync(file, io, scratch);
    else
        io->result = serve(file, io, scratch);
    file_queue_post(io);
}
