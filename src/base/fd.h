/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stdint.h>

/* Closes *fd if it is one, and makes it -1; errno stays. */
void fd_close(int *fd);

/* Closes n descriptors, as fd_close(). */
void fd_close_all(int *fds, unsigned n);

/* 0 or -errno. */
int fd_set_nonblocking(int fd);

/*
 * Checks that a descriptor from a peer is an eventfd, so that writing to it cannot block or
 * reach something else, and makes it non-blocking. 0, -EBADF (closed), -EINVAL (no eventfd).
 */
int fd_check_eventfd(int fd);

/* Adds one to an eventfd; never blocks. True if it was added. */
bool fd_signal(int fd);

#endif
