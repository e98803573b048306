/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file store on a file system on disk (direct I/O) and on one in memory: every way that a
 * request can take, with every kind of error, against what the file holds in the end.
 */

#include "device/store/file.h"
#include "device/store/store_test.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SIZE (4u << 20)

/* Where the files of the tests are: on disk, in memory. */
static const char *const folders[] = {"/var/tmp", "/dev/shm"};

struct fixture {
    char path[64];
    int fd; /* buffered, beside the store's */
    struct store *store;
    struct file *file;
    struct bench bench;
    char *data; /* SIZE bytes, aligned to a page */
};

static void make_file(struct fixture *f, const char *folder, off_t size)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->path, sizeof(f->path), "%s/outboard-test-XXXXXX", folder);
    f->fd = mkstemp(f->path);
    assert_true(f->fd >= 0);
    assert_int_equal(ftruncate(f->fd, size), 0);
    f->data = aligned_alloc(4096, SIZE);
    assert_non_null(f->data);
}

static void open_store(struct fixture *f, uint32_t block_size, unsigned depth)
{
    struct store_options options = {.block_size = block_size};

    assert_int_equal(store_open(store_table, f->path, &options, &f->store), 0);
    f->file = container_of(f->store, struct file, store);
    bench_open(&f->bench, f->store, depth);
}

static void setup(struct fixture *f, const char *folder)
{
    make_file(f, folder, SIZE);
    open_store(f, 0, 32);
}

static void teardown_with(struct fixture *f, int expected)
{
    bench_close_with(&f->bench, expected);
    unlink(f->path);
    close(f->fd);
    free(f->data);
}

static void teardown(struct fixture *f)
{
    teardown_with(f, 0);
}

static void in_all_folders(void (*test)(struct fixture *f))
{
    struct fixture f;

    for (unsigned i = 0; i < array_size(folders); i++) {
        setup(&f, folders[i]);
        test(&f);
        teardown(&f);
    }
}

static void expect(struct fixture *f, uint64_t offset, const void *data, size_t length)
{
    char *found = malloc(length);

    assert_non_null(found);
    assert_int_equal(pread(f->fd, found, length, (off_t)offset), length);
    assert_memory_equal(found, data, length);
    free(found);
}

static void transfers(struct fixture *f)
{
    static const struct {
        uint64_t offset;
        size_t length, shift; /* of the buffer, from a page's start */
    } cases[] = {
        {0, 512, 0},          {512, 512, 512},        {4096, 65536, 0},
        {SIZE - 512, 512, 0}, {512, 1024, 1}, /* such as firmware gives */
        {1024, 300 << 10, 3},                 /* more than one bounce */
        {0, SIZE - 4096, 0},  {1536, SIZE - 8192, 8},
    };

    for (unsigned i = 0; i < array_size(cases); i++) {
        char *data = f->data + cases[i].shift;
        fill(data, cases[i].length, i);
        assert_int_equal(
            bench_transfer(&f->bench, STORE_WRITE, data, cases[i].offset, cases[i].length), 0);
        expect(f, cases[i].offset, data, cases[i].length);
        memset(data, 0, cases[i].length);
        assert_int_equal(
            bench_transfer(&f->bench, STORE_READ, data, cases[i].offset, cases[i].length), 0);
        expect(f, cases[i].offset, data, cases[i].length);
    }
    assert_int_equal(bench_command(&f->bench, STORE_FLUSH, 0, 0, 0), 0);
}

static void test_transfers(void **state)
{
    in_all_folders(transfers);
}

