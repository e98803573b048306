/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file store on a block device: a loop device with blocks of 4096 bytes, which direct I/O
 * does not divide. Needs the right to make one; skipped otherwise.
 */

#include "device/store/file.h"
#include "device/store/store_test.h"

#include <linux/loop.h>
#include <sys/ioctl.h>

#define SIZE (4u << 20)
#define SKIPPED 77

static char backing_path[] = "/var/tmp/outboard-test-XXXXXX";
static int backing = -1; /* the file below */
static int loop = -1;
static char loop_path[32];
static char *data; /* SIZE bytes, aligned to a page */

/* NULL, or why there is no loop device. */
static const char *make_loop(void)
{
    struct loop_config config = {.block_size = 4096, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

    if (control < 0)
        return "there is no /dev/loop-control for us";
    backing = mkstemp(backing_path);
    if (backing < 0 || ftruncate(backing, SIZE) < 0)
        return "no file can be made in /var/tmp";
    unlink(backing_path);
    config.fd = (uint32_t)backing;
    /* Somebody else may take the free one first. */
    for (unsigned tries = 0; tries < 20; tries++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        snprintf(loop_path, sizeof(loop_path), "/dev/loop%d", number);
        loop = number < 0 ? -1 : open(loop_path, O_RDWR | O_CLOEXEC);
        if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &config)) {
            close(control);
            return NULL;
        }
        close(loop);
    }
    close(control);
    return "no loop device can be configured";
}

static void open_bench(struct bench *bench, uint32_t block_size)
{
    struct store_options options = {.block_size = block_size};
    struct store *store;

    assert_int_equal(store_open(store_table, loop_path, &options, &store), 0);
    bench_open(bench, store, 16);
}

static void expect(uint64_t offset, const void *bytes, size_t length)
{
    char *found = aligned_alloc(4096, SIZE);

    assert_int_equal(pread(loop, found, length, (off_t)offset), length);
    assert_memory_equal(found, bytes, length);
    free(found);
}

static void test_properties(void **state)
{
    struct bench bench;

    open_bench(&bench, 0);
    assert_int_equal(bench.store->info.capacity, SIZE);
    assert_int_equal(bench.store->info.block_size, 4096);
    assert_true(bench.store->info.physical_block_size >= 4096);
    assert_true(container_of(bench.store, struct file, store)->direct);
    bench_close(&bench);
}

static void test_transfers(void **state)
{
    struct bench bench;

    open_bench(&bench, 0);
    for (size_t shift = 0; shift < 600; shift += 199) {
        fill(data + shift, 300 << 10, shift);
        assert_int_equal(bench_transfer(&bench, STORE_WRITE, data + shift, 8192, 300 << 10), 0);
        expect(8192, data + shift, 300 << 10);
        memset(data, 0, SIZE);
        assert_int_equal(bench_transfer(&bench, STORE_READ, data + shift, 8192, 300 << 10), 0);
        expect(8192, data + shift, 300 << 10);
    }
    /* Blocks that begin in one range and end in another. */
    struct iovec iov[] = {{data, 512}, {data + 8192, 4096}, {data + 16384, 3584}};
    struct store_io io = {
        .op = STORE_WRITE, .iov = iov, .n_iov = 3, .offset = 4096, .length = 8192};
    fill(data, 32768, 77);
    assert_int_equal(bench_run(&bench, &io), 0);
    expect(4096, data, 512);
    expect(4096 + 512, data + 8192, 3584);
    assert_int_equal(bench_command(&bench, STORE_FLUSH, 0, 0, 0), 0);
    assert_int_equal(bench_transfer(&bench, STORE_READ, data, SIZE, 4096), -EIO);
    bench_close(&bench);
}

static void test_holes(void **state)
{
    static const struct {
        enum store_op op;
        unsigned flags;
    } cases[] = {{STORE_DISCARD, 0},
                 {STORE_WRITE_ZEROES, 0},
                 {STORE_WRITE_ZEROES, STORE_UNMAP},
                 {STORE_WRITE_ZEROES, STORE_UNMAP | STORE_FUA}};
    struct bench bench;

    open_bench(&bench, 0);
    for (unsigned i = 0; i < array_size(cases); i++) {
        fill(data, SIZE, i);
        assert_int_equal(bench_transfer(&bench, STORE_WRITE, data, 0, SIZE), 0);
        if (cases[i].op == STORE_DISCARD && !bench.store->info.discard)
            continue;
        assert_int_equal(bench_command(&bench, cases[i].op, cases[i].flags, 1 << 20, 1 << 20), 0);
        expect(0, data, 1 << 20);
        expect(2 << 20, data + (2 << 20), 2 << 20);
        if (cases[i].op == STORE_WRITE_ZEROES) {
            memset(data, 0, 1 << 20);
            expect(1 << 20, data, 1 << 20);
        }
    }
    assert_int_equal(bench_command(&bench, STORE_WRITE_ZEROES, 0, SIZE, 4096), -EIO);
    bench_close(&bench);
}

/* Blocks smaller than direct I/O takes: the page cache divides them. */
static void test_small_blocks(void **state)
{
    struct bench bench;

    open_bench(&bench, 512);
    assert_int_equal(bench.store->info.block_size, 512);
    assert_false(container_of(bench.store, struct file, store)->direct);
    fill(data, 8192, 5);
    assert_int_equal(bench_transfer(&bench, STORE_WRITE, data, 0, 8192), 0);
    assert_int_equal(bench_transfer(&bench, STORE_WRITE, data, 1024, 512), 0);
    memcpy(data + 1024, data, 512);
    assert_int_equal(bench_command(&bench, STORE_FLUSH, 0, 0, 0), 0);
    expect(0, data, 8192);
    bench_close(&bench);
}

static void test_exclusive(void **state)
{
    struct store_options options = {0};
    struct store *second = NULL;
    struct bench bench;

    open_bench(&bench, 0);
    assert_int_equal(store_open(store_table, loop_path, &options, &second), -EBUSY);
    assert_null(second);
    bench_close(&bench);
}

/* What the file below gets, the device has when it is asked again. */
static void test_resize(void **state)
{
    struct bench bench;

    open_bench(&bench, 0);
    assert_int_equal(ftruncate(backing, 2 * SIZE), 0);
    assert_int_equal(ioctl(loop, LOOP_SET_CAPACITY), 0);
    assert_int_equal(bench.store->ops->refresh(bench.store), 0);
    assert_int_equal(bench.store->info.capacity, 2 * SIZE);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties), cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_holes),      cmocka_unit_test(test_small_blocks),
        cmocka_unit_test(test_exclusive),  cmocka_unit_test(test_resize),
    };
    const char *reason = make_loop();

    if (reason) {
        printf("skipped: %s\n", reason);
        return SKIPPED;
    }
    data = aligned_alloc(4096, SIZE);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(data);
    close(loop);
    close(backing);
    return failed;
}
