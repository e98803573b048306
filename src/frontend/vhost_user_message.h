/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FRONTEND_VHOST_USER_MESSAGE_H
#define FRONTEND_VHOST_USER_MESSAGE_H

#include "wire/vhost_user.h"

#include <outboard/log.h>

/* A connection to a back-end on which one message is under way at a time. */
struct frontend_link {
    int fd;
    int timeout_ms; /* for each message sent or received */
    const struct ob_log *log;
};

/* Sends a message whole. 0, -ETIMEDOUT, -ECONNRESET or -errno. */
int link_send(struct frontend_link *link, uint32_t request, uint32_t flags, const void *payload,
              size_t size, const int *fds, unsigned n_fds);

/*
 * Receives the answer to a message. size: what its payload must have.
 * 0, -EPROTO (something else came), -ETIMEDOUT, -ECONNRESET or -errno.
 */
int link_reply(struct frontend_link *link, uint32_t request, void *ret, size_t size);

#endif
