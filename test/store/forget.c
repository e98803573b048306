/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store that forgets what was not flushed: forget:FILE[,seed=N].
 *
 * It stands for a disk with a volatile cache and for the power that fails. What is written is
 * kept in private memory, sector by sector, and goes to the file when it is flushed. Whoever
 * kills the program loses the rest, as a power failure would.
 *
 * A cache that loses everything would be too kind: it keeps the order of writes. So a part of
 * what is not flushed reaches the file at once, chosen by the seed: some writes whole, some cut
 * at a sector, most not at all. And requests end in a random order, some late, so that a driver
 * has several under way.
 *
 * A write with FUA goes to the file, and is durable there, before it is said to be complete.
 * Discarded sectors read as zeros, and a discard may be forgotten like a write. Closing the
 * store flushes it.
 *
 * Everything happens in reap(), on the worker; the one lock is for queues of several workers.
 * The program test/outboard-forget is "outboard" with this store beside the usual ones.
 */

#include "base/log.h"
#include "base/util.h"
#include "cli/cli.h"
#include "device/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512u

/* Most bytes looked at in one step. */
#define CHUNK (64u << 10)

static const char seed_option[] = ",seed=";

struct forget {
    struct store store;
    const struct ob_log *log;
    int fd;
    pthread_mutex_t lock; /* of all below */
    uint64_t random;
    char *cache;     /* sectors as they were last written, where unflushed says so */
    bool *unflushed; /* by sector: the cache has what the file may not have */
    char buffer[CHUNK];
};

struct forget_queue {
    struct store_queue queue;
    struct store_io *waiting;
    unsigned n_waiting;
};

/* xorshift64*: the same numbers for the same seed everywhere. */
static uint64_t draw(struct forget *forget, uint64_t below)
{
    forget->random ^= forget->random >> 12;
    forget->random ^= forget->random << 25;
    forget->random ^= forget->random >> 27;
    return (forget->random * 0x2545f4914f6cdd1dull >> 11) % below;
}

static int write_file(const struct forget *forget, const char *from, uint64_t offset,
                      uint64_t length)
{
    while (length) {
        ssize_t n = pwrite(forget->fd, from, length, (off_t)offset);
        if (n <= 0)
            return n ? -errno : -EIO;
        from += n;
        offset += (uint64_t)n;
        length -= (uint64_t)n;
    }
    return 0;
}

static int read_file(const struct forget *forget, char *to, uint64_t offset, uint64_t length)
{
    while (length) {
        ssize_t n = pread(forget->fd, to, length, (off_t)offset);
        if (n <= 0)
            return n ? -errno : -EIO;
        to += n;
        offset += (uint64_t)n;
        length -= (uint64_t)n;
    }
    return 0;
}

/* The end of the run of sectors from offset on that are all in the cache, or all not. */
static uint64_t run_end(const struct forget *forget, uint64_t offset, uint64_t end)
{
    bool cached = forget->unflushed[offset / SECTOR];
    uint64_t at = offset;

    while (at < end && forget->unflushed[at / SECTOR] == cached)
        at += SECTOR;
    return at;
}

/* Writes a range out of the cache to the file, and forgets that it was not there. */
static int flush_range(struct forget *forget, uint64_t offset, uint64_t end)
{
    int error = 0;

    while (offset < end && !error) {
        uint64_t run = run_end(forget, offset, end);
        if (forget->unflushed[offset / SECTOR]) {
            error = write_file(forget, forget->cache + offset, offset, run - offset);
            if (!error)
                memset(&forget->unflushed[offset / SECTOR], false, (run - offset) / SECTOR);
        }
        offset = run;
    }
    return error;
}

static int flush(struct forget *forget)
{
    int error = flush_range(forget, 0, forget->store.info.capacity);

    if (!error && fdatasync(forget->fd) < 0)
        error = -errno;
    if (!error)
        madvise(forget->cache, forget->store.info.capacity, MADV_DONTNEED);
    return error;
}

