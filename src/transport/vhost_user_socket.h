/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_VHOST_USER_SOCKET_H
#define TRANSPORT_VHOST_USER_SOCKET_H

#include <outboard/log.h>

#include <stdbool.h>
#include <sys/types.h>

/* A Unix stream socket with a name in the file system. */
struct vhost_user_socket {
    int fd;     /* the listening socket, or -1 */
    int folder; /* where the name lives */
    char *name; /* in the folder; NULL: the socket was inherited, its file is not ours */
    dev_t dev;  /* the file that we made */
    ino_t ino;
};

/*
 * Binds and listens. A socket file that nobody listens on is replaced.
 * 0; -EADDRINUSE (somebody listens, or the file is not a socket), or -errno, with the cause
 * logged.
 */
int vhost_user_socket_listen(const char *path, const struct ob_log *log,
                             struct vhost_user_socket *ret);

/* Closes, and removes the file if it is still the one that was made. */
void vhost_user_socket_close(struct vhost_user_socket *socket);

/* Connects without waiting. ret: the descriptor. 0 or -errno. */
int vhost_user_socket_connect(const char *path, int *ret);

/* Takes a connection without waiting. ret: the descriptor. 0 or -errno. */
int vhost_user_socket_accept(int fd, int *ret);

/* True if an inherited socket listens. */
bool vhost_user_socket_listens(int fd);

#endif