/* Ranges of any length at any address. */
static void ranges(struct fixture *f)
{
    struct iovec iov[] = {{f->data, 4096},           {f->data + 10001, 1},
                          {f->data + 20000, 0},      {f->data + 30000, 511},
                          {f->data + 40960, 200000}, {f->data + 300003, 512 * 5 - 192}};
    uint64_t length = 4096 + 512 + 200000 + 512 * 5 - 192;
    char *flat = malloc(length), *at = flat;

    length -= length % 512;
    iov[5].iov_len = length - 4096 - 512 - 200000;
    fill(f->data, SIZE, 5);
    for (unsigned i = 0; i < 6; i++)
        at = mempcpy(at, iov[i].iov_base, iov[i].iov_len);
    struct store_io io = {.op = STORE_WRITE,
                          .flags = STORE_FUA,
                          .iov = iov,
                          .n_iov = 6,
                          .offset = 1024,
                          .length = length};
    assert_int_equal(bench_run(&f->bench, &io), 0);
    expect(f, 1024, flat, length);
    memset(f->data, 0, SIZE);
    io.op = STORE_READ;
    io.flags = 0;
    assert_int_equal(bench_run(&f->bench, &io), 0);
    at = flat;
    for (unsigned i = 0; i < 6; i++) {
        assert_memory_equal(iov[i].iov_base, at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    free(flat);
}

static void test_ranges(void **state)
{
    in_all_folders(ranges);
}

/* More at a time than the submission queue holds, of all kinds. */
static void test_many(void **state)
{
    enum { N = 900 };
    static struct store_io ios[N];
    static struct iovec iov[N];
    struct fixture f;

    for (unsigned folder = 0; folder < array_size(folders); folder++) {
        make_file(&f, folders[folder], SIZE);
        open_store(&f, 0, 1024);
        fill(f.data, SIZE, 9);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < N; i++) {
                uint64_t offset = (i * 7ull % N) * 4096;
                iov[i] = (struct iovec){f.data + offset, 4096};
                ios[i] = (struct store_io){
                    .op = i % 100 == 99 ? STORE_FLUSH
                          : round == 2  ? STORE_READ
                                        : STORE_WRITE,
                    .iov = &iov[i],
                    .n_iov = 1,
                    .offset = offset,
                    .length = 4096,
                };
            }
            bench_run_all(&f.bench, ios, N);
            for (unsigned i = 0; i < N; i++)
                assert_int_equal(ios[i].result, 0);
        }
        for (unsigned i = 0; i < N; i++)
            if (ios[i].op == STORE_READ)
                expect(&f, ios[i].offset, iov[i].iov_base, 4096);
        teardown(&f);
    }
}

static void end_of_file(struct fixture *f)
{
    assert_int_equal(ftruncate(f->fd, SIZE / 2), 0);
    assert_int_equal(bench_transfer(&f->bench, STORE_READ, f->data, SIZE - 4096, 4096), -EIO);
    assert_int_equal(bench_transfer(&f->bench, STORE_READ, f->data, SIZE / 2 - 4096, 8192), -EIO);
    assert_int_equal(bench_transfer(&f->bench, STORE_READ, f->data + 1, SIZE / 2, 512), -EIO);
    assert_int_equal(bench_transfer(&f->bench, STORE_READ, f->data, SIZE / 2 - 4096, 4096), 0);
    assert_int_equal(bench_command(&f->bench, STORE_WRITE_ZEROES, 0, SIZE - 4096, 4096), -EIO);
    assert_int_equal(f->store->ops->refresh(f->store), 0);
    assert_int_equal(f->store->info.capacity, SIZE / 2);
}

static void test_end_of_file(void **state)
{
    in_all_folders(end_of_file);
}

/* A limit cuts a write short, and then refuses the rest. */
static void file_too_big(struct fixture *f)
{
    struct rlimit before, limit;

    assert_int_equal(ftruncate(f->fd, 1 << 20), 0);
    fill(f->data, 16384, 3);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){.rlim_cur = (1 << 20) + 8192, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    int result = bench_transfer(&f->bench, STORE_WRITE, f->data, 1 << 20, 16384);
    int bounced = bench_transfer(&f->bench, STORE_WRITE, f->data + 1, 2 << 20, 512);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(bounced, -EFBIG);
    expect(f, 1 << 20, f->data, 8192);
}

static void test_file_too_big(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    in_all_folders(file_too_big);
}