/* What the cache, or else the file, holds. */
static int look(struct forget *forget, char *to, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    int error = 0;

    while (offset < end && !error) {
        uint64_t run = run_end(forget, offset, end);
        if (forget->unflushed[offset / SECTOR])
            memcpy(to, forget->cache + offset, run - offset);
        else
            error = read_file(forget, to, offset, run - offset);
        to += run - offset;
        offset = run;
    }
    return error;
}

/* A part of what was just written reaches the file before its time. */
static int leak(struct forget *forget, uint64_t offset, uint64_t length)
{
    uint64_t n_sectors = length / SECTOR;

    switch (draw(forget, 4)) {
    case 0: break; /* all of it */
    case 1: n_sectors = draw(forget, n_sectors + 1); break;
    default: return 0;
    }
    /* The cache stays: it is what a flush has to bring. */
    return write_file(forget, forget->cache + offset, offset, n_sectors * SECTOR);
}

/* The cache has the new contents of a range. */
static int written(struct forget *forget, const struct store_io *io)
{
    memset(&forget->unflushed[io->offset / SECTOR], true, io->length / SECTOR);
    if (!(io->flags & STORE_FUA))
        return leak(forget, io->offset, io->length);
    int error = flush_range(forget, io->offset, io->offset + io->length);
    if (!error && fdatasync(forget->fd) < 0)
        error = -errno;
    return error;
}

static int do_read(struct forget *forget, const struct store_io *io)
{
    uint64_t offset = io->offset, left = io->length;
    const struct iovec *iov = io->iov;
    size_t filled = 0; /* of *iov */
    int error = 0;

    while (left && !error) {
        uint64_t length = min_u64(left, CHUNK), taken = 0;
        error = look(forget, forget->buffer, offset, length);
        while (taken < length) {
            size_t part = min_u64(length - taken, iov->iov_len - filled);
            memcpy((char *)iov->iov_base + filled, forget->buffer + taken, part);
            taken += part;
            filled += part;
            if (filled == iov->iov_len) {
                iov++;
                filled = 0;
            }
        }
        offset += length;
        left -= length;
    }
    return error;
}

static int do_write(struct forget *forget, const struct store_io *io)
{
    char *to = forget->cache + io->offset;

    for (unsigned i = 0; i < io->n_iov; i++)
        to = mempcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
    return written(forget, io);
}

static int do_zero(struct forget *forget, const struct store_io *io)
{
    memset(forget->cache + io->offset, 0, io->length);
    return written(forget, io);
}

static void carry_out(struct forget *forget, struct store_io *io)
{
    pthread_mutex_lock(&forget->lock);
    if (!range_inside(io->offset, io->length, forget->store.info.capacity)) {
        io->result = -EIO;
    } else {
        switch (io->op) {
        case STORE_READ: io->result = do_read(forget, io); break;
        case STORE_WRITE: io->result = do_write(forget, io); break;
        case STORE_FLUSH: io->result = flush(forget); break;
        default: io->result = do_zero(forget, io); break;
        }
    }
    pthread_mutex_unlock(&forget->lock);
}

static enum store_submit forget_submit(struct store_queue *store_queue, struct store_io *io)
{
    struct forget_queue *queue = container_of(store_queue, struct forget_queue, queue);

    io->next = queue->waiting;
    queue->waiting = io;
    queue->n_waiting++;
    return STORE_QUEUED;
}

/* Ends one of those that wait, any. */
static struct store_io *end_one(struct forget *forget, struct forget_queue *queue, uint64_t which)
{
    struct store_io **at = &queue->waiting;

    while (which--)
        at = &(*at)->next;
    struct store_io *io = *at;
    *at = io->next;
    queue->n_waiting--;
    carry_out(forget, io);
    return io;
}

static unsigned forget_reap(struct store_queue *store_queue, struct store_io **ios, unsigned max)
{
    struct forget_queue *queue = container_of(store_queue, struct forget_queue, queue);
    struct forget *forget = container_of(store_queue->store, struct forget, store);
    unsigned n = 0;

    while (n < max && queue->n_waiting) {
        pthread_mutex_lock(&forget->lock);
        bool stop = draw(forget, 3) == 0; /* the others have to wait */
        uint64_t which = draw(forget, queue->n_waiting);
        pthread_mutex_unlock(&forget->lock);
        if (stop)
            break;
        ios[n++] = end_one(forget, queue, which);
    }
    return n;
}

