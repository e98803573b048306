/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request of the block device (virtio 1.3, 5.2.6), on its queue's worker:
 *
 *   to read    a header of 16 bytes, then the data of OUT, or the segments of DISCARD and
 *              WRITE_ZEROES
 *   to write   the data of IN or GET_ID, then one status byte, the very last
 *
 * in any layout. Nearly all drivers give the header and the status a descriptor each, and that
 * is cut quickly; everything else goes the long way, with the same outcome. Header and segments
 * are copied out of shared memory once and then checked; data goes between guest and store
 * untouched.
 *
 * What is wrong with a request is said in its status byte. A chain without a byte to say it in
 * breaks its queue: the driver would wait for it for ever.
 *
 * Bytes written (2.7.8.2) may be told too low, never too high. So a failed read tells none, as
 * nobody knows what is in its buffer.
 */

#include "device/blk.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SECTOR_SHIFT 9

/* Kept out of the way of reads and writes. */
#define slow_path __attribute__((noinline))

/* Not a status: the store has the request, or has served it. */
#define TO_STORE 0xff

/* One copy out of shared memory, at any address. */
static always_inline uint32_t copy_32(const void *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof(value));
    __asm__ volatile("" : "+r"(value)); /* which is not done again */
    return value;
}

static always_inline uint64_t copy_64(const void *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof(value));
    __asm__ volatile("" : "+r"(value));
    return value;
}

/* Ranges are nearly always one. */
static always_inline uint64_t bytes(const struct iovec *iov, unsigned n)
{
    uint64_t sum = n ? iov->iov_len : 0;

    for (unsigned i = 1; unlikely(i < n); i++)
        sum += iov[i].iov_len;
    return sum;
}

/* Tells the driver, and ends the request. */
static always_inline void finish(struct blk_queue *queue, struct blk_request *request,
                                 uint8_t status)
{
    uint32_t written = request->filled;

    *request->status = status;
    if (unlikely(status != VIRTIO_BLK_S_OK)) {
        counter_add(&queue->counters->errors, 1);
        written = 0;
    } else {
        counter_add(&queue->counters->bytes_in, written);
    }
    if (written == request->in)
        written++;
    ob_queue_complete(queue->queue, &request->chain, written);
}

/* True if a range is on the disk and made of whole blocks. */
static always_inline bool range_fits(const struct blk *blk, uint64_t sector, uint64_t length)
{
    uint64_t block_mask = blk->block_size - 1;

    return !(length & block_mask) && !(sector & (block_mask >> SECTOR_SHIFT)) &&
           range_inside(sector, length >> SECTOR_SHIFT, load_once(&blk->sectors));
}

