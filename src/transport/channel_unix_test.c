/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix channel: descriptors in every number, pieces, full sockets, and ends, each from the
 * other side of a socket pair.
 */

#include "transport/channel_unix.h"

#include "base/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SENT_MAX 253 /* what the kernel lets pass with one message */

struct fixture {
    struct ob_loop *loop;
    struct channel *channel;
    int peer;
    unsigned told; /* calls of ready() */
    bool gone;
};

static void ready(void *ctx, bool gone)
{
    struct fixture *fixture = ctx;

    fixture->told++;
    fixture->gone = gone;
    ob_loop_stop(fixture->loop);
}

static int setup(void **state)
{
    const struct ob_loop_options options = {.poll = OB_POLL_OFF};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int fds[2];

    assert_non_null(fixture);
    assert_int_equal(ob_loop_new(&options, &fixture->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(channel_unix_new(fixture->loop, fds[0], &fixture->channel), 0);
    fixture->channel->ready = ready;
    fixture->channel->ctx = fixture;
    fixture->peer = fds[1];
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    fixture->channel->ops->close(fixture->channel);
    fd_close(&fixture->peer);
    ob_loop_free(fixture->loop);
    free(fixture);
    return 0;
}

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO), number = fd;

    fd_close(&fd);
    return number;
}

/* Sends one byte with count descriptors. */
static void send_fds(int socket, unsigned count)
{
    char bytes[CMSG_SPACE(SENT_MAX * sizeof(int))] = {0}, byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count) {
        struct cmsghdr *cmsg;

        msg.msg_control = bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
        for (unsigned i = 0; i < count; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &(int){STDERR_FILENO}, sizeof(int));
    }
    assert_int_equal(sendmsg(socket, &msg, 0), 1);
}

static int64_t receive(struct fixture *fixture, void *buf, size_t len, struct channel_fds *fds)
{
    return fixture->channel->ops->recv(fixture->channel, buf, len, fds);
}

static void test_descriptors(void **state)
{
    static const unsigned counts[] = {0, 1, 7, 8, 9, 16, 17, 100, SENT_MAX};
    struct fixture *fixture = *state;
    int before = lowest_free_fd();

    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct channel_fds fds = {.count = 0};
        unsigned expected = counts[i] < VHOST_USER_FDS_MAX ? counts[i] : VHOST_USER_FDS_MAX;
        char byte;

        send_fds(fixture->peer, counts[i]);
        assert_int_equal(receive(fixture, &byte, 1, &fds), 1);
        assert_int_equal(fds.count, expected);
        assert_int_equal(fds.excess, counts[i] > VHOST_USER_FDS_MAX);
        fd_close_all(fds.fd, fds.count);
        assert_int_equal(lowest_free_fd(), before);
    }
}

/* What comes with a later piece is added; more than fits is closed. */
static void test_descriptors_add_up(void **state)
{
    struct fixture *fixture = *state;
    struct channel_fds fds = {.count = 0};
    int before = lowest_free_fd();
    char bytes[3];

    send_fds(fixture->peer, 5);
    send_fds(fixture->peer, 3);
    send_fds(fixture->peer, 1);
    assert_int_equal(receive(fixture, bytes, 3, &fds), 1);
    assert_int_equal(fds.count, 5);
    assert_int_equal(receive(fixture, bytes, 3, &fds), 1);
    assert_int_equal(fds.count, 8);
    assert_false(fds.excess);
    assert_int_equal(receive(fixture, bytes, 3, &fds), 1);
    assert_int_equal(fds.count, 8);
    assert_true(fds.excess);
    fd_close_all(fds.fd, fds.count);
    assert_int_equal(lowest_free_fd(), before);
}

static void test_never_more_than_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct channel_fds fds = {.count = 0};
    char bytes[8];

    assert_int_equal(receive(fixture, bytes, 8, &fds), -EAGAIN);
    assert_int_equal(send(fixture->peer, "abcdef", 6, 0), 6);
    assert_int_equal(receive(fixture, bytes, 4, &fds), 4);
    assert_int_equal(receive(fixture, bytes, 4, &fds), 2);
    assert_int_equal(receive(fixture, bytes, 4, &fds), -EAGAIN);
}

static void test_full(void **state)
{
    struct fixture *fixture = *state;
    const struct channel_ops *ops = fixture->channel->ops;
    static char bytes[4096];
    int64_t sent, total = 0;

    while ((sent = ops->send(fixture->channel, bytes, sizeof(bytes))) > 0)
        total += sent;
    assert_int_equal(sent, -EAGAIN);
    assert_int_equal(ops->watch(fixture->channel, CHANNEL_WRITE), 0);
    while (total > 0)
        total -= recv(fixture->peer, bytes, sizeof(bytes), 0);
    assert_int_equal(ob_loop_run(fixture->loop), 0);
    assert_int_equal(fixture->told, 1);
    assert_false(fixture->gone);
}

static void test_end(void **state)
{
    struct fixture *fixture = *state;
    const struct channel_ops *ops = fixture->channel->ops;
    struct channel_fds fds = {.count = 0};
    char byte;

    assert_true(ops->alive(fixture->channel));
    assert_int_equal(ops->watch(fixture->channel, 0), 0);
    assert_int_equal(send(fixture->peer, "x", 1, 0), 1);
    fd_close(&fixture->peer);
    assert_false(ops->alive(fixture->channel)); /* though there is something to read */
    assert_int_equal(ob_loop_run(fixture->loop), 0);
    assert_true(fixture->gone); /* told without being asked for */
    assert_int_equal(receive(fixture, &byte, 1, &fds), 1);
    assert_int_equal(receive(fixture, &byte, 1, &fds), 0);
    assert_int_equal(ops->send(fixture->channel, "x", 1), -EPIPE); /* and no signal */
}

static void test_not_a_connected_stream(void **state)
{
    struct fixture *fixture = *state;
    struct channel *channel = NULL;
    int fds[4] = {
        eventfd(0, EFD_CLOEXEC),
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
        socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
        socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
    };

    assert_int_equal(channel_unix_new(fixture->loop, fds[0], &channel), -ENOTSOCK);
    assert_int_equal(channel_unix_new(fixture->loop, fds[1], &channel), -ENOTCONN);
    if (fds[2] >= 0)
        assert_int_equal(channel_unix_new(fixture->loop, fds[2], &channel), -EPROTOTYPE);
    assert_int_equal(channel_unix_new(fixture->loop, fds[3], &channel), -EPROTOTYPE);
    assert_int_equal(channel_unix_new(fixture->loop, -1, &channel), -EBADF);
    assert_null(channel);
    fd_close_all(fds, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_more_than_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_connected_stream, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
