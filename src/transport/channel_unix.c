/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channel: Unix socket
 *
 * A stream socket keeps no message boundaries, and the kernel hands over descriptors with the
 * first byte of what was sent with them. So a reader that never asks for more than the message
 * at hand gets each message's descriptors with that message, in whatever pieces it comes.
 *
 * Each call says that it must not block (MSG_DONTWAIT) and must not raise SIGPIPE, rather than
 * the socket: its flags belong to the open file, which whoever gave it to us may share.
 *
 * A peer may attach up to 253 descriptors (SCM_MAX_FD) to one byte. The buffer has room for
 * somewhat more than any message has; the kernel drops the rest and says so. All that arrive
 * are closed on exec from the start, and those that no message can have are closed at once.
 *
 * epoll reports a hang-up whether it is asked to or not, and goes on doing so. A session that
 * does not read at the time is told once, and the watch ends.
 */

#include "transport/channel_unix.h"

#include "base/fd.h"
#include "base/util.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than a message can have, so that too many are seen as such and not only as lost. */
#define CONTROL_FDS (2 * VHOST_USER_FDS_MAX)

struct channel_unix {
    struct channel channel;
    struct ob_loop *loop;
    struct ob_watch watch;
    unsigned interest;
};

static struct channel_unix *channel_unix(struct channel *channel)
{
    return container_of(channel, struct channel_unix, channel);
}

static void take_fds(struct msghdr *msg, struct channel_fds *fds)
{
    if (msg->msg_flags & MSG_CTRUNC)
        fds->excess = true;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t count;

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (fds->count < array_size(fds->fd)) {
                fds->fd[fds->count++] = fd;
            } else {
                fds->excess = true;
                fd_close(&fd);
            }
        }
    }
}

static int64_t channel_unix_recv(struct channel *channel, void *buf, size_t len,
                                 struct channel_fds *fds)
{
    struct channel_unix *self = channel_unix(channel);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t got;

    do {
        got = recvmsg(self->watch.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    take_fds(&msg, fds);
    return got;
}

static int64_t channel_unix_send(struct channel *channel, const void *buf, size_t len)
{
    ssize_t sent;

    do {
        sent = send(channel_unix(channel)->watch.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static void channel_unix_ready(struct ob_watch *watch, uint32_t events)
{
    struct channel_unix *self = container_of(watch, struct channel_unix, watch);
    bool gone = events & (EPOLLHUP | EPOLLERR);

    if (gone && !(self->interest & CHANNEL_READ))
        ob_watch_remove(watch);
    self->channel.ready(self->channel.ctx, gone);
}

static int channel_unix_watch(struct channel *channel, unsigned interest)
{
    struct channel_unix *self = channel_unix(channel);
    uint32_t events =
        (interest & CHANNEL_READ ? EPOLLIN : 0u) | (interest & CHANNEL_WRITE ? EPOLLOUT : 0u);

    if (self->watch.loop && interest == self->interest)
        return 0;
    self->interest = interest;
    if (self->watch.loop)
        return ob_watch_modify(&self->watch, events);
    self->watch.events = events;
    return ob_watch_add(self->loop, &self->watch);
}

static bool channel_unix_alive(struct channel *channel)
{
    struct pollfd pollfd = {.fd = channel_unix(channel)->watch.fd, .events = POLLRDHUP};

    return poll(&pollfd, 1, 0) <= 0;
}

static int channel_unix_back_channel(struct channel *channel, int fd, struct channel **ret)
{
    return channel_unix_new(channel_unix(channel)->loop, fd, ret);
}

static void channel_unix_close(struct channel *channel)
{
    struct channel_unix *self = channel_unix(channel);

    ob_watch_remove(&self->watch);
    fd_close(&self->watch.fd);
    free(self);
}

static const struct channel_ops channel_unix_ops = {
    .size = sizeof(struct channel_ops),
    .name = "unix",
    .carries_fds = true,
    .recv = channel_unix_recv,
    .send = channel_unix_send,
    .watch = channel_unix_watch,
    .alive = channel_unix_alive,
    .back_channel = channel_unix_back_channel,
    .close = channel_unix_close,
};

static int socket_option(int fd, int option, int *ret)
{
    socklen_t len = sizeof(*ret);

    return getsockopt(fd, SOL_SOCKET, option, ret, &len) < 0 ? -errno : 0;
}

/* That a descriptor is what the calls above may be made on: a peer chose it. */
static int channel_unix_check(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int domain, type, result;

    result = socket_option(fd, SO_DOMAIN, &domain);
    if (!result)
        result = socket_option(fd, SO_TYPE, &type);
    if (result < 0)
        return result;
    if (domain != AF_UNIX || type != SOCK_STREAM)
        return -EPROTOTYPE;
    return getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ? -errno : 0;
}

int channel_unix_new(struct ob_loop *loop, int fd, struct channel **ret)
{
    struct channel_unix *self;
    int result = channel_unix_check(fd);

    if (result < 0)
        return result;
    self = calloc(1, sizeof(*self));
    if (!self)
        return -ENOMEM;
    self->channel.ops = &channel_unix_ops;
    self->loop = loop;
    self->watch.fd = fd;
    self->watch.ready = channel_unix_ready;
    *ret = &self->channel;
    return 0;
}
