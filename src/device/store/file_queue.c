/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's way to its file: an io_uring of its own, made and used by the worker's thread only.
 *
 * Reads and writes carry RWF_NOWAIT: where the kernel would have to block, it says EAGAIN
 * instead of handing the request to a thread of its own, and the request goes on in the pool.
 * A file system that does not know RWF_NOWAIT says EOPNOTSUPP, and from then on requests of
 * that kind go to the pool at once. So do all where io_uring is not to be had (old kernels,
 * containers that forbid it).
 *
 * Submissions gather in the submission queue and enter the kernel once a burst, in push(),
 * which also has the kernel post completions (it does so only when we come along, which
 * saves interrupts: IORING_SETUP_DEFER_TASKRUN). While the worker polls, reap() just looks.
 *
 * Before it sleeps, and only if something is out, pending() switches the ring's eventfd on, and
 * then enters the kernel once more: what finished before that is posted then, and what
 * finishes later finds the eventfd on. So a busy queue is not signalled and an idle one is not
 * woken. (Watching the ring's own descriptor would not do: with DEFER_TASKRUN it becomes
 * readable without waking those who wait for that.)
 *
 * What the pool has served comes back as work posted to the worker's loop.
 */

#include "device/store/file.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <outboard/queue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* Submissions that gather at most before they enter the kernel. */
#define SUBMISSIONS_MAX 128

/* Completions looked at in one go. */
#define COMPLETIONS 64

/* The one registered file. */
#define REGISTERED 0

struct file_queue {
    struct store_queue queue;
    struct file *file;
    struct ob_loop *loop;
    void (*wake)(void *ctx);
    void *ctx;
    struct store_io *served; /* by the pool, to be reaped, the oldest first */
    struct store_io **served_end;

    bool ring_open;
    bool registered;
    bool may_block[2];     /* by op: the file does not know RWF_NOWAIT */
    bool signalling;       /* the eventfd is on */
    unsigned gathered;     /* in the submission queue */
    unsigned out;          /* gathered or in the kernel */
    struct ob_watch watch; /* of the eventfd, which is never read: each write is an edge */
    struct io_uring ring;
};

_Static_assert(STORE_READ < 2 && STORE_WRITE < 2, "may_block is by op");

static struct file_queue *of(struct store_queue *queue)
{
    return container_of(queue, struct file_queue, queue);
}

static void set_signalling(struct file_queue *queue, bool on)
{
    queue->signalling = on;
    io_uring_cq_eventfd_toggle(&queue->ring, on);
}

/* Worker: something has finished. */
static void ring_ready(struct ob_watch *watch, uint32_t events)
{
    struct file_queue *queue = container_of(watch, struct file_queue, watch);

    queue->wake(queue->ctx);
}

static unsigned round_up(unsigned value)
{
    unsigned power = 1;

    while (power < value)
        power *= 2;
    return power;
}