/* In a small file system of our own. */
static void test_no_space(void **state)
{
    char folder[] = "/tmp/outboard-test-XXXXXX";
    struct fixture f;

    assert_non_null(mkdtemp(folder));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("test", folder, "tmpfs", 0, "size=1m") < 0) {
        rmdir(folder);
        print_message("no file system can be mounted: %s\n", strerror(errno));
        skip();
    }
    setup(&f, folder);
    fill(f.data, SIZE, 4);
    assert_int_equal(bench_transfer(&f.bench, STORE_WRITE, f.data, 0, 512 << 10), 0);
    assert_int_equal(bench_transfer(&f.bench, STORE_WRITE, f.data, 1 << 20, 1 << 20), -ENOSPC);
    expect(&f, 0, f.data, 512 << 10);
    /* What there is goes on to work, and discarding makes room. */
    assert_int_equal(bench_command(&f.bench, STORE_DISCARD, 0, 1 << 20, 1 << 20), 0);
    assert_int_equal(bench_transfer(&f.bench, STORE_WRITE, f.data, 3 << 20, 256 << 10), 0);
    assert_int_equal(bench_command(&f.bench, STORE_WRITE_ZEROES, 0, 1 << 20, 1 << 20), -ENOSPC);
    teardown(&f);
    umount(folder);
    rmdir(folder);
}

static uint64_t allocated(struct fixture *f)
{
    struct stat stat_buf;

    fsync(f->fd);
    assert_int_equal(fstat(f->fd, &stat_buf), 0);
    return (uint64_t)stat_buf.st_blocks * 512;
}

/* Fills the file, makes a part of it zero, and compares all. The space that this freed. */
static uint64_t hole(struct fixture *f, enum store_op op, unsigned flags, uint64_t offset,
                     uint64_t length)
{
    fill(f->data, SIZE, 6);
    assert_int_equal(bench_transfer(&f->bench, STORE_WRITE, f->data, 0, SIZE), 0);
    uint64_t before = allocated(f);
    assert_int_equal(bench_command(&f->bench, op, flags, offset, length), 0);
    memset(f->data + offset, 0, length);
    expect(f, 0, f->data, SIZE);
    assert_int_equal(f->store->ops->refresh(f->store), 0);
    assert_int_equal(f->store->info.capacity, SIZE);
    return before - allocated(f);
}

static void holes(struct fixture *f)
{
    if (!f->store->info.discard) {
        print_message("no holes can be made in %s\n", f->path);
        return;
    }
    assert_int_equal(hole(f, STORE_DISCARD, 0, 1 << 20, 1 << 20), 1 << 20);
    assert_int_equal(hole(f, STORE_WRITE_ZEROES, STORE_UNMAP, 1 << 20, 1 << 20), 1 << 20);
    assert_int_equal(hole(f, STORE_WRITE_ZEROES, 0, 1 << 20, 1 << 20), 0);
    assert_int_equal(hole(f, STORE_WRITE_ZEROES, STORE_FUA, SIZE - 4096, 4096), 0);
    hole(f, STORE_WRITE_ZEROES, STORE_UNMAP, 512, 1024);
    hole(f, STORE_WRITE_ZEROES, 0, 4096 + 512, 8192);
    hole(f, STORE_DISCARD, 0, 512, 512 * 99);

    /* As where neither is known. */
    f->file->no_zero_range = f->file->no_punch = true;
    hole(f, STORE_WRITE_ZEROES, STORE_UNMAP | STORE_FUA, 1 << 20, (1 << 20) + 512);
    assert_int_equal(bench_command(&f->bench, STORE_DISCARD, 0, 0, 4096), -EOPNOTSUPP);
}

static void test_holes(void **state)
{
    in_all_folders(holes);
}

/* No descriptor left for a ring: everything goes to the threads. */
static void test_no_ring(void **state)
{
    struct rlimit before, limit;
    struct fixture f;

    make_file(&f, folders[0], SIZE);
    struct store_options options = {0};
    assert_int_equal(store_open(store_table, f.path, &options, &f.store), 0);
    f.file = container_of(f.store, struct file, store);
    bench_open(&f.bench, f.store, 32); /* for its loop */
    f.store->ops->queue_close(f.bench.queue);

    int next = dup(f.fd);
    close(next);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &limit);
    struct store_queue_options queue_options = {
        .loop = f.bench.loop, .depth = 32, .wake = bench_woken, .ctx = f.bench.loop};
    int error = f.store->ops->queue_open(f.store, &queue_options, &f.bench.queue);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(error, 0);
    assert_true(f.file->no_ring);
    transfers(&f);
    teardown(&f);
}