static uint8_t status_of(int result)
{
    if (!result)
        return VIRTIO_BLK_S_OK;
    return result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* Says what the store could not do; the second time, the fourth, the eighth ... */
static slow_path void log_failure(struct blk *blk, const struct store_io *io)
{
    static const char *const names[] = {"read", "write", "flush", "discard", "write of zeros"};
    uint64_t failures = __atomic_add_fetch(&blk->failures, 1, __ATOMIC_RELAXED);

    if (is_power_of_two(failures))
        log_error(blk->log,
                  "a %s of %" PRIu64 " bytes at %" PRIu64 " failed: %s (%" PRIu64
                  " failures so far)",
                  names[io->op], io->length, io->offset, strerror(-io->result), failures);
}

static bool submit(struct blk_queue *queue, struct store_io *io)
{
    return queue->ops->submit(queue->store, io) == STORE_DONE;
}

static void fill_segment(struct blk_request *request)
{
    const struct virtio_blk_discard_write_zeroes *segment = &request->segments[request->segment];
    struct store_io *io = &request->io;

    io->offset = segment->sector << SECTOR_SHIFT;
    io->length = (uint64_t)segment->num_sectors << SECTOR_SHIFT;
    if (segment->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
        io->flags |= STORE_UNMAP;
    else
        io->flags &= (uint8_t)~STORE_UNMAP;
}

/* The store is done with all of the request. */
static always_inline void end(struct blk_queue *queue, struct blk_request *request)
{
    const struct store_io *io = &request->io;

    if (unlikely(io->result))
        log_failure(queue->blk, io);
    else if (io->op == STORE_WRITE)
        counter_add(&queue->counters->bytes_out, io->length);
    finish(queue, request, status_of(io->result));
}

/* The store is done with one segment: the next one, or the end. */
static slow_path void segment_done(struct blk_queue *queue, struct blk_request *request)
{
    while (!request->io.result && request->segment + 1 < request->n_segments) {
        request->segment++;
        fill_segment(request);
        if (!submit(queue, &request->io))
            return;
    }
    end(queue, request);
}

static always_inline uint8_t to_store(struct blk_queue *queue, struct blk_request *request)
{
    if (submit(queue, &request->io))
        end(queue, request);
    return TO_STORE;
}

/* wrong: bytes in the other direction, which would be dropped without a word. */
static always_inline uint8_t start_transfer(struct blk_queue *queue, struct blk_request *request,
                                            enum store_op op, uint64_t sector,
                                            const struct iovec *iov, unsigned n_iov,
                                            uint64_t length, uint64_t wrong)
{
    const struct blk *blk = queue->blk;
    bool read = op == STORE_READ;

    if (unlikely(wrong || length > BLK_DATA_MAX || !range_fits(blk, sector, length)))
        return VIRTIO_BLK_S_IOERR;
    if (unlikely(!read && blk->read_only))
        return VIRTIO_BLK_S_IOERR;
    if (unlikely(!length))
        return VIRTIO_BLK_S_OK;
    request->filled = read ? (uint32_t)length : 0;
    request->io.iov = iov;
    request->io.n_iov = n_iov;
    request->io.op = (uint8_t)op;
    request->io.flags = !read && load_once(&blk->write_through) ? STORE_FUA : 0;
    request->io.offset = sector << SECTOR_SHIFT;
    request->io.length = length;
    queue->bytes += length;
    return to_store(queue, request);
}

static uint8_t start_flush(struct blk_queue *queue, struct blk_request *request)
{
    request->io.n_iov = 0;
    request->io.op = STORE_FLUSH;
    request->io.flags = 0;
    request->io.offset = 0;
    request->io.length = 0;
    return to_store(queue, request);
}

/* 5.2.6.2: unknown flags, and the unmap flag in a discard, are not supported. */
static uint8_t check_segment(const struct blk *blk, enum store_op op,
                             const struct virtio_blk_discard_write_zeroes *segment)
{
    uint32_t known = op == STORE_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    uint64_t length = (uint64_t)segment->num_sectors << SECTOR_SHIFT;

    if (segment->flags & ~known)
        return VIRTIO_BLK_S_UNSUPP;
    if (length > blk->store->info.range_max || !range_fits(blk, segment->sector, length))
        return VIRTIO_BLK_S_IOERR;
    return VIRTIO_BLK_S_OK;
}

/* Copies the segments into the request. Their number; 0 if that is not right. */
static unsigned take_segments(struct blk_request *request, const struct iovec *iov, unsigned n_iov)
{
    uint64_t length = bytes(iov, n_iov);
    char *to = (char *)request->segments;

    if (!length || length % sizeof(request->segments[0]) || length > sizeof(request->segments))
        return 0;
    for (unsigned i = 0; i < n_iov; i++)
        to = mempcpy(to, iov[i].iov_base, iov[i].iov_len);
    return (unsigned)(length / sizeof(request->segments[0]));
}

static uint8_t start_segments(struct blk_queue *queue, struct blk_request *request,
                              enum store_op op, const struct iovec *iov, unsigned n_iov)
{
    const struct blk *blk = queue->blk;
    unsigned n = 0;

    if (blk->read_only)
        return VIRTIO_BLK_S_IOERR;
    if (op == STORE_DISCARD && !blk->store->info.discard)
        return VIRTIO_BLK_S_UNSUPP;
    unsigned given = take_segments(request, iov, n_iov);
    if (!given)
        return VIRTIO_BLK_S_IOERR;
    /* All are checked before the first has an effect; empty ones are dropped. */
    for (unsigned i = 0; i < given; i++) {
        uint8_t status = check_segment(blk, op, &request->segments[i]);
        if (status != VIRTIO_BLK_S_OK)
            return status;
        if (request->segments[i].num_sectors)
            request->segments[n++] = request->segments[i];
    }
    if (!n)
        return VIRTIO_BLK_S_OK;
    request->segment = 0;
    request->n_segments = (uint8_t)n;
    request->io.n_iov = 0;
    request->io.op = (uint8_t)op;
    request->io.flags = op == STORE_WRITE_ZEROES && load_once(&blk->write_through) ? STORE_FUA : 0;
    fill_segment(request);
    if (submit(queue, &request->io))
        segment_done(queue, request);
    return TO_STORE;
}

/* 5.2.6: 20 bytes, padded with zeros, without one at the end if all are used. */
static uint8_t get_id(const struct blk_queue *queue, struct blk_request *request,
                      const struct iovec *iov, unsigned n_iov)
{
    const struct blk *blk = queue->blk;
    size_t left = sizeof(blk->serial);
    const char *from = blk->serial;

    for (unsigned i = 0; i < n_iov && left; i++) {
        size_t len = min_u64(left, iov[i].iov_len);
        memcpy(iov[i].iov_base, from, len);
        from += len;
        left -= len;
    }
    request->filled = (uint32_t)(sizeof(blk->serial) - left);
    return VIRTIO_BLK_S_OK;
}

static slow_path uint8_t start_other(struct blk_queue *queue, struct blk_request *request,
                                     uint32_t type, const struct iovec *iov, unsigned n_out,
                                     unsigned n_in)
{
    switch (type) {
    case VIRTIO_BLK_T_FLUSH: return start_flush(queue, request);
    case VIRTIO_BLK_T_GET_ID: return get_id(queue, request, iov + n_out, n_in);
    case VIRTIO_BLK_T_DISCARD: return start_segments(queue, request, STORE_DISCARD, iov, n_out);
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return start_segments(queue, request, STORE_WRITE_ZEROES, iov, n_out);
    default: return VIRTIO_BLK_S_UNSUPP;
    }
}

/* Serves a request without its header and status: iov has n_out ranges of data to read, and
 * then n_in to write. */
static always_inline void start(struct blk_queue *queue, struct blk_request *request, uint32_t type,
                                uint64_t sector, const struct iovec *iov, unsigned n_out,
                                unsigned n_in)
{
    uint64_t in = bytes(iov + n_out, n_in);
    uint8_t status;

    request->in = (uint32_t)min_u64(in, UINT32_MAX);
    request->filled = 0;
    request->n_segments = 0;
    if (likely(type == VIRTIO_BLK_T_IN))
        status = start_transfer(queue, request, STORE_READ, sector, iov + n_out, n_in, in,
                                bytes(iov, n_out));
    else if (likely(type == VIRTIO_BLK_T_OUT))
        status =
            start_transfer(queue, request, STORE_WRITE, sector, iov, n_out, bytes(iov, n_out), in);
    else
        status = start_other(queue, request, type, iov, n_out, n_in);
    if (unlikely(status != TO_STORE))
        finish(queue, request, status);
}

/* The long way: any layout. */
static slow_path void start_any(struct blk_queue *queue, struct blk_request *request)
{
    struct ob_chain *chain = &request->chain;
    struct virtio_blk_outhdr header;

    if (!ob_chain_take_back(chain, &request->status, 1)) {
        ob_queue_break(queue->queue, "a request has no byte for its status");
        ob_queue_complete(queue->queue, chain, 0);
        return;
    }
    if (!ob_chain_take_front(chain, &header, sizeof(header))) {
        request->in = (uint32_t)min_u64(ob_chain_writable(chain), UINT32_MAX);
        request->filled = 0;
        finish(queue, request, VIRTIO_BLK_S_IOERR);
        return;
    }
    start(queue, request, header.type, header.sector, chain->iov, chain->n_out, chain->n_in);
}

void blk_request_start(struct blk_queue *queue, struct blk_request *request)
{
    const struct ob_chain *chain = &request->chain;
    const struct iovec *iov = chain->iov;
    const struct iovec *last = &iov[chain->n_out + chain->n_in - 1];

    /* A header and a status byte in ranges of their own; else last may not even be one. */
    if (unlikely(!chain->n_out || !chain->n_in || last->iov_len != 1 ||
                 iov->iov_len != sizeof(struct virtio_blk_outhdr))) {
        start_any(queue, request);
        return;
    }
    const uint8_t *header = iov->iov_base; /* of any alignment */
    request->status = last->iov_base;
    start(queue, request, copy_32(header + offsetof(struct virtio_blk_outhdr, type)),
          copy_64(header + offsetof(struct virtio_blk_outhdr, sector)), iov + 1,
          chain->n_out - 1u, chain->n_in - 1u);
}

void blk_request_continue(struct blk_queue *queue, struct blk_request *request)
{
    if (unlikely(!ob_queue_chain_live(queue->queue, &request->chain))) {
        /* Its driver is gone, and gets no status; what was under way has ended. */
        ob_queue_complete(queue->queue, &request->chain, 0);
        return;
    }
    if (unlikely(request->n_segments))
        segment_done(queue, request);
    else
        end(queue, request);
}
