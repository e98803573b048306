/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transport: vhost-user
 *
 * What happens around sessions: where front-ends come from, and what follows when one leaves.
 *
 *   server     listens on a path, or on an inherited socket. One front-end is served at a
 *              time. A second one is taken from the queue and turned away at once, since a VMM
 *              that waits to be answered stops its guest; but first the front-end being served
 *              is looked at, as its end may not have been noticed yet.
 *   client     connects to a path, for ever: after a failure or a disconnect it tries again,
 *              at growing intervals, and says so once for each outage. The interval shrinks
 *              again only when a front-end has truly talked to us.
 *   connected  an inherited connection. When it ends, nobody can come any more, and whoever
 *              opened the transport is told.
 *
 * Running out of descriptors must not end all this. One is held in reserve: given up, it lets a
 * connection be taken that is then turned away, or a timer be made that tries again later.
 *
 * A front-end that leaves takes nothing with it: the session resets the device and stays until
 * its last request has ended, while the next front-end is already served. Closing stops
 * listening first, ends the requests of the session, and is done when no session is left.
 */

#include "transport/channel_unix.h"
#include "transport/vhost_user_session.h"
#include "transport/vhost_user_socket.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <outboard/transport.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CLIENT_SUFFIX ",client"
#define RECONNECT_MIN_MS 10   /* a front-end that restarts is back soon */
#define RECONNECT_MAX_MS 1000 /* one that stays away costs little */
#define ACCEPT_RETRY_MS 100   /* after running out of descriptors */
#define ACCEPT_BATCH 16       /* connections taken at one wake-up */

enum vhost_user_mode {
    VHOST_USER_SERVER,
    VHOST_USER_CLIENT,
    VHOST_USER_CONNECTED,
};

struct vhost_user_transport {
    struct ob_transport transport;
    struct ob_transport_options options;
    enum vhost_user_mode mode;
    char *path; /* NULL if inherited */
    struct vhost_user_socket socket;
    struct ob_watch watch;              /* of the listening socket */
    struct ob_timer timer;              /* to connect or accept again */
    int reserve;                        /* a descriptor to give up, or -1 */
    uint64_t delay;                     /* before the next try to connect */
    bool outage;                        /* and it has been logged */
    struct vhost_user_session *session; /* being served, or NULL */
    unsigned sessions;                  /* not freed yet */
    bool closing;
    ob_done_fn done;
    void *done_ctx;
    struct ob_work finish;
};

static void reserve_take(struct vhost_user_transport *self)
{
    if (self->reserve < 0)
        self->reserve = eventfd(0, EFD_CLOEXEC);
}

static void retry_later(struct vhost_user_transport *self, uint64_t delay)
{
    if (ob_timer_set(self->options.control, &self->timer, delay) == 0)
        return;
    fd_close(&self->reserve);
    if (ob_timer_set(self->options.control, &self->timer, delay) < 0)
        log_error(self->options.log, "vhost-user: no timer to try again with");
}

static void reconnect_later(struct vhost_user_transport *self)
{
    retry_later(self, self->delay);
    self->delay = min_u64(2 * self->delay, RECONNECT_MAX_MS);
}

/* May end the transport, in connected mode. */
static void session_ended(void *ctx)
{
    struct vhost_user_transport *self = ctx;
    struct vhost_user_session *session = self->session;

    if (vhost_user_session_greeted(session))
        self->delay = RECONNECT_MIN_MS;
    self->session = NULL;
    vhost_user_session_close(session, false);
    if (self->mode == VHOST_USER_CLIENT)
        reconnect_later(self);
    else if (self->mode == VHOST_USER_CONNECTED && self->options.closed)
        self->options.closed(self->options.ctx);
}

static void session_freed(void *ctx)
{
    struct vhost_user_transport *self = ctx;

    self->sessions--;
    if (self->closing && !self->sessions)
        ob_loop_post(self->options.control, &self->finish);
}

static void log_front_end(const struct vhost_user_transport *self, int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        log_info(self->options.log, "vhost-user: front-end connected (process %d)", peer.pid);
    else
        log_info(self->options.log, "vhost-user: front-end connected");
}

/* fd: consumed in any case. */
static int session_start(struct vhost_user_transport *self, int fd)
{
    const struct vhost_user_listener listener = {
        .ended = session_ended,
        .freed = session_freed,
        .ctx = self,
    };
    struct channel *channel;
    int result = channel_unix_new(self->options.control, fd, &channel);

    if (result < 0) {
        log_error(self->options.log, "vhost-user: not a connected Unix stream socket: %s",
                  strerror(-result));
        fd_close(&fd);
        return result;
    }
    result = vhost_user_session_new(self->options.control, self->options.log, self->options.device,
                                    channel, &listener, &self->session);
    if (result < 0) {
        log_error(self->options.log, "vhost-user: front-end turned away: %s", strerror(-result));
        channel->ops->close(channel);
        return result;
    }
    self->sessions++;
    log_front_end(self, fd);
    return 0;
}

static void serve(struct vhost_user_transport *self, int fd)
{
    if (self->session && vhost_user_session_alive(self->session)) {
        log_warning(self->options.log,
                    "vhost-user: a second front-end was turned away: one is being served");
        fd_close(&fd);
        return;
    }
    if (self->session) {
        struct vhost_user_session *session = self->session;

        log_info(self->options.log, "vhost-user: front-end gone, the next one is there");
        self->session = NULL;
        vhost_user_session_close(session, false);
    }
    session_start(self, fd);
}

