/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: sockets in the file system
 *
 * A socket address has room for 107 bytes of path, which deep folders exceed. The folder is
 * therefore opened, and a long path spelled /proc/self/fd/FOLDER/NAME. The folder stays open
 * for as long as the socket listens, so that the file which is removed in the end is the one
 * that was made, whatever happened to the names above it meanwhile.
 *
 * A file left behind by a process that died would keep the next one from listening. It is
 * removed only if connecting to it is refused, which says that nobody listens; a file that is
 * not a socket is refused likewise by the kernel and is never touched.
 */

#include "transport/vhost_user_socket.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Front-ends that knock while one is being served; each is turned away at once. */
#define SOCKET_BACKLOG 16

/* Opens the folder of a path and finds the name in it. */
static int open_folder(const char *path, int *ret_folder, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *folder;
    int fd;

    if (!*name)
        return -EISDIR;
    folder = !slash ? strdup(".") : slash == path ? strdup("/") : strndup(path, slash - path);
    if (!folder)
        return -ENOMEM;
    fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return -errno;
    *ret_folder = fd;
    *ret_name = name;
    return 0;
}

/* The address of a path; folder and name are used if it is too long by itself. */
static int make_address(const char *path, int folder, const char *name, struct sockaddr_un *ret)
{
    size_t room = sizeof(ret->sun_path);

    memset(ret, 0, sizeof(*ret));
    ret->sun_family = AF_UNIX;
    if (strlen(path) < room) {
        memcpy(ret->sun_path, path, strlen(path));
        return 0;
    }
    if ((size_t)snprintf(ret->sun_path, room, "/proc/self/fd/%d/%s", folder, name) >= room)
        return -ENAMETOOLONG;
    return 0;
}

static int stream_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

static int connect_address(const struct sockaddr_un *address, int *ret)
{
    int fd = stream_socket(), result;

    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        result = -errno;
        fd_close(&fd);
        return result;
    }
    *ret = fd;
    return 0;
}

int vhost_user_socket_connect(const char *path, int *ret)
{
    struct sockaddr_un address;
    const char *name;
    int folder, result;

    result = open_folder(path, &folder, &name);
    if (result < 0)
        return result;
    result = make_address(path, folder, name, &address);
    if (!result)
        result = connect_address(&address, ret);
    fd_close(&folder);
    return result;
}

/* Removes a socket file that nobody listens on. 0, or -EADDRINUSE with the cause logged. */
static int remove_stale(const char *path, const struct vhost_user_socket *socket,
                        const struct sockaddr_un *address, const struct ob_log *log)
{
    struct stat stat;
    int fd, result;

    if (fstatat(socket->folder, socket->name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISSOCK(stat.st_mode)) {
        log_error(log, "vhost-user: %s exists and is not a socket: choose another path", path);
        return -EADDRINUSE;
    }
    result = connect_address(address, &fd);
    if (result == -ENOENT)
        return 0;
    if (result != -ECONNREFUSED) {
        if (!result)
            fd_close(&fd);
        else if (result != -EAGAIN && result != -EPROTOTYPE)
            log_warning(log, "vhost-user: connecting to %s: %s", path, strerror(-result));
        log_error(log,
                  "vhost-user: %s is in use by another program: stop it or choose another path",
                  path);
        return -EADDRINUSE;
    }
    log_info(log, "vhost-user: removing %s, left behind by a program that ended", path);
    return unlinkat(socket->folder, socket->name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_and_listen(const char *path, struct vhost_user_socket *socket,
                           const struct ob_log *log)
{
    struct sockaddr_un address;
    struct stat stat;
    int result = make_address(path, socket->folder, socket->name, &address);

    if (result < 0)
        return result;
    if (bind(socket->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno != EADDRINUSE)
            return -errno;
        result = remove_stale(path, socket, &address, log);
        if (result < 0)
            return result;
        if (bind(socket->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            return -errno;
    }
    if (fstatat(socket->folder, socket->name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    socket->dev = stat.st_dev;
    socket->ino = stat.st_ino;
    return listen(socket->fd, SOCKET_BACKLOG) < 0 ? -errno : 0;
}

int vhost_user_socket_listen(const char *path, const struct ob_log *log,
                             struct vhost_user_socket *ret)
{
    struct vhost_user_socket socket = {.fd = -1, .folder = -1};
    const char *name;
    int result = open_folder(path, &socket.folder, &name);

    if (!result) {
        socket.name = strdup(name);
        socket.fd = socket.name ? stream_socket() : -ENOMEM;
        result = socket.fd < 0 ? socket.fd : bind_and_listen(path, &socket, log);
    }
    if (result < 0) {
        if (result != -EADDRINUSE)
            log_error(log, "vhost-user: cannot listen on %s: %s", path, strerror(-result));
        vhost_user_socket_close(&socket);
        return result;
    }
    *ret = socket;
    return 0;
}

void vhost_user_socket_close(struct vhost_user_socket *socket)
{
    struct stat stat;

    if (socket->name && socket->ino &&
        fstatat(socket->folder, socket->name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
        stat.st_dev == socket->dev && stat.st_ino == socket->ino)
        unlinkat(socket->folder, socket->name, 0);
    fd_close(&socket->fd);
    fd_close(&socket->folder);
    free(socket->name);
    socket->name = NULL;
}

int vhost_user_socket_accept(int fd, int *ret)
{
    int taken;

    do {
        taken = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (taken < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (taken < 0)
        return -errno;
    *ret = taken;
    return 0;
}

bool vhost_user_socket_listens(int fd)
{
    int listens = 0;
    socklen_t len = sizeof(listens);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens;
}
