/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user session
 *
 * One front-end's connection, over any channel. It takes one message at a time: receive,
 * handle, answer, next. A handler that has to wait (for a queue to drain, for workers to take
 * a new map) puts holds on the message and returns; each thing waited for releases one, and
 * the last release answers. Until then nothing more is read, so the order of messages is the
 * order of their effects, and the thread is free.
 *
 * How an answer looks: a message that replies has its reply; any other is acknowledged with a
 * u64, zero or an errno value, if REPLY_ACK was negotiated and the message asked for it. A
 * refusal that cannot be told this way ends the connection, because the front-end would go on
 * in the belief that what it asked for was done; only a refused SET_CONFIG, which changes
 * nothing that the front-end builds on, is passed over.
 *
 * States and what may happen in them:
 *
 *   receiving   holds is zero, nothing to send: the channel is read
 *   handling    holds is not zero: nothing is read; a hang-up ends the session
 *   sending     an answer is under way: nothing is read
 *   ended       left, or dropped: the listener is told once, from no callback of the device,
 *               and closes the session
 *   draining    closing gently: rings are stopped and their requests end
 *   closed      the channel is closed and the device reset; callbacks still owed find the
 *               session here, and the last one frees it
 *
 * Callbacks of the device and of the memory never lead back into the device at once: what
 * follows from them is posted.
 */

#include "transport/vhost_user_session.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Messages taken at one wake-up, so that one front-end cannot keep the control thread. */
#define SESSION_MESSAGES 16

/* Refusals of one front-end that are logged, so that it cannot fill a disk with them. */
#define SESSION_COMPLAINTS 100

static void session_free(struct vhost_user_session *session)
{
    struct vhost_user_listener listener = session->listener;

    free(session);
    listener.freed(listener.ctx);
}

bool vhost_user_arrived(struct vhost_user_session *session)
{
    session->pending--;
    if (!session->closed)
        return true;
    if (!session->pending)
        session_free(session);
    return false;
}

/* Has the pump run from the loop, unless it runs now. */
static void session_post(struct vhost_user_session *session)
{
    if (session->pumping || session->posted)
        return;
    session->posted = true;
    vhost_user_expect(session);
    ob_loop_post(session->loop, &session->work);
}

void vhost_user_end(struct vhost_user_session *session, enum ob_log_level level, const char *format,
                    ...)
{
    char reason[400];
    va_list args;

    if (session->ended)
        return;
    session->ended = true;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    log_write(session->log, level, "vhost-user: %s", reason);
    session_post(session);
}

void vhost_user_complain(struct vhost_user_session *session, const char *format, ...)
{
    char text[400];
    va_list args;

    if (session->complaints > SESSION_COMPLAINTS)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_error(session->log, "vhost-user: %s%s", text,
              ++session->complaints > SESSION_COMPLAINTS ? " (no more of this is logged)" : "");
}

int vhost_user_take_fd(struct vhost_user_session *session)
{
    int fd = session->fds.fd[0];

    if (!session->fds.count)
        return -1;
    session->fds.fd[0] = -1;
    return fd;
}

void vhost_user_reply(struct vhost_user_session *session, const void *payload, size_t size)
{
    if (size)
        memcpy(&session->reply, payload, size);
    session->reply_size = size;
}

void vhost_user_reply_u64(struct vhost_user_session *session, uint64_t value)
{
    vhost_user_reply(session, &value, sizeof(value));
}

bool vhost_user_negotiated(const struct vhost_user_session *session,
                           enum vhost_user_protocol_feature feature)
{
    return session->protocol_features >> feature & 1;
}