/* Makes the ring, with the newest of these ways that the kernel knows. */
static int ring_init(struct io_uring *ring, unsigned depth)
{
    static const unsigned ways[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int error = -EINVAL;

    for (unsigned i = 0; i < array_size(ways) && error == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = ways[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = round_up(depth),
        };
        unsigned entries = depth < SUBMISSIONS_MAX ? params.cq_entries : SUBMISSIONS_MAX;
        error = io_uring_queue_init_params(entries, ring, &params);
    }
    return error;
}

/* Gives the ring, which is there, the means to wake us. 0 or -errno. */
static int watch_ring(struct file_queue *queue)
{
    queue->watch = (struct ob_watch){
        .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .events = EPOLLIN | EPOLLET,
        .ready = ring_ready,
    };
    if (queue->watch.fd < 0)
        return -errno;
    int error = io_uring_register_eventfd(&queue->ring, queue->watch.fd);
    if (!error)
        error = ob_watch_add(queue->loop, &queue->watch);
    if (error)
        fd_close(&queue->watch.fd);
    return error;
}

static void ring_open(struct file_queue *queue, const struct store_queue_options *options)
{
    struct file *file = queue->file;
    int error = ring_init(&queue->ring, options->depth);

    if (!error) {
        error = watch_ring(queue);
        if (error)
            io_uring_queue_exit(&queue->ring);
    }
    if (error) {
        if (!__atomic_exchange_n(&file->no_ring, true, __ATOMIC_RELAXED))
            log_warning(options->log, "'%s' is served without io_uring, which is slower: %s",
                        file->path, strerror(-error));
        return;
    }
    set_signalling(queue, false);
    queue->registered = !io_uring_register_files(&queue->ring, &file->fd, 1);
    io_uring_register_ring_fd(&queue->ring); /* saves a little; older kernels lack it */
    queue->ring_open = true;
}

int file_queue_open(struct store *store, const struct store_queue_options *options,
                    struct store_queue **ret)
{
    struct file_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    queue->queue.store = store;
    queue->file = container_of(store, struct file, store);
    queue->loop = options->loop;
    queue->wake = options->wake;
    queue->ctx = options->ctx;
    queue->served_end = &queue->served;
    if (!queue->file->in_memory)
        ring_open(queue, options);
    *ret = &queue->queue;
    return 0;
}

void file_queue_close(struct store_queue *store_queue)
{
    struct file_queue *queue = of(store_queue);

    assert(!queue->out && !queue->served);
    if (queue->ring_open) {
        ob_watch_remove(&queue->watch);
        io_uring_queue_exit(&queue->ring);
        fd_close(&queue->watch.fd);
    }
    free(queue);
}

/* Worker: the pool has served this one. */
static void served(struct ob_work *work)
{
    struct store_io *io = container_of(work, struct store_io, work);
    struct file_queue *queue = of(io->queue);

    io->next = NULL;
    *queue->served_end = io;
    queue->served_end = &io->next;
    queue->wake(queue->ctx);
}

void file_queue_post(struct store_io *io)
{
    io->work.run = served;
    ob_loop_post(of(io->queue)->loop, &io->work);
}

/* The file is in memory: the call is the copy. */
static enum store_submit at_once(struct file_queue *queue, struct store_io *io)
{
    int64_t result = file_transfer_once(queue->file, io);

    if (likely(result == (int64_t)io->length)) {
        io->result = 0;
        return STORE_DONE;
    }
    /* Out of space, or at the end: the pool finds out which. */
    io->progress = result > 0 ? (uint64_t)result : 0;
    offload_submit(queue->file->offload, io);
    return STORE_QUEUED;
}

/* An entry of the submission queue; NULL if the kernel takes none now. */
static struct io_uring_sqe *get_entry(struct file_queue *queue)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);

    if (unlikely(!sqe)) {
        file_queue_push(&queue->queue);
        sqe = io_uring_get_sqe(&queue->ring);
    }
    return sqe;
}

static void fill_entry(const struct file_queue *queue, struct io_uring_sqe *sqe,
                       struct store_io *io)
{
    int fd = queue->registered ? REGISTERED : queue->file->fd;
    bool read = io->op == STORE_READ;
    const struct iovec *iov = io->iov;

    if (io->n_iov == 1 && read)
        io_uring_prep_read(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, io->offset);
    else if (io->n_iov == 1)
        io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, io->offset);
    else if (read)
        io_uring_prep_readv(sqe, fd, iov, io->n_iov, io->offset);
    else
        io_uring_prep_writev(sqe, fd, iov, io->n_iov, io->offset);
    sqe->rw_flags = io->flags & STORE_FUA ? RWF_NOWAIT | RWF_DSYNC : RWF_NOWAIT;
    sqe->flags |= queue->registered ? IOSQE_FIXED_FILE : 0;
    io_uring_sqe_set_data(sqe, io);
}

