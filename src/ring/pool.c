/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pool of requests
 *
 * All requests that a queue can have out are reserved when it starts, and nothing is allocated
 * later. What is reserved is address space: the kernel gives pages as they are first touched,
 * and as free requests are a stack, only as many are touched as were ever out together. So a
 * ring of 32768 entries costs an idle disk nothing.
 *
 * Most chains have a few ranges, which fit the request; a longer one moves to a table of its
 * request, of which likewise only the used part takes memory. The stride between requests is an
 * odd number of cache lines: with a power of two their headers would share a few cache sets.
 */

#include "ring/pool.h"

#include <errno.h>
#include <sys/mman.h>

#define LINE 64
#define TABLE_BYTES (OB_CHAIN_RANGES_MAX * (sizeof(struct iovec) + sizeof(uint64_t)))

int pool_init(struct pool *pool, size_t request_size, unsigned capacity)
{
    size_t lines = (request_size + LINE - 1) / LINE | 1;
    void *area;

    *pool = (struct pool){.capacity = capacity, .stride = lines * LINE};
    pool->mapped = capacity * (pool->stride + TABLE_BYTES);
    area = mmap(NULL, pool->mapped, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return -ENOMEM;
    /* A huge page would make the untouched rest real. */
    madvise(area, pool->mapped, MADV_NOHUGEPAGE);
    pool->requests = area;
    pool->tables = pool->requests + capacity * pool->stride;
    return 0;
}

void pool_done(struct pool *pool)
{
    if (pool->requests)
        munmap(pool->requests, pool->mapped);
    *pool = (struct pool){0};
}

struct ob_chain *pool_get_fresh(struct pool *pool)
{
    struct ob_chain *chain;

    if (pool->fresh == pool->capacity)
        return NULL;
    chain = (struct ob_chain *)(pool->requests + pool->fresh++ * pool->stride);
    pool->taken++;
    return chain;
}

void pool_table(const struct pool *pool, const struct ob_chain *chain, struct iovec **ret_iov,
                uint64_t **ret_guest)
{
    size_t index = (size_t)((const uint8_t *)chain - pool->requests) / pool->stride;
    uint8_t *table = pool->tables + index * TABLE_BYTES;

    *ret_iov = (struct iovec *)table;
    *ret_guest = (uint64_t *)(*ret_iov + OB_CHAIN_RANGES_MAX);
}
