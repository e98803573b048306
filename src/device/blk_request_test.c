/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of the block device: each kind, in any layout, at the edges of what is valid, with
 * what the store is asked for, the status byte, and the bytes told as written.
 */

#include "device/blk_test.h"

static void test_read_write(void **state)
{
    struct fixture f;
    struct blk_request *request;

    setup(&f);
    header(VIRTIO_BLK_T_IN, 7);
    request = usual(&f, 0, 4096);
    assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_OK);
    assert_int_equal(request->chain.written, 4097);
    assert_int_equal(last()->op, STORE_READ);
    assert_int_equal(last()->offset, 7 * 512);
    assert_int_equal(last()->length, 4096);
    assert_int_equal(last()->n_iov, 1);

    header(VIRTIO_BLK_T_OUT, 992);
    request = usual(&f, 4096, 0);
    assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_OK);
    assert_int_equal(request->chain.written, 1);
    assert_int_equal(last()->op, STORE_WRITE);
    assert_int_equal(last()->offset, 992 * 512);
    assert_int_equal(f.queue.counters.bytes_in, 4096);
    assert_int_equal(f.queue.counters.bytes_out, 4096);
    assert_int_equal(f.queue.counters.requests, 2);
    teardown(&f);
}

/* The same read cut in odd ways: split header, header and data in one, status with data. */
static void test_layouts(void **state)
{
    struct fixture f;
    uint8_t *head = (uint8_t *)&guest.header;
    uint8_t both[16 + 1024], tail[513];
    struct blk_request *request;

    setup(&f);
    header(VIRTIO_BLK_T_IN, 1);
    tail[512] = UNTOUCHED;
    const struct iovec split[] = {
        {head, 1}, {head + 1, 10}, {head + 11, 5}, {guest.data, 512}, {tail, 513}};
    request = chain(&f, split, 3, 2);
    run(&f);
    assert_int_equal(tail[512], VIRTIO_BLK_S_OK);
    assert_int_equal(request->chain.written, 1025);
    assert_int_equal(last()->length, 1024);
    assert_int_equal(last()->n_iov, 2);
    assert_ptr_equal(last()->iov[1].iov_base, tail);

    header(VIRTIO_BLK_T_OUT, 1);
    memcpy(both, &guest.header, 16);
    const struct iovec joined[] = {{both, sizeof(both)}, {guest.data, 512}, {&guest.status, 1}};
    request = chain(&f, joined, 2, 1);
    assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_OK);
    assert_int_equal(last()->length, 1536);
    assert_int_equal(last()->n_iov, 2);
    assert_ptr_equal(last()->iov[0].iov_base, both + 16);
    assert_int_equal(last()->iov[0].iov_len, 1024);
    teardown(&f);
}

static void test_no_header(void **state)
{
    struct fixture f;

    setup(&f);
    header(VIRTIO_BLK_T_IN, 0);
    const struct iovec shorter[] = {{&guest.header, 15}, {guest.data, 512}, {&guest.status, 1}};
    assert_int_equal(status_of(&f, chain(&f, shorter, 1, 2)), VIRTIO_BLK_S_IOERR);
    guest.status = UNTOUCHED;
    const struct iovec none[] = {{guest.data, 512}, {&guest.status, 1}};
    struct blk_request *request = chain(&f, none, 0, 2);
    assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request->chain.written, 0);
    assert_int_equal(fake.n_notes, 0);
    assert_int_equal(f.broken, 0);
    teardown(&f);
}

static void test_no_status(void **state)
{
    struct fixture f;

    setup(&f);
    header(VIRTIO_BLK_T_OUT, 0);
    const struct iovec none[] = {{&guest.header, 16}, {guest.data, 512}};
    const struct blk_request *request = chain(&f, none, 2, 0);
    run(&f);
    assert_int_equal(f.broken, 1);
    assert_true(request->chain.done); /* it must not stay out for ever */
    assert_int_equal(fake.n_notes, 0);
    teardown(&f);
}