static void listen_ready(struct ob_watch *watch, uint32_t events)
{
    struct vhost_user_transport *self = container_of(watch, struct vhost_user_transport, watch);

    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        int fd, result = vhost_user_socket_accept(watch->fd, &fd);

        if (result == -EAGAIN)
            return;
        if (result == 0) {
            serve(self, fd);
            continue;
        }
        log_error(self->options.log, "vhost-user: a front-end was turned away: %s",
                  strerror(-result));
        fd_close(&self->reserve);
        if (vhost_user_socket_accept(watch->fd, &fd) < 0) {
            ob_watch_remove(watch);
            retry_later(self, ACCEPT_RETRY_MS);
            return;
        }
        fd_close(&fd);
        reserve_take(self);
    }
}

static int connect_now(struct vhost_user_transport *self)
{
    int fd, result = vhost_user_socket_connect(self->path, &fd);

    if (result < 0) {
        if (!self->outage)
            log_warning(self->options.log, "vhost-user: cannot connect to %.200s: %s; trying on",
                        self->path, strerror(-result));
        self->outage = true;
        return result;
    }
    self->outage = false;
    return session_start(self, fd);
}

static void timer_expired(struct ob_timer *timer)
{
    struct vhost_user_transport *self = container_of(timer, struct vhost_user_transport, timer);

    reserve_take(self);
    if (self->mode == VHOST_USER_CLIENT) {
        if (connect_now(self) < 0)
            reconnect_later(self);
    } else if (ob_watch_add(self->options.control, &self->watch) < 0) {
        retry_later(self, ACCEPT_RETRY_MS);
    }
}

static int watch_listener(struct vhost_user_transport *self)
{
    self->watch.fd = self->socket.fd;
    self->watch.events = EPOLLIN;
    self->watch.ready = listen_ready;
    return ob_watch_add(self->options.control, &self->watch);
}

static int open_inherited(struct vhost_user_transport *self)
{
    int fd = fcntl(self->options.fd, F_DUPFD_CLOEXEC, 0), result;

    if (fd < 0) {
        result = -errno;
        log_error(self->options.log, "vhost-user: descriptor %d: %s", self->options.fd,
                  strerror(-result));
        return result;
    }
    if (vhost_user_socket_listens(fd)) {
        self->socket.fd = fd; /* and closed with it */
        result = fd_set_nonblocking(fd);
        if (!result)
            result = watch_listener(self);
    } else {
        self->mode = VHOST_USER_CONNECTED;
        result = session_start(self, fd);
    }
    if (!result)
        fd_close(&self->options.fd);
    return result;
}

/* PATH or PATH,client. */
static int open_address(struct vhost_user_transport *self)
{
    const size_t suffix = sizeof(CLIENT_SUFFIX) - 1;
    size_t len = self->options.address ? strlen(self->options.address) : 0;
    int result;

    if (len >= suffix && !strcmp(self->options.address + len - suffix, CLIENT_SUFFIX)) {
        self->mode = VHOST_USER_CLIENT;
        len -= suffix;
    }
    if (!len) {
        log_error(self->options.log, "vhost-user: no path given: write vhost-user:PATH[,client]");
        return -EINVAL;
    }
    self->path = strndup(self->options.address, len);
    if (!self->path)
        return -ENOMEM;
    if (self->mode == VHOST_USER_CLIENT) {
        if (connect_now(self) < 0)
            reconnect_later(self);
        return 0;
    }
    result = vhost_user_socket_listen(self->path, self->options.log, &self->socket);
    return result ? result : watch_listener(self);
}

static void transport_free(struct vhost_user_transport *self)
{
    vhost_user_socket_close(&self->socket);
    fd_close(&self->reserve);
    free(self->path);
    free(self);
}

static int vhost_user_open(const struct ob_transport_options *options, struct ob_transport **ret)
{
    struct vhost_user_transport *self = calloc(1, sizeof(*self));
    int result;

    if (!self)
        return -ENOMEM;
    self->transport.ops = &ob_transport_vhost_user;
    self->options = *options;
    self->socket.fd = self->socket.folder = -1;
    self->timer.expired = timer_expired;
    self->reserve = -1;
    reserve_take(self);
    self->delay = RECONNECT_MIN_MS;
    result = options->fd >= 0 ? open_inherited(self) : open_address(self);
    if (result < 0) {
        transport_free(self);
        return result;
    }
    self->options.address = NULL; /* the caller's */
    *ret = &self->transport;
    return 0;
}

static void finish(struct ob_work *work)
{
    struct vhost_user_transport *self = container_of(work, struct vhost_user_transport, finish);
    ob_done_fn done = self->done;
    void *ctx = self->done_ctx;

    transport_free(self);
    done(ctx, 0);
}

static void vhost_user_close(struct ob_transport *transport, ob_done_fn done, void *ctx)
{
    struct vhost_user_transport *self =
        container_of(transport, struct vhost_user_transport, transport);

    self->closing = true;
    self->done = done;
    self->done_ctx = ctx;
    self->finish.run = finish;
    ob_watch_remove(&self->watch);
    ob_timer_clear(&self->timer);
    vhost_user_socket_close(&self->socket);
    if (self->session)
        vhost_user_session_close(self->session, true);
    else if (!self->sessions)
        ob_loop_post(self->options.control, &self->finish);
    self->session = NULL;
}

const struct ob_transport_ops ob_transport_vhost_user = {
    .size = sizeof(struct ob_transport_ops),
    .name = "vhost-user",
    .help = "PATH: listens there; PATH,client: connects to a front-end that listens there",
    .open = vhost_user_open,
    .close = vhost_user_close,
};
