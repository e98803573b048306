/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

/*
 * The few words that the language lacks. Shared memory is little-endian (virtio 1.x), and so
 * is every machine that we build for: conversions would only be noise.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "only little-endian machines");
_Static_assert(sizeof(void *) == 8, "only 64-bit machines");

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define array_size(array) (sizeof(array) / sizeof((array)[0]))
#define likely(cond) __builtin_expect(!!(cond), 1)
#define unlikely(cond) __builtin_expect(!!(cond), 0)
#define always_inline inline __attribute__((always_inline))

/* Has a cache line fetched that will be written: one transfer, not one to read and one to own.
 * (Compilers take the instruction only for newer processors; older ones pass over it.) */
static inline void prefetch_write(const void *ptr)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)ptr));
#else
    __builtin_prefetch(ptr, 1);
#endif
}

/* One load or store of a value that another thread or a peer may change meanwhile: the
 * compiler neither repeats nor splits it. */
#define load_once(ptr) __atomic_load_n((ptr), __ATOMIC_RELAXED)
#define store_once(ptr, value) __atomic_store_n((ptr), (value), __ATOMIC_RELAXED)
#define load_acquire(ptr) __atomic_load_n((ptr), __ATOMIC_ACQUIRE)
#define store_release(ptr, value) __atomic_store_n((ptr), (value), __ATOMIC_RELEASE)

/* A counter that its one owner raises and others read. */
static inline void counter_add(uint64_t *counter, uint64_t amount)
{
    store_once(counter, *counter + amount);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline bool is_power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}

/* True if [start, start + len) lies inside [0, size), whatever the values. */
static inline bool range_inside(uint64_t start, uint64_t len, uint64_t size)
{
    return start <= size && len <= size - start;
}

/* True if start + len does not fit 64 bits. */
static inline bool range_wraps(uint64_t start, uint64_t len)
{
    uint64_t end;
    return __builtin_add_overflow(start, len, &end);
}

/* Tells the core that we spin. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
