/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults in peers' memory
 *
 * A peer may truncate a file that we have mapped; the next access is a SIGBUS. The program's
 * handler asks ob_memory_fault(), which looks the address up here, puts private zero pages over
 * the whole region, so that the access can be repeated, and sets a flag that breaks the queues
 * of the device that owned it. Others go on.
 *
 * A signal handler can find nothing but globals, so the table is one, the only mutable global
 * of the library. Its slots are static and lock-free: base is 0 in a free slot, 1 while one is
 * being filled, and is written last and cleared first. A handler that reads a slot while it
 * changes sees base change and skips it; the slot that it is after cannot change, since the
 * thread that faulted holds a reference to the map that holds the region.
 */

#include "memory/fault.h"

#include "base/util.h"

#include <errno.h>
#include <outboard/memory.h>
#include <sys/mman.h>

#define SLOT_FREE 0
#define SLOT_RESERVED 1 /* no mapping begins there */

struct fault_range {
    uintptr_t base;
    size_t length;
    bool *faulted;
};

static struct fault_range ranges[FAULT_RANGES_MAX];

int fault_register(void *base, size_t length, bool *faulted)
{
    for (int i = 0; i < FAULT_RANGES_MAX; i++) {
        uintptr_t expected = SLOT_FREE;

        if (load_once(&ranges[i].base) != SLOT_FREE ||
            !__atomic_compare_exchange_n(&ranges[i].base, &expected, SLOT_RESERVED, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        store_once(&ranges[i].length, length);
        store_once(&ranges[i].faulted, faulted);
        store_release(&ranges[i].base, (uintptr_t)base);
        return i;
    }
    return -ENOSPC;
}

void fault_unregister(int slot)
{
    store_release(&ranges[slot].base, SLOT_FREE);
}

static bool fault_in(struct fault_range *range, uintptr_t addr)
{
    uintptr_t base = load_acquire(&range->base);
    size_t length = load_once(&range->length);
    bool *faulted = load_once(&range->faulted);

    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (base <= SLOT_RESERVED || addr < base || addr - base >= length ||
        load_once(&range->base) != base)
        return false;
    if (mmap((void *)base, length, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return false;
    store_release(faulted, true);
    return true;
}

bool ob_memory_fault(void *addr)
{
    int saved_errno = errno;
    bool found = false;

    for (int i = 0; i < FAULT_RANGES_MAX && !found; i++)
        found = fault_in(&ranges[i], (uintptr_t)addr);
    errno = saved_errno;
    return found;
}
