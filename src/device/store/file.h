/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_STORE_FILE_H
#define DEVICE_STORE_FILE_H

/*
 * What the parts of the file store share: file.c opens and closes, file_probe.c finds out what
 * a file can do, file_queue.c is the fast path on io_uring, file_slow.c what blocks.
 */

#include "device/store.h"
#include "device/store/offload.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct file {
    struct store store;
    const struct ob_log *log;
    char *path;
    int fd;
    bool block_device;
    uint32_t logical_block; /* of a block device: what it discards and zeroes by */
    bool in_memory;        /* tmpfs: a transfer is a copy and is done at once */
    bool direct;           /* O_DIRECT: the next two hold */
    uint32_t memory_align; /* of addresses */
    uint32_t direct_align; /* of offsets and of the length of each range */
    struct offload *offload;

    /* Held by pool threads while they sync what is in the page cache: the kernel tells of each
     * error once, and only one of those who sync at the time. */
    pthread_mutex_t sync_lock;

    /* Set, never cleared, by any thread that finds out. */
    bool no_zero_range;
    bool no_punch;
    bool no_ring;
    bool sync_failed; /* the page cache lost something that was written */
};

/*
 * Fills in what the file is like: store.info, block_device, in_memory, direct and the
 * alignments; switches direct I/O on. 0, or -errno with the cause in the log.
 */
int file_probe(struct file *file, const struct store_options *options);

/* Bytes in the file or block device. 0, or -errno with the cause in the log. */
int file_capacity(const struct file *file, uint64_t *ret);

/* The pool's function: serves a request by calls that block, from io->progress on, and posts
 * it to the queue that it came from. */
void file_slow_serve(struct store_io *io, struct offload_scratch *scratch);

/* Keeps in mind that a request could not be made durable, if it was to be. */
void file_note_sync(struct file *file, const struct store_io *io, int result);

/* One system call's worth of a READ or WRITE of a whole request. Bytes or -errno. */
int64_t file_transfer_once(const struct file *file, const struct store_io *io);

/* True if direct I/O takes these ranges as they are. */
bool file_aligned(const struct file *file, const struct iovec *iov, unsigned n_iov);

/* The verbs of a queue. */
int file_queue_open(struct store *store, const struct store_queue_options *options,
                    struct store_queue **ret);
enum store_submit file_queue_submit(struct store_queue *queue, struct store_io *io);
void file_queue_push(struct store_queue *queue);
unsigned file_queue_reap(struct store_queue *queue, struct store_io **ios, unsigned max);
bool file_queue_pending(struct store_queue *queue);
void file_queue_close(struct store_queue *queue);

/* Hands a request that the pool has served to its queue. Any thread. */
void file_queue_post(struct store_io *io);

#endif