enum store_submit file_queue_submit(struct store_queue *store_queue, struct store_io *io)
{
    struct file_queue *queue = of(store_queue);
    struct file *file = queue->file;
    struct io_uring_sqe *sqe = NULL;

    io->queue = store_queue;
    io->progress = 0;
    if (unlikely(io->op > STORE_WRITE)) {
        if (file->in_memory && io->op == STORE_FLUSH) {
            io->result = 0; /* as durable as it will ever be */
            return STORE_DONE;
        }
        offload_submit(file->offload, io);
        return STORE_QUEUED;
    }
    if (file->in_memory)
        return at_once(queue, io);
    /* In the page cache, what is to be durable takes its turn with flushes. */
    if (likely(queue->ring_open && !queue->may_block[io->op] &&
               (file->direct || !(io->flags & STORE_FUA)) &&
               (!file->direct || file_aligned(file, io->iov, io->n_iov))))
        sqe = get_entry(queue);
    if (unlikely(!sqe)) {
        offload_submit(file->offload, io);
        return STORE_QUEUED;
    }
    fill_entry(queue, sqe, io);
    queue->gathered++;
    queue->out++;
    return STORE_QUEUED;
}

void file_queue_push(struct store_queue *store_queue)
{
    struct file_queue *queue = of(store_queue);

    while (queue->gathered) {
        int n = io_uring_submit_and_get_events(&queue->ring);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return; /* short of memory, or completions wait to be reaped: pending() says so */
        queue->gathered -= (unsigned)n < queue->gathered ? (unsigned)n : queue->gathered;
    }
}

/* A completion. True if the request is done, false if it goes on in the pool. */
static bool completed(struct file_queue *queue, struct store_io *io, int result)
{
    queue->out--;
    if (likely(result >= 0 && (uint64_t)result == io->length)) {
        io->result = 0;
        return true;
    }
    switch (result) {
    case -EOPNOTSUPP: queue->may_block[io->op] = true; break;
    case -EAGAIN:
    case -EINTR:
    case -EINVAL: /* an alignment that the kernel did not tell of, maybe */
    case -ECANCELED: break;
    default:
        if (result < 0) {
            io->result = result;
            return true;
        }
    }
    io->progress = result > 0 ? (uint64_t)result : 0;
    offload_submit(queue->file->offload, io);
    return false;
}

static unsigned reap_served(struct file_queue *queue, struct store_io **ios, unsigned max)
{
    unsigned n = 0;

    while (n < max && queue->served) {
        ios[n++] = queue->served;
        queue->served = queue->served->next;
    }
    if (!queue->served)
        queue->served_end = &queue->served;
    return n;
}

unsigned file_queue_reap(struct store_queue *store_queue, struct store_io **ios, unsigned max)
{
    struct file_queue *queue = of(store_queue);
    struct io_uring_cqe *cqes[COMPLETIONS];
    unsigned n = unlikely(queue->served) ? reap_served(queue, ios, max) : 0;

    if (unlikely(queue->signalling))
        set_signalling(queue, false);

    while (queue->out && n < max) {
        unsigned room = (unsigned)min_u64(max - n, COMPLETIONS);
        unsigned found = io_uring_peek_batch_cqe(&queue->ring, cqes, room);
        for (unsigned i = 0; i < found; i++) {
            struct store_io *io = io_uring_cqe_get_data(cqes[i]);
            if (completed(queue, io, cqes[i]->res))
                ios[n++] = io;
        }
        io_uring_cq_advance(&queue->ring, found);
        if (found < room)
            break;
    }
    return n;
}

bool file_queue_pending(struct store_queue *store_queue)
{
    struct file_queue *queue = of(store_queue);

    if (queue->served || queue->gathered)
        return true;
    if (!queue->out)
        return false;
    set_signalling(queue, true);
    /* The flag is seen by whoever finishes a request now, or the request by us. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    io_uring_get_events(&queue->ring);
    return io_uring_cq_ready(&queue->ring) > 0;
}
