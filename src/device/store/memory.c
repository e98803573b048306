/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory store: a disk in anonymous memory, gone with the process. Every request is done
 * at once, on the caller's thread.
 *
 * Pages are taken as they are first written: reading what was never written costs none. Two
 * requests on the same bytes at the same time mix, as on a real disk, and nothing else is
 * shared, so queues need neither locks nor contexts.
 *
 * DISCARD and WRITE_ZEROES give whole pages back to the kernel, which the kernel does on our
 * thread: RANGE_MAX bounds how long that keeps other queues of the worker waiting.
 */

#include "device/store.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Giving 64 MiB back takes about 5 ms. */
#define RANGE_MAX (64u << 20)

struct memory {
    struct store store;
    struct store_queue queue;
    char *bytes;
    uint64_t page_size;
};

static int memory_open(const struct store_options *options, struct store **ret)
{
    uint64_t capacity;
    int error = store_parse_capacity(options, store_memory.name, &capacity);

    if (error)
        return error;
    struct memory *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return -ENOMEM;
    memory->bytes = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory->bytes == MAP_FAILED) {
        error = -errno;
        log_error(options->log, "cannot reserve %" PRIu64 " bytes for '%s:%s': %s", capacity,
                  store_memory.name, options->address, strerror(-error));
        free(memory);
        return error;
    }
    memory->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    memory->store.ops = &store_memory;
    memory->store.info = (struct store_info){
        .capacity = capacity,
        .block_size = STORE_BLOCK_MIN,
        .physical_block_size = (uint32_t)memory->page_size,
        .discard_granularity = (uint32_t)memory->page_size,
        .range_max = RANGE_MAX,
        .read_only = options->read_only,
        .discard = !options->read_only,
        .zero_unmaps = !options->read_only,
    };
    memory->queue.store = &memory->store;
    *ret = &memory->store;
    return 0;
}

static int memory_close(struct store *store)
{
    struct memory *memory = container_of(store, struct memory, store);

    munmap(memory->bytes, store->info.capacity);
    free(memory);
    return 0;
}

static int memory_queue_open(struct store *store, const struct store_queue_options *options,
                             struct store_queue **ret)
{
    *ret = &container_of(store, struct memory, store)->queue;
    return 0;
}

static void copy_out(char *from, const struct store_io *io)
{
    for (unsigned i = 0; i < io->n_iov; i++) {
        memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
        from += io->iov[i].iov_len;
    }
}

static void copy_in(char *to, const struct store_io *io)
{
    for (unsigned i = 0; i < io->n_iov; i++) {
        memcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
        to += io->iov[i].iov_len;
    }
}

/* Zeros, and no memory behind them where whole pages are inside. */
static void make_zero(const struct memory *memory, uint64_t offset, uint64_t length)
{
    uint64_t mask = memory->page_size - 1;
    uint64_t end = offset + length;
    uint64_t first = (offset + mask) & ~mask;
    uint64_t last = end & ~mask;

    if (first >= last || madvise(memory->bytes + first, last - first, MADV_DONTNEED) < 0) {
        memset(memory->bytes + offset, 0, length);
        return;
    }
    memset(memory->bytes + offset, 0, first - offset);
    memset(memory->bytes + last, 0, end - last);
}

static enum store_submit memory_submit(struct store_queue *queue, struct store_io *io)
{
    struct memory *memory = container_of(queue, struct memory, queue);

    io->result = 0;
    if (io->op == STORE_FLUSH)
        return STORE_DONE;
    if (unlikely(!range_inside(io->offset, io->length, memory->store.info.capacity))) {
        io->result = -EIO;
        return STORE_DONE;
    }
    switch (io->op) {
    case STORE_READ: copy_out(memory->bytes + io->offset, io); break;
    case STORE_WRITE: copy_in(memory->bytes + io->offset, io); break;
    default: make_zero(memory, io->offset, io->length); break;
    }
    return STORE_DONE;
}

const struct store_ops store_memory = {
    .size = sizeof(struct store_ops),
    .name = "memory",
    .address = "SIZE",
    .help = "a disk in memory, gone when the program ends",
    .open = memory_open,
    .close = memory_close,
    .queue_open = memory_queue_open,
    .submit = memory_submit,
};