static void test_bounds(void **state)
{
    static const struct {
        uint64_t sector;
        size_t length;
        uint8_t status;
    } cases[] = {
        {0, 512, VIRTIO_BLK_S_OK},
        {999, 512, VIRTIO_BLK_S_OK},
        {1000, 512, VIRTIO_BLK_S_IOERR},
        {999, 1024, VIRTIO_BLK_S_IOERR},
        {UINT64_MAX, 512, VIRTIO_BLK_S_IOERR},
        {UINT64_MAX >> 9, 512, VIRTIO_BLK_S_IOERR},
        {1ull << 55, 512, VIRTIO_BLK_S_IOERR}, /* 0, if shifted without a thought */
        {0, 511, VIRTIO_BLK_S_IOERR},
        {0, 513, VIRTIO_BLK_S_IOERR},
    };
    struct fixture f;

    setup(&f);
    for (unsigned write = 0; write < 2; write++) {
        for (unsigned i = 0; i < array_size(cases); i++) {
            f.n_requests = f.n_popped = f.queue.staged_count = 0;
            header(write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, cases[i].sector);
            const struct blk_request *request =
                usual(&f, write ? cases[i].length : 0, write ? 0 : cases[i].length);
            assert_int_equal(status_of(&f, request), cases[i].status);
            if (cases[i].status != VIRTIO_BLK_S_OK)
                assert_int_equal(request->chain.written, write ? 1 : 0);
        }
    }
    assert_int_equal(fake.n_notes, 4);
    teardown(&f);
}

static void test_block_size(void **state)
{
    struct fixture f;

    make_threads(&f);
    fake.info = usual_info;
    struct ob_blk_options options = usual_options(&f);
    options.block_size = 4096;
    setup_with(&f, &options);
    assert_int_equal(ob_blk_capacity(f.device), 125 * 4096);
    header(VIRTIO_BLK_T_IN, 8);
    assert_int_equal(status_of(&f, usual(&f, 0, 4096)), VIRTIO_BLK_S_OK);
    header(VIRTIO_BLK_T_IN, 8);
    assert_int_equal(status_of(&f, usual(&f, 0, 512)), VIRTIO_BLK_S_IOERR);
    header(VIRTIO_BLK_T_IN, 1);
    assert_int_equal(status_of(&f, usual(&f, 0, 4096)), VIRTIO_BLK_S_IOERR);
    teardown(&f);
}

static void test_empty(void **state)
{
    struct fixture f;

    setup(&f);
    header(VIRTIO_BLK_T_IN, 0);
    struct blk_request *request = usual(&f, 0, 0);
    assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_OK);
    assert_int_equal(request->chain.written, 1);
    header(VIRTIO_BLK_T_OUT, 1000);
    assert_int_equal(status_of(&f, usual(&f, 0, 0)), VIRTIO_BLK_S_OK);
    header(VIRTIO_BLK_T_OUT, 1001);
    assert_int_equal(status_of(&f, usual(&f, 0, 0)), VIRTIO_BLK_S_IOERR);
    assert_int_equal(fake.n_notes, 0);
    teardown(&f);
}

static void test_wrong_direction(void **state)
{
    struct fixture f;

    setup(&f);
    header(VIRTIO_BLK_T_IN, 0);
    assert_int_equal(status_of(&f, usual(&f, 512, 0)), VIRTIO_BLK_S_IOERR);
    header(VIRTIO_BLK_T_IN, 0);
    assert_int_equal(status_of(&f, usual(&f, 512, 512)), VIRTIO_BLK_S_IOERR);
    header(VIRTIO_BLK_T_OUT, 0);
    assert_int_equal(status_of(&f, usual(&f, 0, 512)), VIRTIO_BLK_S_IOERR);
    header(VIRTIO_BLK_T_OUT, 0);
    assert_int_equal(status_of(&f, usual(&f, 512, 512)), VIRTIO_BLK_S_IOERR);
    assert_int_equal(fake.n_notes, 0);
    teardown(&f);
}

/* More than 4 GiB, which fits no count of bytes written. */
static void test_huge(void **state)
{
    struct fixture f;

    setup(&f);
    f.blk->sectors = UINT64_MAX >> 9;
    header(VIRTIO_BLK_T_IN, 0);
    const struct iovec ranges[] = {{&guest.header, 16},
                                   {guest.data, 0xfffffe00u},
                                   {guest.data, 0xfffffe00u},
                                   {&guest.status, 1}};
    const struct blk_request *request = chain(&f, ranges, 1, 3);
    assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request->chain.written, 0);
    teardown(&f);
}

static void test_unknown_type(void **state)
{
    static const uint32_t types[] = {2, 3, 5, 6, 7, 9, 10, 12, 14, 16, 0x80000000u, UINT32_MAX};
    struct fixture f;

    setup(&f);
    for (unsigned i = 0; i < array_size(types); i++) {
        f.n_requests = f.n_popped = f.queue.staged_count = 0;
        header(types[i], 0);
        assert_int_equal(status_of(&f, usual(&f, 0, 512)), VIRTIO_BLK_S_UNSUPP);
    }
    assert_int_equal(fake.n_notes, 0);
    teardown(&f);
}

