/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: kick, call, error
 *
 * The three descriptors of a ring. Each is replaced at any time, running or not, and each is
 * verified: a peer that hands over anything but an eventfd could make the thread that signals
 * it block, or write eight bytes where it cannot itself. Kicks are the device's to wait for;
 * calls are lent to it (transport/vhost_user_call.h); the error descriptor is signalled here,
 * when the device says that a queue broke.
 *
 * A front-end that says that it will not kick wants its ring polled. The session looks at such
 * rings at a fixed interval, with one timer that runs only while there are any; who wants more
 * has the workers poll.
 */

#include "transport/vhost_user_session.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

#define POLL_MS 1 /* between looks at rings without kicks */

static void poll_expired(struct ob_timer *timer)
{
    struct vhost_user_session *session = container_of(timer, struct vhost_user_session, poll_timer);

    for (unsigned i = 0; i < session->n_vrings; i++)
        if (session->vrings[i].running && session->vrings[i].polled)
            ob_device_queue_kick(session->device, i);
    if (vhost_user_poll(session) < 0)
        vhost_user_end(session, OB_LOG_ERROR, "connection dropped: no timer to poll a ring with");
}

void vhost_user_poll_init(struct vhost_user_session *session)
{
    session->poll_timer.expired = poll_expired;
}

int vhost_user_poll(struct vhost_user_session *session)
{
    bool wanted = false;

    for (unsigned i = 0; i < session->n_vrings; i++)
        wanted |= session->vrings[i].running && session->vrings[i].polled;
    if (!wanted || session->poll_timer.watch.loop)
        return 0;
    return ob_timer_set(session->loop, &session->poll_timer, POLL_MS);
}

void vhost_user_vring_broken(void *ctx, unsigned index)
{
    struct vhost_user_session *session = ctx;

    if (index < session->n_vrings && session->vrings[index].err_fd >= 0)
        fd_signal(session->vrings[index].err_fd);
}

/* Decodes KICK, CALL and ERR, and takes the descriptor, -1 if there is none. */
static struct vhost_user_vring *vring_of_fd(struct vhost_user_session *session, int *ret_fd,
                                            bool *ret_present)
{
    struct vhost_user_ring_fd ring_fd = {0};
    int decoded = vhost_user_decode_ring_fd(&session->payload, session->n_vrings, &ring_fd);
    struct vhost_user_vring *vring = vhost_user_vring_of(session, decoded, ring_fd.index);

    if (!vring)
        return NULL;
    if (session->channel->ops->carries_fds && ring_fd.present != (session->fds.count == 1)) {
        vhost_user_complain(session, "%s of queue %u refused: it %s a descriptor",
                            vhost_user_message_name(session->header.request), vring->index,
                            ring_fd.present ? "lacks" : "denies");
        return NULL;
    }
    *ret_fd = vhost_user_take_fd(session);
    *ret_present = ring_fd.present;
    return vring;
}

static int refuse_fd(const struct vhost_user_vring *vring, int *fd, int result)
{
    vhost_user_complain(vring->session, "%s of queue %u refused: %s",
                        vhost_user_message_name(vring->session->header.request), vring->index,
                        result == -EINVAL ? "the descriptor is not an eventfd" : strerror(-result));
    fd_close(fd);
    return result;
}

int vhost_user_set_vring_kick(struct vhost_user_session *session)
{
    const struct channel_ops *ops = session->channel->ops;
    bool present;
    int fd, result = 0;
    struct vhost_user_vring *vring = vring_of_fd(session, &fd, &present);

    if (!vring)
        return -EINVAL;
    if (present && ops->kick_source)
        result = ops->kick_source(session->channel, vring->index, &fd);
    else if (present)
        result = fd_check_eventfd(fd);
    if (result < 0)
        return refuse_fd(vring, &fd, result);
    result = ob_device_queue_set_kick(session->device, vring->index, fd);
    if (result < 0)
        return result;
    vring->polled = !present;
    vring->kicked = true;
    if (vring->running)
        return vhost_user_poll(session);
    result = vhost_user_vring_start(vring);
    if (result < 0) {
        vring->kicked = vring->polled = false;
        ob_device_queue_set_kick(session->device, vring->index, -1);
    }
    return result;
}

/* *fd is consumed, and becomes -1, on success. */
static int make_call(struct vhost_user_vring *vring, int *fd, struct vhost_user_call **ret)
{
    struct channel *channel = vring->session->channel;
    struct ob_call sink;
    int result;

    if (!channel->ops->call_sink) {
        result = fd_check_eventfd(*fd);
        if (!result)
            result = vhost_user_call_new_eventfd(*fd, ret);
        if (!result)
            *fd = -1;
        return result;
    }
    result = channel->ops->call_sink(channel, vring->index, *fd, &sink);
    if (result < 0)
        return result;
    *fd = -1;
    result = vhost_user_call_new(&sink, ret);
    if (result < 0 && sink.release)
        sink.release(sink.ctx);
    return result;
}

int vhost_user_set_vring_call(struct vhost_user_session *session)
{
    struct vhost_user_call *call = NULL;
    bool present;
    int fd, result = 0;
    struct vhost_user_vring *vring = vring_of_fd(session, &fd, &present);

    if (!vring)
        return -EINVAL;
    if (present)
        result = make_call(vring, &fd, &call);
    if (result < 0)
        return refuse_fd(vring, &fd, result);
    vhost_user_call_unref(vring->call);
    vring->call = call;
    return ob_device_queue_set_call(session->device, vring->index, vhost_user_call_lend(call));
}

int vhost_user_set_vring_err(struct vhost_user_session *session)
{
    bool present;
    int fd, result = 0;
    struct vhost_user_vring *vring = vring_of_fd(session, &fd, &present);

    if (!vring)
        return -EINVAL;
    if (fd >= 0)
        result = fd_check_eventfd(fd);
    if (result < 0)
        return refuse_fd(vring, &fd, result);
    fd_close(&vring->err_fd);
    vring->err_fd = fd;
    return 0;
}
