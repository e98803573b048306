/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of the block device that carry no data: FLUSH, DISCARD, WRITE_ZEROES; their
 * segments, flags and limits, and what write-through caching does to them.
 */

#include "device/blk_test.h"

#define UNMAP VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

static void segment(unsigned i, uint64_t sector, uint32_t n, uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes one = {
        .sector = sector, .num_sectors = n, .flags = flags};

    memcpy(guest.data + i * sizeof(one), &one, sizeof(one));
}

static uint8_t one_segment(struct fixture *f, uint32_t type, uint64_t sector, uint32_t n,
                           uint32_t flags)
{
    f->n_requests = f->n_popped = f->queue.staged_count = 0;
    header(type, 0);
    segment(0, sector, n, flags);
    const struct blk_request *request = usual(f, 16, 0);
    uint8_t status = status_of(f, request);
    assert_int_equal(request->chain.written, 1);
    return status;
}

static void test_discard(void **state)
{
    struct fixture f;

    setup(&f);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 8, 16, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(last()->op, STORE_DISCARD);
    assert_int_equal(last()->flags, 0);
    assert_int_equal(last()->offset, 8 * 512);
    assert_int_equal(last()->length, 16 * 512);
    assert_int_equal(fake.n_notes, 1);

    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 8, 16, UNMAP), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 8, 16, 2), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 8, 16, 0x80000000u),
                     VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 995, 6, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 0, 101, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(fake.n_notes, 1);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 0, 100, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 0, 0, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(fake.n_notes, 2);
    teardown(&f);
}

static void test_write_zeroes(void **state)
{
    struct fixture f;

    setup(&f);
    ob_device_set_features(f.device, feature_bit(VIRTIO_BLK_F_FLUSH));
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(last()->op, STORE_WRITE_ZEROES);
    assert_int_equal(last()->flags, 0);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, UNMAP), VIRTIO_BLK_S_OK);
    assert_int_equal(last()->flags, STORE_UNMAP);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, 3), VIRTIO_BLK_S_UNSUPP);

    ob_device_set_features(f.device, 0); /* write-through */
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, UNMAP), VIRTIO_BLK_S_OK);
    assert_int_equal(last()->flags, STORE_UNMAP | STORE_FUA);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 8, 16, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(last()->flags, 0);
    teardown(&f);
}

static void test_not_offered(void **state)
{
    struct fixture f;

    make_threads(&f);
    fake.info = usual_info;
    fake.info.discard = false;
    struct ob_blk_options options = usual_options(&f);
    setup_with(&f, &options);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(one_segment(&f, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_OK);
    teardown(&f);
}

/* Data that is not a whole number of segments, or too many. */
static void test_segment_count(void **state)
{
    static const struct {
        size_t length;
        uint8_t status;
    } cases[] = {
        {0, VIRTIO_BLK_S_IOERR},
        {8, VIRTIO_BLK_S_IOERR},
        {24, VIRTIO_BLK_S_IOERR},
        {16 * BLK_SEGMENTS_MAX, VIRTIO_BLK_S_OK},
        {16 * (BLK_SEGMENTS_MAX + 1), VIRTIO_BLK_S_IOERR},
    };
    struct fixture f;

    setup(&f);
    for (unsigned i = 0; i <= BLK_SEGMENTS_MAX; i++)
        segment(i, i * 8, 8, 0);
    for (unsigned i = 0; i < array_size(cases); i++) {
        header(VIRTIO_BLK_T_DISCARD, 0);
        assert_int_equal(status_of(&f, usual(&f, cases[i].length, 0)), cases[i].status);
    }
    assert_int_equal(fake.n_notes, BLK_SEGMENTS_MAX);
    teardown(&f);
}

/* Segments cut anywhere; each its own request to the store, one after the other. */
static void test_several(void **state)
{
    struct fixture f;
    struct blk_request *request;

    setup(&f);
    fake.queued = true;
    header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
    segment(0, 0, 8, UNMAP);
    segment(1, 100, 0, 0);
    segment(2, 16, 8, 0);
    segment(3, 32, 8, UNMAP);
    const struct iovec ranges[] = {{&guest.header, 16},
                                   {guest.data, 5},
                                   {guest.data + 5, 40},
                                   {guest.data + 45, 19},
                                   {&guest.status, 1}};
    request = chain(&f, ranges, 4, 1);
    run(&f);
    memset(guest.data, 0xff, 64); /* too late to change one's mind */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fake.n_notes, i + 1);
        assert_int_equal(last()->offset, i * 16 * 512);
        assert_int_equal(!!(last()->flags & STORE_UNMAP), i != 1);
        assert_int_equal(guest.status, UNTOUCHED);
        fake.let_go = 1;
        run(&f);
    }
    assert_true(request->chain.done);
    assert_int_equal(guest.status, VIRTIO_BLK_S_OK);
    teardown(&f);
}

