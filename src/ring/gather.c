/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gathering, the rare cases
 *
 * The common descriptor lies in the region of the one before and finds room in the request;
 * ring/gather.h handles it inline. Here is what is left: a range in another region or across
 * several (regions that touch for the driver need not for us, so one descriptor may become
 * several ranges), a chain with many ranges, and all that is wrong.
 *
 * A translation may answer -EAGAIN: it is passed up, nothing of the chain is consumed, and the
 * pop is repeated when the map changes.
 */

#include "ring/gather.h"

#include "base/log.h"

#include <inttypes.h>
#include <string.h>

static int append(struct ob_queue *queue, struct ob_chain *chain, struct gathering *gathering,
                  void *host, uint64_t addr, uint64_t len, bool write)
{
    unsigned count = gathering->count;
    struct iovec *iov = chain->iov_inline;
    uint64_t *guest = chain->guest_inline;

    if (count == OB_CHAIN_RANGES_MAX)
        return queue_bad(queue, "a chain has more than %d ranges, or loops", OB_CHAIN_RANGES_MAX);
    if (count >= OB_CHAIN_RANGES_INLINE)
        pool_table(&queue->pool, chain, &iov, &guest);
    if (count == OB_CHAIN_RANGES_INLINE) {
        memcpy(iov, chain->iov_inline, sizeof(chain->iov_inline));
        memcpy(guest, chain->guest_inline, sizeof(chain->guest_inline));
    }
    iov[count].iov_base = host;
    iov[count].iov_len = len;
    guest[count] = addr;
    gathering->count++;
    gathering->n_out += !write;
    return 0;
}

int gather_range_slow(struct ob_queue *queue, struct ob_chain *chain, struct gathering *gathering,
                      uint64_t addr, uint32_t len, bool write)
{
    enum ob_access access = write ? OB_ACCESS_WRITE : OB_ACCESS_READ;
    uint64_t left = len;

    if (!len)
        return queue_bad(queue, "a descriptor at address 0x%" PRIx64 " has no length", addr);
    if (!write && gathering->count != gathering->n_out)
        return queue_bad(queue, "a readable descriptor follows a writable one");
    if (range_wraps(addr, len))
        return queue_bad(queue, "0x%x bytes at address 0x%" PRIx64 " wrap around", len, addr);
    while (left) {
        void *host;
        const struct map_range *range;
        int64_t run = ob_map_translate(queue->map->map, OB_SPACE_DRIVER, addr, left, access, &host);
        int result;

        if (run == -EAGAIN)
            return -EAGAIN;
        if (run < 0)
            return queue_bad(queue, "0x%" PRIx64 " bytes at address 0x%" PRIx64
                             " are not memory that may be %s", left, addr,
                             write ? "written" : "read");
        result = append(queue, chain, gathering, host, addr, (uint64_t)run, write);
        if (result < 0)
            return result;
        range = map_find(queue->map->map, OB_SPACE_DRIVER, addr);
        if (range)
            gathering->range = range;
        addr += (uint64_t)run;
        left -= (uint64_t)run;
    }
    return 0;
}

int gather_table(struct ob_queue *queue, uint64_t addr, uint32_t len,
                 const struct vring_desc **ret)
{
    uint8_t *to = (uint8_t *)queue->table_copy;
    uint64_t left = len;

    if (!len || len % sizeof(**ret) || len > OB_CHAIN_RANGES_MAX * sizeof(**ret) ||
        range_wraps(addr, len))
        return queue_bad(queue, "an indirect table at 0x%" PRIx64 " has 0x%x bytes, not 1 to %d "
                         "times 16", addr, len, OB_CHAIN_RANGES_MAX);
    while (left) {
        void *host;
        int64_t run = ob_map_translate(queue->map->map, OB_SPACE_DRIVER, addr, left,
                                       OB_ACCESS_READ, &host);

        if (run == -EAGAIN)
            return -EAGAIN;
        if (run < 0)
            return queue_bad(queue, "an indirect table at 0x%" PRIx64 " is not in memory", addr);
        if (run == len) {
            *ret = host;
            return (int)(len / sizeof(**ret));
        }
        memcpy(to, host, (size_t)run);
        to += run;
        addr += (uint64_t)run;
        left -= (uint64_t)run;
    }
    *ret = queue->table_copy;
    return (int)(len / sizeof(**ret));
}

int gather_ring_area(const struct ob_queue *queue, const struct ring_area *area, void *ret_ptr)
{
    void *host;
    int64_t run = ob_map_translate(queue->map->map, queue->setup.space, area->addr, area->len,
                                   area->access, &host);

    if (run == -EAGAIN)
        return -EAGAIN;
    if (run < 0 || (uint64_t)run != area->len) {
        log_error(queue->log, "queue %u: its %s, 0x%" PRIx64 " bytes at address 0x%" PRIx64
                  ", is not in one memory region: give the region first", queue->index, area->name,
                  area->len, area->addr);
        return -EFAULT;
    }
    if ((uintptr_t)host % area->align) {
        log_error(queue->log, "queue %u: its %s at address 0x%" PRIx64 " lies in a region whose "
                  "file offset shifts it off its alignment of %u", queue->index, area->name,
                  area->addr, area->align);
        return -EFAULT;
    }
    memcpy(ret_ptr, &host, sizeof(host));
    return 0;
}