static bool forget_pending(struct store_queue *store_queue)
{
    return container_of(store_queue, struct forget_queue, queue)->n_waiting > 0;
}

static int forget_queue_open(struct store *store, const struct store_queue_options *options,
                             struct store_queue **ret)
{
    struct forget_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    queue->queue.store = store;
    *ret = &queue->queue;
    return 0;
}

static void forget_queue_close(struct store_queue *store_queue)
{
    free(container_of(store_queue, struct forget_queue, queue));
}

/* Splits FILE[,seed=N]. The path is to be freed. */
static int parse(const char *address, char **ret_path, uint64_t *ret_seed)
{
    const char *option = strstr(address, seed_option);
    char *end = NULL;

    *ret_seed = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    if (option) {
        *ret_seed = strtoull(option + strlen(seed_option), &end, 0);
        if (!option[strlen(seed_option)] || *end)
            return -EINVAL;
    }
    *ret_path = option ? strndup(address, (size_t)(option - address)) : strdup(address);
    return *ret_path ? 0 : -ENOMEM;
}

static int make_cache(struct forget *forget)
{
    struct stat stat_buf;

    if (fstat(forget->fd, &stat_buf) < 0)
        return -errno;
    uint64_t capacity = (uint64_t)stat_buf.st_size / SECTOR * SECTOR;
    if (!capacity)
        return -EINVAL;
    forget->store.info = (struct store_info){
        .capacity = capacity,
        .block_size = SECTOR,
        .physical_block_size = SECTOR, /* what is torn is torn here */
        .discard_granularity = SECTOR,
        .range_max = 16u << 20,
        .discard = true,
        .zero_unmaps = true,
    };
    forget->cache = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (forget->cache == MAP_FAILED) {
        forget->cache = NULL;
        return -errno;
    }
    forget->unflushed = calloc(capacity / SECTOR, sizeof(forget->unflushed[0]));
    return forget->unflushed ? 0 : -ENOMEM;
}

static void destroy(struct forget *forget)
{
    if (forget->cache)
        munmap(forget->cache, forget->store.info.capacity);
    if (forget->fd >= 0)
        close(forget->fd);
    pthread_mutex_destroy(&forget->lock);
    free(forget->unflushed);
    free(forget);
}

static const struct store_ops store_forget;

static int forget_open(const struct store_options *options, struct store **ret)
{
    struct forget *forget = calloc(1, sizeof(*forget));
    char *path = NULL;

    if (!forget)
        return -ENOMEM;
    forget->store.ops = &store_forget;
    forget->log = options->log;
    forget->fd = -1;
    pthread_mutex_init(&forget->lock, NULL);
    int error = parse(options->address, &path, &forget->random);
    if (!error) {
        log_info(options->log, "forgetting with seed %" PRIu64, forget->random);
        forget->random |= 1ull << 63; /* not zero */
        forget->fd = open(path, O_RDWR | O_CLOEXEC);
        error = forget->fd < 0 ? -errno : make_cache(forget);
    }
    free(path);
    if (error) {
        log_error(options->log, "cannot open 'forget:%s': %s", options->address, strerror(-error));
        destroy(forget);
        return error;
    }
    forget->store.info.read_only = options->read_only;
    *ret = &forget->store;
    return 0;
}

static int forget_close(struct store *store)
{
    struct forget *forget = container_of(store, struct forget, store);
    int error = flush(forget);

    if (error)
        log_error(forget->log, "cannot flush: %s", strerror(-error));
    destroy(forget);
    return error;
}

static const struct store_ops store_forget = {
    .size = sizeof(struct store_ops),
    .name = "forget",
    .address = "FILE[,seed=N]",
    .help = "a file that loses what was not flushed",
    .open = forget_open,
    .close = forget_close,
    .queue_open = forget_queue_open,
    .submit = forget_submit,
    .reap = forget_reap,
    .pending = forget_pending,
    .queue_close = forget_queue_close,
};

const struct store_ops *const cli_stores[] = {&store_file, &store_memory, &store_null,
                                              &store_forget, NULL};