/* What the page cache has lost once, no later flush may deny. */
static void test_sync_failed(void **state)
{
    const struct store_io flush = {.op = STORE_FLUSH}, write = {.op = STORE_WRITE};
    struct fixture f;

    setup(&f, folders[0]);
    file_note_sync(f.file, &flush, 0);
    file_note_sync(f.file, &write, -EIO); /* tells its own failure */
    assert_int_equal(bench_command(&f.bench, STORE_FLUSH, 0, 0, 0), 0);
    f.file->direct = false;
    file_note_sync(f.file, &write, -EIO);
    assert_int_equal(bench_command(&f.bench, STORE_FLUSH, 0, 0, 0), 0);
    file_note_sync(f.file, &flush, -EIO);
    assert_int_equal(bench_command(&f.bench, STORE_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(bench_command(&f.bench, STORE_FLUSH, 0, 0, 0), -EIO);
    assert_int_equal(bench_transfer(&f.bench, STORE_READ, f.data, 0, 4096), 0);
    assert_int_equal(bench_command(&f.bench, STORE_WRITE_ZEROES, STORE_FUA, 0, 4096), 0);
    assert_int_equal(bench_command(&f.bench, STORE_FLUSH, 0, 0, 0), -EIO);
    teardown_with(&f, -EIO); /* nor does closing */
}

static void test_read_only(void **state)
{
    struct store_options options = {.read_only = true};
    struct fixture f;

    make_file(&f, folders[0], SIZE);
    fill(f.data, SIZE, 8);
    assert_int_equal(pwrite(f.fd, f.data, SIZE, 0), SIZE);
    assert_int_equal(store_open(store_table, f.path, &options, &f.store), 0);
    assert_true(f.store->info.read_only);
    assert_false(f.store->info.discard);
    bench_open(&f.bench, f.store, 4);
    assert_int_equal(bench_transfer(&f.bench, STORE_READ, f.data, 4096, 8192), 0);
    expect(&f, 4096, f.data, 8192);
    assert_true(bench_transfer(&f.bench, STORE_WRITE, f.data, 4096, 8192) < 0);
    assert_int_equal(bench_command(&f.bench, STORE_FLUSH, 0, 0, 0), 0);
    teardown(&f);
}

static void test_locks(void **state)
{
    struct store_options reading = {.read_only = true}, writing = {0};
    struct store *first, *second;
    struct fixture f;

    make_file(&f, folders[0], SIZE);
    assert_int_equal(store_open(store_table, f.path, &reading, &first), 0);
    assert_int_equal(store_open(store_table, f.path, &reading, &second), 0);
    store_close(second);
    assert_int_equal(store_open(store_table, f.path, &writing, &second), -EAGAIN);
    store_close(first);
    assert_int_equal(store_open(store_table, f.path, &writing, &first), 0);
    assert_int_equal(store_open(store_table, f.path, &reading, &second), -EAGAIN);
    store_close(first);
    unlink(f.path);
    close(f.fd);
    free(f.data);
}

static void test_refused(void **state)
{
    struct store_options options = {0};
    struct store *store = NULL;
    struct fixture f;
    char pipe_path[80];

    make_file(&f, folders[0], 0);
    assert_int_equal(store_open(store_table, f.path, &options, &store), -EINVAL);
    assert_int_equal(store_open(store_table, "/nowhere/at/all", &options, &store), -ENOENT);
    assert_int_equal(store_open(store_table, folders[0], &options, &store), -EINVAL);
    assert_int_equal(store_open(store_table, "/dev/null", &options, &store), -EINVAL);
    snprintf(pipe_path, sizeof(pipe_path), "%s.pipe", f.path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(store_open(store_table, pipe_path, &options, &store), -EINVAL);
    assert_null(store);
    unlink(pipe_path);
    unlink(f.path);
    close(f.fd);
    free(f.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_end_of_file),
        cmocka_unit_test(test_file_too_big),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_no_ring),
        cmocka_unit_test(test_sync_failed),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_space), /* last: it takes a mount namespace */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
