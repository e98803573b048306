/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors
 *
 * A peer passes descriptors in messages and may pass anything. What must be an eventfd is
 * verified by the name that the kernel gives such a file (/proc/self/fd), since there is no
 * call to ask, and made non-blocking: a write to a full eventfd would otherwise stop the
 * thread that notifies for as long as the peer likes.
 */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void fd_close(int *fd)
{
    int saved_errno = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved_errno;
}

void fd_close_all(int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        fd_close(&fds[i]);
}

int fd_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int fd_check_eventfd(int fd)
{
    static const char expected[] = "anon_inode:[eventfd]";
    char path[32], target[sizeof(expected) + 1];
    ssize_t len;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    len = readlink(path, target, sizeof(target));
    if (len < 0)
        return -EBADF;
    if ((size_t)len != sizeof(expected) - 1 || memcmp(target, expected, sizeof(expected) - 1))
        return -EINVAL;
    return fd_set_nonblocking(fd);
}

bool fd_signal(int fd)
{
    uint64_t one = 1;

    return write(fd, &one, sizeof(one)) == sizeof(one);
}
