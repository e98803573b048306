/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: configuration space, and the back-end's own channel
 *
 * Front-ends read the configuration as one piece, in small pieces, or always 256 bytes, and
 * compare the reply's size with what they sent. So a reply is as large as its request, and
 * what lies behind the end of the device's configuration reads as zeros, which is what a field
 * means whose feature was not offered. A read that begins behind it is an error, and has a
 * reply without payload.
 *
 * A changed configuration is told on the back-end channel: one message, which asks for no
 * answer, however often the configuration changed before it could be sent. The document wants
 * a device silent while all its rings are stopped, and stock front-ends ignore the message
 * then, so it waits for a ring to start. It also waits while the socket is full; nothing else
 * does. What comes back is read and dropped, and should the channel break, only it is lost.
 */

#include "transport/vhost_user_session.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

#define BACK_DRAIN 4096 /* bytes dropped at one wake-up */

int vhost_user_get_config(struct vhost_user_session *session)
{
    size_t config_size = ob_device_type(session->device)->config_size;
    struct vhost_user_config config;
    int result = vhost_user_decode_config(&session->payload, session->header.size, false, &config);
    size_t reply_size;

    if (!result && config.offset >= config_size)
        result = -EINVAL;
    if (!result)
        result = ob_device_config_read(session->device, config.offset, config.bytes,
                                       min_u64(config.size, config_size - config.offset));
    if (result < 0) {
        vhost_user_complain(session, "GET_CONFIG failed: only %zu bytes can be read", config_size);
        vhost_user_reply(session, NULL, 0);
        return 0;
    }
    reply_size = VHOST_USER_CONFIG_HEADER + config.size;
    if (session->header.size > reply_size)
        reply_size = session->header.size; /* it sent all of its buffer, and wants it back */
    vhost_user_reply(session, &config, reply_size);
    return 0;
}

int vhost_user_set_config(struct vhost_user_session *session)
{
    struct vhost_user_config config = {0};
    int result = vhost_user_decode_config(&session->payload, session->header.size, true, &config);

    if (!result)
        result = ob_device_config_write(session->device, config.offset, config.bytes, config.size);
    /* A migrating front-end sends all of it, read-only fields included. */
    if (result < 0 && config.flags == VHOST_USER_CONFIG_MIGRATION)
        return 0;
    if (result < 0)
        vhost_user_complain(session, "SET_CONFIG refused: not writable there");
    return result;
}

static void back_wait(struct vhost_user_session *session, unsigned interest)
{
    if (session->back->ops->watch(session->back, interest) < 0)
        vhost_user_back_close(session);
}

void vhost_user_config_tell(struct vhost_user_session *session)
{
    char message[sizeof(struct vhost_user_header)];

    if (!session->back || session->ended ||
        !vhost_user_negotiated(session, VHOST_USER_PROTOCOL_F_CONFIG))
        return;
    while (session->back_sent || (session->config_changed && vhost_user_vrings_running(session))) {
        size_t len = vhost_user_encode(message, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0, NULL, 0);
        int64_t sent = session->back->ops->send(session->back, message + session->back_sent,
                                                len - session->back_sent);

        if (sent == -EAGAIN) {
            back_wait(session, CHANNEL_READ | CHANNEL_WRITE);
            return;
        }
        if (sent < 0) {
            vhost_user_complain(session, "back-end channel lost: %s", strerror((int)-sent));
            vhost_user_back_close(session);
            return;
        }
        if (!session->back_sent)
            session->config_changed = false; /* a later change needs another message */
        session->back_sent = (session->back_sent + (size_t)sent) % len;
    }
    back_wait(session, CHANNEL_READ);
}

void vhost_user_config_changed(void *ctx)
{
    struct vhost_user_session *session = ctx;

    session->config_changed = true;
    vhost_user_config_tell(session);
}

/* Nothing that a front-end says here is wanted; it must only not pile up. */
static void back_ready(void *ctx, bool gone)
{
    struct vhost_user_session *session = ctx;
    char dropped[BACK_DRAIN];
    struct channel_fds fds = {0};
    int64_t got = session->back->ops->recv(session->back, dropped, sizeof(dropped), &fds);

    fd_close_all(fds.fd, fds.count);
    if (got == 0 || (got < 0 && got != -EAGAIN) || (gone && got < 0)) {
        log_debug(session->log, "vhost-user: the front-end closed the back-end channel");
        vhost_user_back_close(session);
        return;
    }
    vhost_user_config_tell(session);
}

int vhost_user_set_backend_req_fd(struct vhost_user_session *session)
{
    struct channel *back;
    int fd = vhost_user_take_fd(session);
    int result = session->channel->ops->back_channel(session->channel, fd, &back);

    if (result < 0) {
        vhost_user_complain(session, "SET_BACKEND_REQ_FD refused: %s",
                            result == -ENOTSOCK || result == -EPROTOTYPE || result == -ENOTCONN
                                ? "not a connected Unix stream socket"
                                : strerror(-result));
        fd_close(&fd);
        return result;
    }
    vhost_user_back_close(session);
    session->back = back;
    back->ready = back_ready;
    back->ctx = session;
    back_wait(session, CHANNEL_READ);
    vhost_user_config_tell(session);
    return 0;
}

void vhost_user_back_close(struct vhost_user_session *session)
{
    if (session->back)
        session->back->ops->close(session->back);
    session->back = NULL;
    session->back_sent = 0;
}
