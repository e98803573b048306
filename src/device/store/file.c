/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file store: a disk in a regular file or on a block device.
 *
 * Data goes between guest memory and the file without a copy of ours. Where the file takes
 * direct I/O, the page cache is not in between either: it would hold every block a second
 * time, beside the guest's own cache.
 *
 * Three ways lead to the file, and a request takes the first that can serve it:
 *
 *   at once   the file is in memory (tmpfs): preadv and pwritev are copies
 *   ring      io_uring, for reads and writes that the file takes without blocking
 *   pool      threads that block: flushes, discards, zeros; what the ring gives back because it
 *             would block (blocks to allocate, for one) or came out short; buffers that direct
 *             I/O does not take, which are bounced
 *
 * So the ring never needs the kernel's own worker threads, which wake an idle process (see
 * offload.c), and all that is difficult is plain sequential code.
 *
 * A flush is fdatasync: it covers every write that was completed before, whichever way and
 * queue it took. STORE_FUA is RWF_DSYNC.
 *
 * Two programs that write to one disk destroy it. So a whole-file lock is held, which other
 * users of such locks (QEMU among them) respect, and a block device is opened exclusively,
 * which fails while it is mounted. A program that was killed a moment ago may hold both until
 * the kernel has ended its requests: we wait a little.
 */

#include "device/store/file.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How long a file may be held by a program that is just ending, and how often we look. */
#define BUSY_WAIT_MS 2000
#define BUSY_LOOK_MS 5

/* Most threads for calls that block. File systems serialise most of what ends up there; a few
 * in parallel keep one slow call (a long discard) from holding up the flushes behind it. */
#define OFFLOAD_THREADS 8

static void sleep_ms(unsigned ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000L};

    while (nanosleep(&time, &time) < 0 && errno == EINTR) {
    }
}

static int open_retrying(const char *path, int flags)
{
    for (unsigned waited = 0;; waited += BUSY_LOOK_MS) {
        int fd = open(path, flags);
        if (fd >= 0)
            return fd;
        if (errno != EINTR && (errno != EBUSY || waited >= BUSY_WAIT_MS))
            return -errno;
        sleep_ms(BUSY_LOOK_MS);
    }
}

static int lock_retrying(int fd, bool read_only)
{
    struct flock lock = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    for (unsigned waited = 0;; waited += BUSY_LOOK_MS) {
        if (!fcntl(fd, F_OFD_SETLK, &lock))
            return 0;
        if ((errno != EAGAIN && errno != EACCES) || waited >= BUSY_WAIT_MS)
            return -errno;
        sleep_ms(BUSY_LOOK_MS);
    }
}

static int log_open_error(const struct store_options *options, int error)
{
    const char *path = options->address;

    switch (-error) {
    case ENOENT:
        log_error(options->log, "there is no file '%s': create it, as by truncate -s 10G '%s'",
                  path, path);
        break;
    case EBUSY:
        log_error(options->log,
                  "'%s' is in use by the system, mounted for instance: unmount it, or serve it "
                  "read-only",
                  path);
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        log_error(options->log, "cannot open '%s' for %s: %s%s", path,
                  options->read_only ? "reading" : "writing", strerror(-error),
                  options->read_only ? "" : "; can it be served read-only?");
        break;
    default: log_error(options->log, "cannot open '%s': %s", path, strerror(-error)); break;
    }
    return error;
}

static int open_and_lock(struct file *file, const struct store_options *options)
{
    int flags = O_CLOEXEC | (options->read_only ? O_RDONLY : O_RDWR);
    struct stat stat_buf;

    /* Before open(), which would wait for the other end of a pipe. */
    if (stat(options->address, &stat_buf) < 0)
        return log_open_error(options, -errno);
    file->block_device = S_ISBLK(stat_buf.st_mode);
    if (!file->block_device && !S_ISREG(stat_buf.st_mode)) {
        log_error(options->log, "'%s' is neither a file nor a block device", options->address);
        return -EINVAL;
    }
    if (file->block_device && !options->read_only)
        flags |= O_EXCL;
    file->fd = open_retrying(options->address, flags);
    if (file->fd < 0)
        return log_open_error(options, file->fd);
    int error = lock_retrying(file->fd, options->read_only);
    if (error == -EAGAIN || error == -EACCES) {
        log_error(options->log,
                  "'%s' is locked by another program (lslocks shows which): stop that, or have "
                  "both use it read-only",
                  options->address);
        return error;
    }
    if (error) {
        log_warning(options->log, "cannot lock '%s' (%s): see that nobody else writes to it",
                    options->address, strerror(-error));
    }
    return 0;
}

static int destroy(struct file *file, int result)
{
    offload_free(file->offload);
    fd_close(&file->fd);
    pthread_mutex_destroy(&file->sync_lock);
    free(file->path);
    free(file);
    return result;
}

static int file_open(const struct store_options *options, struct store **ret)
{
    struct file *file = calloc(1, sizeof(*file));

    if (!file)
        return -ENOMEM;
    file->store.ops = &store_file;
    pthread_mutex_init(&file->sync_lock, NULL);
    file->log = options->log;
    file->fd = -1;
    file->path = strdup(options->address);
    int error = file->path ? open_and_lock(file, options) : -ENOMEM;
    if (!error)
        error = file_probe(file, options);
    if (!error) {
        error = offload_new(OFFLOAD_THREADS, file_slow_serve, &file->offload);
        if (error) {
            log_error(options->log, "cannot start a thread for '%s': %s", file->path,
                      strerror(-error));
        }
    }
    if (error)
        return destroy(file, error);
    *ret = &file->store;
    return 0;
}

static int file_close(struct store *store)
{
    struct file *file = container_of(store, struct file, store);
    int error = 0;

    if (!store->info.read_only && (file->sync_failed || fdatasync(file->fd) < 0)) {
        error = file->sync_failed ? -EIO : -errno;
        log_error(file->log, "the last writes to '%s' may be lost: %s", file->path,
                  strerror(-error));
    }
    return destroy(file, error);
}

static int file_refresh(struct store *store)
{
    struct file *file = container_of(store, struct file, store);

    return file_capacity(file, &store->info.capacity);
}

const struct store_ops store_file = {
    .size = sizeof(struct store_ops),
    .name = "file",
    .address = "PATH",
    .help = "a file or a block device",
    .open = file_open,
    .close = file_close,
    .refresh = file_refresh,
    .queue_open = file_queue_open,
    .submit = file_queue_submit,
    .push = file_queue_push,
    .reap = file_queue_reap,
    .pending = file_queue_pending,
    .queue_close = file_queue_close,
};
