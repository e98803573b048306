/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_POOL_H
#define RING_POOL_H

#include "base/util.h"

#include <outboard/queue.h>

/*
 * The requests of one queue. The free ones are a stack, so the same few stay in the cache
 * however large the ring is; untouched ones never take memory.
 */
struct pool {
    struct ob_chain *free;
    unsigned capacity;
    unsigned taken;
    unsigned fresh;      /* requests never used so far, which are on no list */
    size_t stride;       /* bytes from one request to the next */
    uint8_t *requests;
    uint8_t *tables;     /* one of OB_CHAIN_RANGES_MAX ranges for each request */
    size_t mapped;
};

/* Reserves address space for capacity requests. 0 or -ENOMEM. */
int pool_init(struct pool *pool, size_t request_size, unsigned capacity);

void pool_done(struct pool *pool);

/* The slow way of pool_get(): a request that was never used, or NULL when all are out. */
struct ob_chain *pool_get_fresh(struct pool *pool);

/* Where a chain's ranges lie that do not fit the request. */
void pool_table(const struct pool *pool, const struct ob_chain *chain, struct iovec **ret_iov,
                uint64_t **ret_guest);

/* A request, its ranges undefined, or NULL when all are out. */
static always_inline struct ob_chain *pool_get(struct pool *pool)
{
    struct ob_chain *chain = pool->free;

    if (unlikely(!chain))
        return pool_get_fresh(pool);
    pool->free = chain->next;
    pool->taken++;
    return chain;
}

static always_inline void pool_put(struct pool *pool, struct ob_chain *chain)
{
    chain->next = pool->free;
    pool->free = chain;
    pool->taken--;
}

#endif
