/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_CHANNEL_UNIX_H
#define TRANSPORT_CHANNEL_UNIX_H

#include "transport/channel.h"

#include <outboard/loop.h>

/*
 * A channel over a connected Unix stream socket.
 * fd: consumed on success.
 * 0, -ENOTSOCK, -EPROTOTYPE (not a Unix stream socket), -ENOTCONN, -ENOMEM.
 */
int channel_unix_new(struct ob_loop *loop, int fd, struct channel **ret);

#endif