/* All that the message was waiting for has happened. */
static void session_answer(struct vhost_user_session *session)
{
    const uint32_t request = session->header.request;
    const struct vhost_user_message *message = vhost_user_message(request);
    const bool has_reply = session->known && message->replies;
    int result = session->result;

    if (session->ended)
        return;
    if (!result)
        session->greeted = true;
    if (has_reply && !result) {
        session->out_len = vhost_user_encode(session->out, request, VHOST_USER_FLAG_REPLY,
                                             &session->reply, session->reply_size);
    } else if (!has_reply && session->header.flags & VHOST_USER_FLAG_NEED_REPLY &&
               vhost_user_negotiated(session, VHOST_USER_PROTOCOL_F_REPLY_ACK)) {
        uint64_t ack = (uint64_t)-result;

        session->out_len =
            vhost_user_encode(session->out, request, VHOST_USER_FLAG_REPLY, &ack, sizeof(ack));
    } else if (result && request != VHOST_USER_SET_CONFIG) {
        vhost_user_end(session, OB_LOG_ERROR,
                       "connection dropped: %s failed and the front-end did not ask to be told",
                       vhost_user_message_name(request));
    }
}

void vhost_user_release(struct vhost_user_session *session, int result)
{
    if (result && !session->result)
        session->result = result;
    if (--session->holds)
        return;
    session_answer(session);
    session_post(session);
}

/* Sends what is left of an answer. False: it has to wait, or cannot be sent. */
static bool session_flush(struct vhost_user_session *session)
{
    while (session->out_sent < session->out_len) {
        int64_t sent =
            session->channel->ops->send(session->channel, session->out + session->out_sent,
                                        session->out_len - session->out_sent);

        if (sent == -EAGAIN)
            return false;
        if (sent < 0) {
            vhost_user_end(session, OB_LOG_INFO, "front-end left without taking an answer (%s)",
                           strerror((int)-sent));
            return false;
        }
        session->out_sent += (size_t)sent;
    }
    session->out_len = session->out_sent = 0;
    return true;
}

/* Where the next bytes of the message go, and how many it still needs. */
static size_t session_missing(struct vhost_user_session *session, void **ret)
{
    size_t in_payload;

    if (session->received < sizeof(session->header)) {
        *ret = (char *)&session->header + session->received;
        return sizeof(session->header) - session->received;
    }
    in_payload = session->received - sizeof(session->header);
    *ret = (char *)&session->payload + in_payload;
    return session->header.size - in_payload;
}

static void session_input_ended(struct vhost_user_session *session, int error)
{
    if (session->received)
        vhost_user_end(session, OB_LOG_WARNING, "front-end left in the middle of a message");
    else if (error && error != -ECONNRESET)
        vhost_user_end(session, OB_LOG_ERROR, "receiving failed: %s", strerror(-error));
    else
        vhost_user_end(session, OB_LOG_INFO, "front-end disconnected");
}

/* True once a whole message is there. */
static bool session_receive(struct vhost_user_session *session)
{
    void *to;
    size_t missing;

    while ((missing = session_missing(session, &to))) {
        bool in_header = session->received < sizeof(session->header);
        int64_t got = session->channel->ops->recv(session->channel, to, missing, &session->fds);

        if (got == -EAGAIN)
            return false;
        if (got <= 0) {
            session_input_ended(session, (int)got);
            return false;
        }
        session->received += (size_t)got;
        if (in_header && session->received == sizeof(session->header) &&
            vhost_user_header_check(&session->header, false) < 0) {
            vhost_user_end(session, OB_LOG_ERROR,
                           "connection dropped: message %u has impossible flags 0x%x or size %u",
                           session->header.request, session->header.flags, session->header.size);
            return false;
        }
    }
    return true;
}

static void session_dispatch(struct vhost_user_session *session)
{
    int result;

    session->received = 0;
    session->known = false;
    session->result = 0;
    session->reply_size = 0;
    session->holds = 1;
    result = vhost_user_handle(session);
    fd_close_all(session->fds.fd, session->fds.count);
    session->fds.count = 0;
    session->fds.excess = false;
    vhost_user_release(session, result);
}

/* What the state now asks of the channel and of the listener. May free the session. */
static void session_settle(struct vhost_user_session *session)
{
    unsigned interest = session->out_len ? CHANNEL_WRITE : session->holds ? 0 : CHANNEL_READ;
    int result;

    if (!session->ended) {
        result = session->channel->ops->watch(session->channel, interest);
        if (result < 0)
            vhost_user_end(session, OB_LOG_ERROR, "cannot wait for the front-end: %s",
                           strerror(-result));
    }
    if (session->ended && !session->told) {
        session->told = true;
        session->listener.ended(session->listener.ctx);
    }
}

