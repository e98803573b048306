/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_STORE_H
#define DEVICE_STORE_H

/*
 * The store contract: where the bytes of a disk live.
 *
 * A store is opened once, on the control thread, and then used by any number of queues, each
 * on the thread of its worker and each with a context of its own (struct store_queue), so that
 * stores need no locks of their own per request. A request for a store is a struct store_io,
 * which the caller embeds in its own request: nothing is allocated on the way.
 *
 *   queue_open ── submit* ── push ── reap* ── ... ── queue_close
 *                    │                 ▲
 *                    └─ or done at once, and then never reaped
 */

#include <outboard/log.h>
#include <outboard/loop.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Smallest logical block: the unit of the virtio-blk protocol (virtio 1.3, 5.2.6). */
#define STORE_BLOCK_MIN 512u

/* Largest logical block offered: no known driver takes more. */
#define STORE_BLOCK_MAX 65536u

struct store;
struct store_ops;
struct store_queue;

enum store_op {
    STORE_READ,
    STORE_WRITE,
    STORE_FLUSH,        /* what was written and completed before is durable after */
    STORE_DISCARD,      /* what the range holds after is not defined */
    STORE_WRITE_ZEROES, /* the range reads as zeros after */
};

enum store_io_flag {
    STORE_FUA = 1,   /* WRITE, WRITE_ZEROES: complete only once this write is durable */
    STORE_UNMAP = 2, /* WRITE_ZEROES: the space may be given back */
};

/*
 * One request. The caller fills in the first part, for READ and WRITE the ranges too, whose
 * lengths add up to length. Offset and length are multiples of the store's block size and
 * were checked against a capacity, maybe an outdated one: the store checks what it must for
 * its own safety. Ranges and their memory stay until the request is done, and the store does
 * not change them.
 */
struct store_io {
    const struct iovec *iov;
    uint32_t n_iov;
    uint8_t op;    /* enum store_op */
    uint8_t flags; /* enum store_io_flag */
    uint64_t offset;
    uint64_t length;
    int result; /* out: 0 or -errno */

    /* The store's from submit() until the request is done. */
    struct store_queue *queue;
    struct store_io *next;
    struct ob_work work;
    uint64_t progress;
};

/* What submit() says. */
enum store_submit {
    STORE_QUEUED, /* reap() will return it */
    STORE_DONE,   /* it is done: result is set, reap() will not return it */
};

/* What a store is like. All but capacity stays as it is after open(). */
struct store_info {
    uint64_t capacity;            /* bytes */
    uint32_t block_size;          /* unit of offsets and lengths, a power of two */
    uint32_t physical_block_size; /* unit that is written without reading first */
    uint32_t optimal_io;          /* bytes; 0: unknown */
    uint32_t discard_granularity; /* bytes, at least block_size */
    uint32_t range_max;           /* bytes in one DISCARD or WRITE_ZEROES */
    bool read_only;               /* takes READ and FLUSH only */
    bool discard;                 /* takes DISCARD */
    bool zero_unmaps;             /* WRITE_ZEROES with STORE_UNMAP may give space back */
};

/* Every store starts with this. */
struct store {
    const struct store_ops *ops;
    struct store_info info;
};

/* Every store's context of a queue starts with this. */
struct store_queue {
    struct store *store;
};

struct store_options {
    const char *address; /* what follows "NAME:" in the source */
    bool read_only;
    uint32_t block_size; /* the logical block size that the disk will show, or 0 for the
                            store's own; a store that can serve smaller blocks only does so */
    const struct ob_log *log;
};

struct store_queue_options {
    struct ob_loop *loop;    /* of the worker; outlives the store, whose threads post to it */
    unsigned depth;          /* most requests that will be under way at a time */
    void (*wake)(void *ctx); /* worker: something may be reaped; called unless it is obvious to
                                whoever polls reap() */
    void *ctx;
    const struct ob_log *log;
};

/* A kind of store. Verbs are called on the control thread unless they say "worker". */
struct store_ops {
    size_t size;         /* sizeof(struct store_ops) */
    const char *name;    /* the word before the colon */
    const char *address; /* for the help text: the form of what follows the colon ... */
    const char *help;    /* ... and what it is, in a few words */

    /* 0, or -errno with the cause in the log. */
    int (*open)(const struct store_options *options, struct store **ret);
    /* Makes everything durable and frees. No queue is open. 0, or -errno with the cause in
     * the log if durability cannot be promised. */
    int (*close)(struct store *store);
    /* Reads the capacity again. 0, or -errno with the cause in the log.
     * Default: it never changes. */
    int (*refresh)(struct store *store);

    /* Worker: a context for one queue. 0 or -errno. */
    int (*queue_open)(struct store *store, const struct store_queue_options *options,
                      struct store_queue **ret);
    /* Worker: takes a request. Never blocks for long, never fails but through result. */
    enum store_submit (*submit)(struct store_queue *queue, struct store_io *io);
    /* Worker: after a burst of submit(). Default: submit() does all. */
    void (*push)(struct store_queue *queue);
    /* Worker: fetches up to max finished requests. @return how many.
     * Default: all are done at once. */
    unsigned (*reap)(struct store_queue *queue, struct store_io **ios, unsigned max);
    /* Worker: before the queue sleeps; true if push() or reap() has something to do at once,
     * else wake() will be called when it has. Default: false. */
    bool (*pending)(struct store_queue *queue);
    /* Worker: no request is under way. Default: nothing to do. */
    void (*queue_close)(struct store_queue *queue);
};

/* Tables of stores end with NULL; their first entry takes the sources without a known name. */
extern const struct store_ops *const store_table[];

extern const struct store_ops store_file;
extern const struct store_ops store_memory;
extern const struct store_ops store_null;

/*
 * Opens a source, "NAME:ADDRESS" or, for the table's first store, just "ADDRESS". 0, or
 * -errno with the cause in the log. block_size as in struct store_options.
 */
int store_open(const struct store_ops *const *table, const char *source,
               const struct store_options *options, struct store **ret);

/* As the verb; NULL is fine. */
int store_close(struct store *store);

/*
 * Reads a size: digits and one of the suffixes k, M, G, T, P, E (powers of 1024; case does not
 * matter; "iB" and "B" may follow). 0, -EINVAL, or -ERANGE.
 */
int store_parse_size(const char *text, uint64_t *ret);

/* For stores whose address is a size: a whole number of sectors, not zero; else logs. */
int store_parse_capacity(const struct store_options *options, const char *name, uint64_t *ret);

#endif
