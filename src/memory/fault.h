/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMORY_FAULT_H
#define MEMORY_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* Ranges that may be registered in one process: some devices with all their slots taken. */
#define FAULT_RANGES_MAX 8192

/*
 * Tells ob_memory_fault() of a mapping, and what to set when it is hit. Any thread.
 * Returns a slot, or -ENOSPC.
 */
int fault_register(void *base, size_t length, bool *faulted);

/* Before the mapping goes away; nobody may touch it any more. Any thread. */
void fault_unregister(int slot);

#endif
