/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user messages, from the front-end
 *
 * Sending and receiving one message over a socket, whole or not at all, each within a time
 * limit. An answer that brings descriptors is refused: none that we ask for has any, and the
 * kernel drops what no buffer was given for.
 */

#include "frontend/vhost_user_message.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Waits until the socket can be used. 0, -ETIMEDOUT or -errno. */
static int wait_for(const struct frontend_link *link, short events)
{
    struct pollfd fd = {.fd = link->fd, .events = events};
    int count;

    do {
        count = poll(&fd, 1, link->timeout_ms);
    } while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    return count ? 0 : -ETIMEDOUT;
}

static int failed(const struct frontend_link *link, uint32_t request, int result)
{
    log_error(link->log, "%s: the back-end %s", vhost_user_message_name(request),
              result == -ETIMEDOUT    ? "did not answer in time"
              : result == -ECONNRESET ? "closed the connection: its log tells why"
                                      : strerror(-result));
    return result;
}

static void put_fds(struct msghdr *message, void *control, const int *fds, unsigned n_fds)
{
    struct cmsghdr *header;

    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
    header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
}

int link_send(struct frontend_link *link, uint32_t request, uint32_t flags, const void *payload,
              size_t size, const int *fds, unsigned n_fds)
{
    char bytes[VHOST_USER_MESSAGE_MAX];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
    } control = {0};
    size_t left = vhost_user_encode(bytes, request, flags, payload, size);
    struct iovec iov = {.iov_base = bytes, .iov_len = left};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds)
        put_fds(&message, &control, fds, n_fds);
    while (iov.iov_len) {
        int result = wait_for(link, POLLOUT);
        ssize_t sent;

        if (result < 0)
            return failed(link, request, result);
        sent = sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (sent < 0)
            return failed(link, request, errno == EPIPE ? -ECONNRESET : -errno);
        iov.iov_base = (char *)iov.iov_base + sent;
        iov.iov_len -= (size_t)sent;
        message.msg_control = NULL; /* went with the first byte */
        message.msg_controllen = 0;
    }
    return 0;
}

static int receive(struct frontend_link *link, void *buf, size_t size)
{
    size_t done = 0;

    while (done < size) {
        int result = wait_for(link, POLLIN);
        ssize_t got;

        if (result < 0)
            return result;
        got = recv(link->fd, (char *)buf + done, size - done, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0)
            return got ? -errno : -ECONNRESET;
        done += (size_t)got;
    }
    return 0;
}

int link_reply(struct frontend_link *link, uint32_t request, void *ret, size_t size)
{
    char payload[VHOST_USER_PAYLOAD_MAX];
    struct vhost_user_header header;
    int result = receive(link, &header, sizeof(header));

    if (!result && (vhost_user_header_check(&header, true) < 0 || header.request != request ||
                    header.size != size))
        result = -EPROTO;
    if (!result)
        result = receive(link, payload, size);
    if (result < 0)
        return failed(link, request, result);
    memcpy(ret, payload, size);
    return 0;
}