static void test_store_errors(void **state)
{
    static const struct {
        int result;
        uint8_t status;
    } cases[] = {
        {-EIO, VIRTIO_BLK_S_IOERR},
        {-ENOSPC, VIRTIO_BLK_S_IOERR},
        {-EOPNOTSUPP, VIRTIO_BLK_S_UNSUPP},
    };
    struct fixture f;

    setup(&f);
    for (unsigned i = 0; i < array_size(cases); i++) {
        fake.result = cases[i].result;
        header(VIRTIO_BLK_T_IN, 0);
        const struct blk_request *request = usual(&f, 0, 512);
        assert_int_equal(status_of(&f, request), cases[i].status);
        assert_int_equal(request->chain.written, 0);
    }
    assert_int_equal(f.queue.counters.bytes_in, 0);
    teardown(&f);
}

static void test_get_id(void **state)
{
    static const struct {
        size_t length;
        uint32_t written;
    } cases[] = {{20, 21}, {8, 9}, {32, 20}};
    struct fixture f;

    make_threads(&f);
    fake.info = usual_info;
    struct ob_blk_options options = usual_options(&f);
    options.serial = "abc";
    setup_with(&f, &options);
    for (unsigned i = 0; i < array_size(cases); i++) {
        memset(guest.data, UNTOUCHED, 64);
        header(VIRTIO_BLK_T_GET_ID, 0);
        const struct blk_request *request = usual(&f, 0, cases[i].length);
        assert_int_equal(status_of(&f, request), VIRTIO_BLK_S_OK);
        assert_int_equal(request->chain.written, cases[i].written);
        size_t filled = min_u64(cases[i].length, 20);
        assert_memory_equal(guest.data, "abc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", filled);
        assert_int_equal(guest.data[filled], UNTOUCHED);
    }
    teardown(&f);
}

static void test_read_only(void **state)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD,
                                     VIRTIO_BLK_T_WRITE_ZEROES};
    struct fixture f;

    make_threads(&f);
    fake.info = usual_info;
    struct ob_blk_options options = usual_options(&f);
    options.read_only = true;
    setup_with(&f, &options);
    memset(guest.data, 0, 16);
    for (unsigned i = 0; i < array_size(types); i++) {
        header(types[i], 0);
        size_t length = types[i] == VIRTIO_BLK_T_OUT ? 512 : 16;
        assert_int_equal(status_of(&f, usual(&f, length, 0)), VIRTIO_BLK_S_IOERR);
    }
    assert_int_equal(fake.n_notes, 0);
    header(VIRTIO_BLK_T_FLUSH, 0);
    assert_int_equal(status_of(&f, usual(&f, 0, 0)), VIRTIO_BLK_S_OK);
    teardown(&f);
}

/* Finished in another order than asked, and a driver that leaves meanwhile. */
static void test_queued(void **state)
{
    uint8_t status[3] = {UNTOUCHED, UNTOUCHED, UNTOUCHED};
    struct blk_request *requests[3];
    struct fixture f;

    setup(&f);
    fake.queued = true;
    for (unsigned i = 0; i < 3; i++) {
        header(VIRTIO_BLK_T_IN, i);
        const struct iovec ranges[] = {{&guest.header, 16}, {guest.data, 512}, {&status[i], 1}};
        requests[i] = chain(&f, ranges, 1, 2);
        run(&f); /* the header is the guest's again */
    }
    assert_int_equal(fake.n_out, 3);
    assert_true(fake.pushes >= 3);
    struct store_io *first = fake.out[0];
    fake.out[0] = fake.out[1];
    fake.out[1] = first;
    fake.let_go = 1;
    run(&f);
    assert_true(requests[1]->chain.done && !requests[0]->chain.done);
    assert_int_equal(status[1], VIRTIO_BLK_S_OK);
    assert_int_equal(status[0], UNTOUCHED);

    f.queue.generation++;
    f.queue.staged_count = 0;
    /* A chain of another driver leaves no trace; the queue recycles it, which here has no pool. */
    requests[0]->chain.map = &(struct ob_queue_map){.refs = 3};
    requests[2]->chain.map = requests[0]->chain.map;
    fake.let_go = 2;
    run(&f);
    assert_int_equal(status[0], UNTOUCHED);
    assert_int_equal(status[2], UNTOUCHED);
    assert_int_equal(fake.n_out, 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write),   cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_no_header),    cmocka_unit_test(test_no_status),
        cmocka_unit_test(test_bounds),       cmocka_unit_test(test_block_size),
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_wrong_direction),
        cmocka_unit_test(test_huge),         cmocka_unit_test(test_unknown_type),
        cmocka_unit_test(test_store_errors), cmocka_unit_test(test_get_id),
        cmocka_unit_test(test_read_only),    cmocka_unit_test(test_queued),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
