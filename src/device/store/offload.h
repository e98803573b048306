/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_STORE_OFFLOAD_H
#define DEVICE_STORE_OFFLOAD_H

#include "device/store.h"

#include <outboard/queue.h>

/* Bytes that a thread's bounce buffer holds. */
#define OFFLOAD_BOUNCE_SIZE (128u << 10)

/* What each thread has to itself. */
struct offload_scratch {
    struct iovec iov[OB_CHAIN_RANGES_MAX];
    char *bounce; /* OFFLOAD_BOUNCE_SIZE bytes, aligned to a page */
};

/* Serves a request, and hands it back (which the pool does not do). Any of the threads. */
typedef void (*offload_serve_fn)(struct store_io *io, struct offload_scratch *scratch);

struct offload;

/* Creates a pool with one thread, and more as they are needed. 0, -ENOMEM, -EAGAIN. */
int offload_new(unsigned max_threads, offload_serve_fn serve, struct offload **ret);

/* Ends the threads. Nothing was submitted that is not served. NULL is fine. */
void offload_free(struct offload *offload);

/* Has a request served by a thread. Never blocks. Any thread. */
void offload_submit(struct offload *offload, struct store_io *io);

#endif
