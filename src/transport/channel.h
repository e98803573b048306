/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_CHANNEL_H
#define TRANSPORT_CHANNEL_H

#include "wire/vhost_user.h"

#include <outboard/device.h>
#include <outboard/memory.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a vhost-user session needs of the way by which its messages come: a Unix socket, a
 * PCI device in a guest, a fuzzer's bytes. A channel is owned by the session that it is given
 * to, and belongs to the control thread with all its verbs; none of them blocks.
 */
struct channel;

/* Descriptors that came with bytes. */
struct channel_fds {
    int fd[VHOST_USER_FDS_MAX]; /* owned by whoever holds the struct */
    unsigned count;
    bool excess; /* there were more than fit, and those were closed */
};

/* What a session waits for (channel_ops.watch); a bit mask. */
enum channel_interest {
    CHANNEL_READ = 1,
    CHANNEL_WRITE = 2,
};

struct channel_ops {
    size_t size; /* sizeof(struct channel_ops) */
    const char *name;

    /* Descriptors come with the messages and their number is checked; else the verbs below
     * get -1 for each and know by themselves what is meant. */
    bool carries_fds;

    /*
     * Takes 1 to len bytes of the stream, and the descriptors that came with them, which are
     * added to *fds. Never takes more than len: what follows may bring descriptors of its own.
     * The count of bytes; 0: the peer closed; -EAGAIN: nothing there; -errno.
     */
    int64_t (*recv)(struct channel *channel, void *buf, size_t len, struct channel_fds *fds);

    /* Sends 1 to len bytes. The count; -EAGAIN: no room; -errno (-EPIPE: the peer closed). */
    int64_t (*send)(struct channel *channel, const void *buf, size_t len);

    /* What to tell by channel.ready(); at first nothing. 0 or -errno. */
    int (*watch)(struct channel *channel, unsigned interest);

    /* False if the peer has surely gone, whatever is left to read. */
    bool (*alive)(struct channel *channel);

    /* Maps a region. Default: ob_memory_add() of the descriptor. fd is not consumed. */
    int (*add_region)(struct channel *channel, struct ob_memory *memory,
                      const struct ob_region_info *info, int fd);

    /* Checks *fd, or replaces it by the eventfd that kicks this ring. It is owned by the
     * caller before and after. Default: it must be an eventfd. 0 or -errno. */
    int (*kick_source)(struct channel *channel, unsigned index, int *fd);

    /* Makes the sink that calls the driver of this ring. fd is consumed on success.
     * Default: it must be an eventfd, which is signalled. 0 or -errno. */
    int (*call_sink)(struct channel *channel, unsigned index, int fd, struct ob_call *ret);

    /* Makes the channel for the back-end's own messages. fd is consumed on success.
     * NULL: there is none. 0 or -errno. */
    int (*back_channel)(struct channel *channel, int fd, struct channel **ret);

    /* Ends and frees it. */
    void (*close)(struct channel *channel);
};

/* Every channel starts with this. The session sets ready and ctx before it watches. */
struct channel {
    const struct channel_ops *ops;
    /* Something waited for has come; gone: the peer closed, which is told without waiting
     * for it too. May be called again while it is so. */
    void (*ready)(void *ctx, bool gone);
    void *ctx;
};

#endif