static void test_stops_at_error(void **state)
{
    struct fixture f;

    setup(&f);
    header(VIRTIO_BLK_T_DISCARD, 0);
    segment(0, 0, 8, 0);
    segment(1, 8, 8, 0);
    fake.result = -EIO;
    assert_int_equal(status_of(&f, usual(&f, 32, 0)), VIRTIO_BLK_S_IOERR);
    assert_int_equal(fake.n_notes, 1);

    /* A bad one among good ones has none carried out. */
    fake.result = 0;
    header(VIRTIO_BLK_T_DISCARD, 0);
    segment(1, 1000, 8, 0);
    assert_int_equal(status_of(&f, usual(&f, 32, 0)), VIRTIO_BLK_S_IOERR);
    assert_int_equal(fake.n_notes, 1);
    teardown(&f);
}

static void test_flush(void **state)
{
    struct fixture f;
    struct blk_request *request;

    setup(&f);
    fake.queued = true;
    header(VIRTIO_BLK_T_FLUSH, 0);
    request = usual(&f, 0, 0);
    run(&f);
    assert_int_equal(last()->op, STORE_FLUSH);
    assert_false(request->chain.done);
    assert_int_equal(guest.status, UNTOUCHED);
    fake.let_go = 1;
    fake.result = -EIO;
    run(&f);
    assert_int_equal(guest.status, VIRTIO_BLK_S_IOERR);
    assert_int_equal(request->chain.written, 1);
    teardown(&f);
}

/* A write that ended before the flush came has ended in the store, too. */
static void test_flush_order(void **state)
{
    struct fixture f;
    uint8_t status[2] = {UNTOUCHED, UNTOUCHED};

    setup(&f);
    ob_device_set_features(f.device, feature_bit(VIRTIO_BLK_F_FLUSH));
    fake.queued = true;
    header(VIRTIO_BLK_T_OUT, 0);
    const struct iovec write[] = {{&guest.header, 16}, {guest.data, 512}, {&status[0], 1}};
    chain(&f, write, 2, 1);
    run(&f);
    assert_int_equal(status[0], UNTOUCHED); /* not before the store says so */
    fake.let_go = 1;
    run(&f);
    assert_int_equal(status[0], VIRTIO_BLK_S_OK);
    header(VIRTIO_BLK_T_FLUSH, 0);
    const struct iovec flush[] = {{&guest.header, 16}, {&status[1], 1}};
    chain(&f, flush, 1, 1);
    run(&f);
    assert_int_equal(fake.notes[0].op, STORE_WRITE);
    assert_int_equal(fake.notes[0].flags, 0);
    assert_int_equal(fake.notes[1].op, STORE_FLUSH);
    fake.let_go = 1;
    run(&f);
    assert_int_equal(status[1], VIRTIO_BLK_S_OK);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discard),     cmocka_unit_test(test_write_zeroes),
        cmocka_unit_test(test_not_offered), cmocka_unit_test(test_segment_count),
        cmocka_unit_test(test_several),     cmocka_unit_test(test_stops_at_error),
        cmocka_unit_test(test_flush),       cmocka_unit_test(test_flush_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
