/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: regions refused and taken, translation by both kinds of address, snapshots that
 * outlive their regions, faults.
 */

#include "memory/map.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096ull
#define GUEST 0x100000000ull
#define USER 0x7f0000000000ull

struct fixture {
    struct ob_loop *loop;
    struct ob_memory *memory;
    int fd;
    unsigned released;
};

static void setup(struct fixture *f)
{
    struct ob_loop_options options = {0};

    *f = (struct fixture){0};
    assert_int_equal(ob_loop_new(&options, &f->loop), 0);
    assert_int_equal(ob_memory_new(f->loop, NULL, &f->memory), 0);
    f->fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->fd, 1024 * PAGE), 0);
}

struct last {
    struct ob_work work;
    struct ob_loop *loop;
};

static void last_run(struct ob_work *work)
{
    ob_loop_stop(container_of(work, struct last, work)->loop);
}

/* Runs what is posted. */
static void run_loop(struct fixture *f)
{
    struct last last = {.work.run = last_run, .loop = f->loop};

    ob_loop_post(f->loop, &last.work);
    assert_int_equal(ob_loop_run(f->loop), 0);
}

static void teardown(struct fixture *f)
{
    ob_memory_free(f->memory);
    run_loop(f);
    ob_loop_free(f->loop);
    close(f->fd);
}

static struct ob_region_info region_at(uint64_t page, uint64_t pages)
{
    return (struct ob_region_info){
        .driver_addr = GUEST + page * PAGE,
        .ring_addr = USER + page * PAGE,
        .size = pages * PAGE,
        .file_offset = page * PAGE,
        .access = OB_ACCESS_BOTH,
    };
}

static int add(struct fixture *f, struct ob_region_info info)
{
    return ob_memory_add(f->memory, &info, f->fd);
}

static void released(void *ctx)
{
    ((struct fixture *)ctx)->released++;
}

static void refused_regions(void **state)
{
    struct fixture f;
    struct ob_region_info info;
    int pipes[2];

    (void)state;
    setup(&f);
    info = region_at(0, 0);
    assert_int_equal(add(&f, info), -EINVAL);
    info = region_at(0, 1025); /* the file is shorter */
    assert_int_equal(add(&f, info), -EINVAL);
    info = region_at(1024, 1);
    assert_int_equal(add(&f, info), -EINVAL);
    info = region_at(0, 1);
    info.driver_addr = UINT64_MAX - PAGE + 1; /* ends at 2^64 */
    assert_int_equal(add(&f, info), -EINVAL);
    info = region_at(0, 1);
    info.ring_addr = UINT64_MAX - 5;
    assert_int_equal(add(&f, info), -EINVAL);
    info = region_at(0, 1);
    info.file_offset = UINT64_MAX - 5;
    assert_int_equal(add(&f, info), -EINVAL);
    info.file_offset = 1ull << 63; /* negative for mmap() */
    assert_true(add(&f, info) < 0);
    info = region_at(0, 1);
    info.size = UINT64_MAX - PAGE;
    assert_int_equal(add(&f, info), -EINVAL);

    assert_int_equal(add(&f, region_at(10, 10)), 0);
    assert_int_equal(add(&f, region_at(19, 1)), -EEXIST);
    assert_int_equal(add(&f, region_at(5, 20)), -EEXIST);
    info = region_at(30, 1);
    info.ring_addr = USER + 15 * PAGE; /* user addresses alone overlap */
    assert_int_equal(add(&f, info), -EEXIST);
    assert_int_equal(add(&f, region_at(20, 1)), 0);

    assert_int_equal(pipe(pipes), 0);
    info = region_at(40, 1);
    assert_true(ob_memory_add(f.memory, &info, pipes[0]) < 0);
    assert_int_equal(ob_memory_add(f.memory, &info, -1), -EBADF);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(ob_memory_count(f.memory), 2);
    teardown(&f);
}