/* May free the session. */
static void session_close_now(struct vhost_user_session *session);

/* May free the session. */
static void session_pump(struct vhost_user_session *session)
{
    session->pumping = true;
    for (unsigned i = 0; i < SESSION_MESSAGES && !session->ended; i++) {
        if (session->holds || !session_flush(session) || !session_receive(session))
            break;
        session_dispatch(session);
    }
    if (!session->ended && !session->holds)
        session_flush(session);
    session->pumping = false;
    session_settle(session);
}

static void session_work(struct ob_work *work)
{
    struct vhost_user_session *session = container_of(work, struct vhost_user_session, work);

    session->posted = false;
    if (!vhost_user_arrived(session))
        return;
    if (!session->draining)
        session_pump(session);
    else if (!vhost_user_vrings_running(session))
        session_close_now(session);
}

void vhost_user_drained(struct vhost_user_session *session)
{
    session_post(session);
}

static void session_ready(void *ctx, bool gone)
{
    struct vhost_user_session *session = ctx;

    if (session->draining)
        return;
    if (gone && session->holds) {
        session->pumping = true;
        vhost_user_end(session, OB_LOG_INFO, "front-end disconnected while %s was under way",
                       vhost_user_message_name(session->header.request));
        session->pumping = false;
    }
    session_pump(session);
}

int vhost_user_session_new(struct ob_loop *loop, const struct ob_log *log, struct ob_device *device,
                           struct channel *channel, const struct vhost_user_listener *listener,
                           struct vhost_user_session **ret)
{
    unsigned n_vrings = (unsigned)min_u64(ob_device_queues(device), VHOST_USER_QUEUES_MAX);
    struct vhost_user_session *session;
    int result;

    session = calloc(1, sizeof(*session) + n_vrings * sizeof(session->vrings[0]));
    if (!session)
        return -ENOMEM;
    session->loop = loop;
    session->log = log;
    session->device = device;
    session->channel = channel;
    session->listener = *listener;
    session->work.run = session_work;
    session->n_vrings = n_vrings;
    result = ob_memory_new(loop, log, &session->memory);
    if (result < 0) {
        free(session);
        return result;
    }
    vhost_user_vrings_init(session);
    ob_device_listen(device, &(struct ob_device_listener){
                                 .config_changed = vhost_user_config_changed,
                                 .queue_broken = vhost_user_vring_broken,
                                 .ctx = session,
                             });
    channel->ready = session_ready;
    channel->ctx = session;
    vhost_user_memory_give(session);
    session_post(session);
    *ret = session;
    return 0;
}

bool vhost_user_session_alive(const struct vhost_user_session *session)
{
    return !session->ended && session->channel->ops->alive(session->channel);
}

bool vhost_user_session_greeted(const struct vhost_user_session *session)
{
    return session->greeted;
}

static void session_reset_done(void *ctx, int result)
{
    vhost_user_arrived(ctx);
}

static void session_close_now(struct vhost_user_session *session)
{
    int result;

    ob_device_listen(session->device, NULL);
    vhost_user_back_close(session);
    session->channel->ops->close(session->channel);
    session->channel = NULL;
    fd_close_all(session->fds.fd, session->fds.count);
    session->fds.count = 0;
    vhost_user_expect(session); /* keeps the session until the end of this function */
    vhost_user_expect(session);
    result = ob_device_reset(session->device, session_reset_done, session);
    if (result < 0) {
        vhost_user_unexpect(session);
        log_error(session->log, "vhost-user: the device could not be reset: %s", strerror(-result));
    }
    ob_memory_free(session->memory); /* what requests out still use stays until they end */
    vhost_user_vrings_free(session);
    session->closed = true;
    vhost_user_arrived(session);
}

void vhost_user_session_close(struct vhost_user_session *session, bool gently)
{
    session->ended = session->told = true;
    if (gently && vhost_user_vrings_running(session)) {
        session->draining = true;
        session->channel->ops->watch(session->channel, 0);
        vhost_user_vrings_drain(session);
    } else {
        session_close_now(session);
    }
}
