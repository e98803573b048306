/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores: finding one by its name, sizes, and the two that need no file.
 */

#include "device/store/store_test.h"

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t size;
    } cases[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"4k", 0, 4096},
        {"4K", 0, 4096},
        {"64M", 0, 64ull << 20},
        {"1G", 0, 1ull << 30},
        {"1GiB", 0, 1ull << 30},
        {"1GB", 0, 1ull << 30},
        {"3T", 0, 3ull << 40},
        {"2P", 0, 2ull << 50},
        {"15E", 0, 15ull << 60},
        {"512B", 0, 512},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"16E", -ERANGE, 0},
        {"99999999999T", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"G", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 G", -EINVAL, 0},
        {"1X", -EINVAL, 0},
        {"1GG", -EINVAL, 0},
        {"1.5G", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
    };

    for (unsigned i = 0; i < array_size(cases); i++) {
        uint64_t size = 77;
        assert_int_equal(store_parse_size(cases[i].text, &size), cases[i].result);
        assert_int_equal(size, cases[i].result ? 77 : cases[i].size);
    }
}

static char opened_by[16], opened_with[64];

static int note_open(const char *name, const struct store_options *options)
{
    snprintf(opened_by, sizeof(opened_by), "%s", name);
    snprintf(opened_with, sizeof(opened_with), "%s", options->address);
    return -ECANCELED;
}

static int first_open(const struct store_options *options, struct store **ret)
{
    return note_open("first", options);
}

static int second_open(const struct store_options *options, struct store **ret)
{
    return note_open("second", options);
}

static void test_names(void **state)
{
    static const struct store_ops first = {.name = "first", .address = "A", .open = first_open};
    static const struct store_ops second = {.name = "second", .address = "B", .open = second_open};
    static const struct store_ops *const table[] = {&first, &second, NULL};
    static const struct {
        const char *source, *by, *with;
    } cases[] = {
        {"second:x", "second", "x"},
        {"second:x:y", "second", "x:y"},
        {"first:second:x", "first", "second:x"},
        {"x", "first", "x"},
        {"second", "first", "second"},
        {"seconds:x", "first", "seconds:x"},
        {"./second:x", "first", "./second:x"},
    };
    struct store_options options = {0};
    struct store *store = NULL;

    for (unsigned i = 0; i < array_size(cases); i++) {
        assert_int_equal(store_open(table, cases[i].source, &options, &store), -ECANCELED);
        assert_string_equal(opened_by, cases[i].by);
        assert_string_equal(opened_with, cases[i].with);
    }
    assert_int_equal(store_open(table, "second:", &options, &store), -EINVAL);
    assert_int_equal(store_open(table, "", &options, &store), -EINVAL);
    assert_null(store);
    assert_int_equal(store_close(NULL), 0);
}

static void test_bad_capacities(void **state)
{
    static const char *const sources[] = {
        "null:0",   "null:x",    "null:511",   "null:513",
        "memory:0", "memory:1X", "memory:16E", "null:9223372036854775808"};
    struct store_options options = {0};
    struct store *store = NULL;

    for (unsigned i = 0; i < array_size(sources); i++)
        assert_true(store_open(store_table, sources[i], &options, &store) < 0);
    assert_null(store);
}

static void test_null(void **state)
{
    struct store_options options = {0};
    struct store *store;
    struct bench bench;
    char data[1024], before[1024];

    assert_int_equal(store_open(store_table, "null:1M", &options, &store), 0);
    assert_int_equal(store->info.capacity, 1 << 20);
    assert_int_equal(store->info.block_size, 512);
    bench_open(&bench, store, 8);
    fill(data, sizeof(data), 1);
    memcpy(before, data, sizeof(data));
    assert_int_equal(bench_transfer(&bench, STORE_READ, data, 0, sizeof(data)), 0);
    assert_memory_equal(data, before, sizeof(data));
    assert_int_equal(bench_transfer(&bench, STORE_WRITE, data, 0, sizeof(data)), 0);
    assert_int_equal(bench_command(&bench, STORE_FLUSH, 0, 0, 0), 0);
    bench_close(&bench);
}

static void test_memory(void **state)
{
    struct store_options options = {0};
    static char model[256 << 10], data[256 << 10];
    struct store *store;
    struct bench bench;

    assert_int_equal(store_open(store_table, "memory:256k", &options, &store), 0);
    bench_open(&bench, store, 8);
    assert_int_equal(bench_transfer(&bench, STORE_READ, data, 0, sizeof(data)), 0);
    assert_true(all_zero(data, sizeof(data)));

    srandom(7);
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t first = (uint64_t)random() % 512, n = 1 + (uint64_t)random() % (512 - first);
        uint64_t offset = first * 512, length = n * 512;
        switch (random() % 4) {
        case 0: {
            struct iovec iov[] = {{data, 100}, {data + 100, length - 100}};
            struct store_io io = {
                .op = STORE_WRITE, .iov = iov, .n_iov = 2, .offset = offset, .length = length};
            fill(data, length, i);
            memcpy(model + offset, data, length);
            assert_int_equal(bench_run(&bench, &io), 0);
            break;
        }
        case 1:
            memset(model + offset, 0, length);
            assert_int_equal(bench_command(&bench, STORE_WRITE_ZEROES, STORE_UNMAP, offset, length),
                             0);
            break;
        case 2:
            memset(model + offset, 0, length);
            assert_int_equal(bench_command(&bench, STORE_DISCARD, 0, offset, length), 0);
            break;
        default:
            assert_int_equal(bench_transfer(&bench, STORE_READ, data, offset, length), 0);
            assert_memory_equal(data, model + offset, length);
        }
    }
    assert_int_equal(bench_transfer(&bench, STORE_READ, data, 255 << 10, 2048), -EIO);
    assert_int_equal(bench_transfer(&bench, STORE_WRITE, data, UINT64_MAX - 511, 512), -EIO);
    assert_int_equal(bench_command(&bench, STORE_FLUSH, 0, 0, 0), 0);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_capacities), cmocka_unit_test(test_null),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