static void all_slots(void **state)
{
    struct fixture f;
    struct ob_region_info info;

    (void)state;
    setup(&f);
    for (unsigned i = 0; i < OB_MEMORY_SLOTS; i++)
        assert_int_equal(add(&f, region_at((i * 7 + 3) % OB_MEMORY_SLOTS * 2, 1)), 0);
    assert_int_equal(add(&f, region_at(1020, 1)), -ENOSPC);
    assert_int_equal(ob_memory_publish(f.memory, NULL, NULL), 0);
    for (unsigned i = 0; i < OB_MEMORY_SLOTS; i++) {
        struct ob_map *map = ob_memory_map(f.memory);
        void *host = NULL;

        assert_int_equal(ob_map_translate(map, OB_SPACE_DRIVER, GUEST + i * 2 * PAGE + 5, 2 * PAGE,
                                          OB_ACCESS_BOTH, &host), PAGE - 5);
        assert_int_equal(ob_map_translate(map, OB_SPACE_DRIVER, GUEST + (i * 2 + 1) * PAGE, 1,
                                          OB_ACCESS_READ, &host), -EFAULT);
    }
    info = region_at(4, 1);
    assert_int_equal(ob_memory_remove(f.memory, &info), 0);
    assert_int_equal(ob_memory_remove(f.memory, &info), -ENOENT);
    assert_int_equal(add(&f, region_at(4, 1)), 0);
    teardown(&f);
}

/* A file offset inside a page, as a front-end with its own header in the file has. */
static void odd_offsets(void **state)
{
    struct fixture f;
    struct ob_region_info info = region_at(0, 1);
    void *host;

    (void)state;
    setup(&f);
    assert_int_equal(pwrite(f.fd, "here", 4, 5000), 4);
    info.file_offset = 5000;
    info.size = 100;
    assert_int_equal(add(&f, info), 0);
    assert_int_equal(ob_memory_publish(f.memory, NULL, NULL), 0);
    assert_int_equal(ob_map_translate(ob_memory_map(f.memory), OB_SPACE_RING, USER, 200,
                                      OB_ACCESS_READ, &host), 100);
    assert_memory_equal(host, "here", 4);
    teardown(&f);
}

static void snapshots_outlive_regions(void **state)
{
    struct fixture f;
    struct ob_region_info info = region_at(0, 4);
    struct ob_map *map;
    void *host, *other;

    (void)state;
    setup(&f);
    assert_int_equal(add(&f, info), 0);
    assert_int_equal(ob_memory_publish(f.memory, released, &f), 0);
    run_loop(&f);
    assert_int_equal(f.released, 1); /* the empty one before */
    map = ob_map_ref(ob_memory_map(f.memory));
    assert_int_equal(ob_memory_remove(f.memory, &info), 0);
    assert_int_equal(ob_memory_publish(f.memory, released, &f), 0);
    run_loop(&f);
    assert_int_equal(f.released, 1); /* still held */
    assert_int_equal(ob_map_translate(map, OB_SPACE_DRIVER, GUEST, 1, OB_ACCESS_BOTH, &host), 1);
    *(char *)host = 'x';
    assert_int_equal(ob_map_translate(ob_memory_map(f.memory), OB_SPACE_DRIVER, GUEST, 1,
                                      OB_ACCESS_BOTH, &other), -EFAULT);
    ob_map_unref(map);
    assert_int_equal(f.released, 1); /* never under the caller's feet */
    run_loop(&f);
    assert_int_equal(f.released, 2);
    assert_int_equal(msync((void *)((uintptr_t)host & ~(PAGE - 1)), PAGE, MS_ASYNC), -1);
    assert_int_equal(errno, ENOMEM); /* unmapped */
    teardown(&f);
}

/* A map that is still held keeps those after it from being reported as released. */
static void releases_keep_their_order(void **state)
{
    struct fixture f;
    struct ob_region_info a = region_at(0, 1), b = region_at(10, 1);
    struct ob_map *first;

    (void)state;
    setup(&f);
    assert_int_equal(add(&f, a), 0);
    assert_int_equal(ob_memory_publish(f.memory, NULL, NULL), 0);
    first = ob_map_ref(ob_memory_map(f.memory)); /* a request under the map with a */
    assert_int_equal(add(&f, b), 0);
    assert_int_equal(ob_memory_publish(f.memory, NULL, NULL), 0);
    assert_int_equal(ob_memory_remove(f.memory, &a), 0);
    assert_int_equal(ob_memory_publish(f.memory, released, &f), 0);
    run_loop(&f);
    assert_int_equal(f.released, 0);
    ob_map_unref(first);
    run_loop(&f);
    assert_int_equal(f.released, 1);
    teardown(&f);
}

static int miss(void *ctx, uint64_t addr, uint64_t len, enum ob_access access)
{
    (void)len;
    (void)access;
    *(uint64_t *)ctx = addr;
    return -EAGAIN;
}

static void access_and_misses(void **state)
{
    struct fixture f;
    struct ob_region_info info = region_at(0, 1);
    uint64_t missed = 0;
    struct ob_map *map;
    void *host = &missed;

    (void)state;
    setup(&f);
    info.access = OB_ACCESS_READ;
    assert_int_equal(add(&f, info), 0);
    assert_int_equal(ob_memory_publish(f.memory, NULL, NULL), 0);
    map = ob_memory_map(f.memory);
    assert_int_equal(ob_map_translate(map, OB_SPACE_DRIVER, GUEST, 8, OB_ACCESS_READ, &host), 8);
    host = &missed;
    assert_int_equal(ob_map_translate(map, OB_SPACE_DRIVER, GUEST, 8, OB_ACCESS_WRITE, &host),
                     -EFAULT);
    assert_ptr_equal(host, &missed); /* untouched on failure */
    assert_int_equal(ob_map_translate(map, OB_SPACE_RING, USER + PAGE, 8, OB_ACCESS_READ, &host),
                     -EFAULT);
    map->miss = miss;
    map->miss_ctx = &missed;
    assert_int_equal(ob_map_translate(map, OB_SPACE_DRIVER, 77, 8, OB_ACCESS_READ, &host),
                     -EAGAIN);
    assert_int_equal(missed, 77);
    teardown(&f);
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (!ob_memory_fault(info->si_addr))
        _exit(signal);
}

static void truncated_file(void **state)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO}, before;
    struct fixture f, other;
    void *host;
    volatile char *byte;
    int local = 0;

    (void)state;
    setup(&f);
    setup(&other);
    sigaction(SIGBUS, &action, &before);
    assert_false(ob_memory_fault(&local));
    assert_int_equal(add(&f, region_at(0, 8)), 0);
    assert_int_equal(add(&other, region_at(0, 8)), 0);
    assert_int_equal(ob_memory_publish(f.memory, NULL, NULL), 0);
    assert_int_equal(ob_map_translate(ob_memory_map(f.memory), OB_SPACE_DRIVER, GUEST + 5 * PAGE,
                                      1, OB_ACCESS_BOTH, &host), 1);
    byte = host;
    *byte = 'x';
    assert_int_equal(ftruncate(f.fd, PAGE), 0);
    assert_int_equal(*byte, 0); /* SIGBUS, then a private page */
    *byte = 'y';
    assert_int_equal(*byte, 'y');
    assert_true(ob_memory_faulted(f.memory));
    assert_false(ob_memory_faulted(other.memory));
    sigaction(SIGBUS, &before, NULL);
    teardown(&f);
    teardown(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_regions),   cmocka_unit_test(all_slots),
        cmocka_unit_test(odd_offsets),       cmocka_unit_test(snapshots_outlive_regions),
        cmocka_unit_test(access_and_misses), cmocka_unit_test(truncated_file),
        cmocka_unit_test(releases_keep_their_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
