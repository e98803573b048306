/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The block device apart from its requests: features, configuration, caching, size, and the
 * options that it refuses.
 */

#include "device/blk_test.h"

#define CONFIG_SIZE 96
#define WCE offsetof(struct virtio_blk_config, wce)

static void read_config(struct fixture *f, struct virtio_blk_config *ret)
{
    uint8_t bytes[CONFIG_SIZE];

    assert_int_equal(ob_device_config_read(f->device, 0, bytes, sizeof(bytes)), 0);
    memcpy(ret, bytes, sizeof(*ret));
}

static bool offers(struct fixture *f, unsigned bit)
{
    return ob_device_features(f->device) & feature_bit(bit);
}

static void test_features(void **state)
{
    static const unsigned always[] = {VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_SEG_MAX,
                                      VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_TOPOLOGY,
                                      VIRTIO_BLK_F_FLUSH,    VIRTIO_BLK_F_CONFIG_WCE,
                                      VIRTIO_BLK_F_MQ};
    struct fixture f;

    for (unsigned read_only = 0; read_only < 2; read_only++) {
        make_threads(&f);
        fake.info = usual_info;
        struct ob_blk_options options = usual_options(&f);
        options.read_only = read_only;
        setup_with(&f, &options);
        for (unsigned i = 0; i < array_size(always); i++)
            assert_true(offers(&f, always[i]));
        assert_int_equal(offers(&f, VIRTIO_BLK_F_RO), read_only);
        assert_int_equal(offers(&f, VIRTIO_BLK_F_DISCARD), !read_only);
        assert_int_equal(offers(&f, VIRTIO_BLK_F_WRITE_ZEROES), !read_only);
        assert_false(offers(&f, VIRTIO_BLK_F_GEOMETRY));
        assert_false(offers(&f, VIRTIO_BLK_F_SECURE_ERASE));
        assert_false(offers(&f, VIRTIO_BLK_F_SCSI));
        teardown(&f);
    }
}

static void test_config(void **state)
{
    struct virtio_blk_config config;
    struct fixture f;

    setup(&f);
    read_config(&f, &config);
    assert_int_equal(config.capacity, 1000);
    assert_int_equal(config.seg_max, 126);
    assert_true(config.size_max >= 256 << 10);
    assert_true((uint64_t)config.size_max * config.seg_max / 512 <= UINT16_MAX); /* SeaBIOS */
    assert_int_equal(config.blk_size, 512);
    assert_int_equal(config.physical_block_exp, 3);
    assert_int_equal(config.alignment_offset, 0);
    assert_int_equal(config.min_io_size, 8);
    assert_int_equal(config.opt_io_size, 128);
    assert_int_equal(config.wce, 1);
    assert_int_equal(config.num_queues, 4);
    assert_int_equal(config.max_discard_sectors, 100);
    assert_int_equal(config.max_discard_seg, BLK_SEGMENTS_MAX);
    assert_int_equal(config.discard_sector_alignment, 8);
    assert_int_equal(config.max_write_zeroes_sectors, 100);
    assert_int_equal(config.max_write_zeroes_seg, BLK_SEGMENTS_MAX);
    assert_int_equal(config.write_zeroes_may_unmap, 1);
    assert_int_equal(config.geometry.cylinders, 0);
    assert_int_equal(config.unused, 0);
    teardown(&f);
}

/* Any piece is the same as that piece of the whole. */
static void test_config_pieces(void **state)
{
    uint8_t whole[CONFIG_SIZE], piece[CONFIG_SIZE];
    struct fixture f;

    setup(&f);
    assert_int_equal(ob_device_config_read(f.device, 0, whole, sizeof(whole)), 0);
    for (size_t offset = 0; offset <= CONFIG_SIZE; offset++) {
        for (size_t len = 0; len <= CONFIG_SIZE - offset; len++) {
            assert_int_equal(ob_device_config_read(f.device, offset, piece, len), 0);
            assert_memory_equal(piece, whole + offset, len);
        }
    }
    assert_int_equal(ob_device_config_read(f.device, 0, piece, CONFIG_SIZE + 1), -EINVAL);
    assert_int_equal(ob_device_config_read(f.device, SIZE_MAX, piece, 2), -EINVAL);
    teardown(&f);
}

static void test_config_write(void **state)
{
    uint8_t whole[CONFIG_SIZE], byte;
    struct fixture f;

    setup(&f);
    assert_int_equal(ob_device_config_read(f.device, 0, whole, sizeof(whole)), 0);
    for (size_t offset = 0; offset < CONFIG_SIZE; offset++) {
        byte = whole[offset] ^ 1;
        assert_int_equal(ob_device_config_write(f.device, offset, &byte, 1),
                         offset == WCE ? 0 : -EINVAL);
    }
    assert_int_equal(ob_device_config_read(f.device, WCE, &byte, 1), 0);
    assert_int_equal(byte, 0);
    /* All of it, with nothing else changed. */
    assert_int_equal(ob_device_config_write(f.device, 0, whole, sizeof(whole)), 0);
    assert_int_equal(ob_device_config_read(f.device, WCE, &byte, 1), 0);
    assert_int_equal(byte, 1);
    byte = 2;
    assert_int_equal(ob_device_config_write(f.device, WCE, &byte, 1), 0);
    assert_int_equal(ob_device_config_read(f.device, WCE, &byte, 1), 0);
    assert_int_equal(byte, 1);
    teardown(&f);
}

/* The flags that the store gets with a write. */
static unsigned write_flags(struct fixture *f)
{
    f->n_requests = f->n_popped = f->queue.staged_count = 0;
    header(VIRTIO_BLK_T_OUT, 0);
    assert_int_equal(status_of(f, usual(f, 512, 0)), VIRTIO_BLK_S_OK);
    return last()->flags;
}

static void set_wce(struct fixture *f, uint8_t wce)
{
    assert_int_equal(ob_device_config_write(f->device, WCE, &wce, 1), 0);
}

static void reset_done(void *ctx, int result)
{
    ob_loop_stop(ctx);
}

static void reset(struct fixture *f)
{
    assert_int_equal(ob_device_reset(f->device, reset_done, f->control), 0);
    assert_int_equal(ob_loop_run(f->control), 0);
}

static void test_caching(void **state)
{
    uint64_t flush = feature_bit(VIRTIO_BLK_F_FLUSH);
    uint64_t wce = feature_bit(VIRTIO_BLK_F_CONFIG_WCE);
    struct virtio_blk_config config;
    struct fixture f;

    setup(&f);
    assert_int_equal(write_flags(&f), STORE_FUA); /* before anything was agreed */
    assert_int_equal(ob_device_set_features(f.device, flush), 0);
    assert_int_equal(write_flags(&f), 0);
    assert_int_equal(ob_device_set_features(f.device, 0), 0);
    assert_int_equal(write_flags(&f), STORE_FUA);

    /* With the byte: it counts once somebody knows it. */
    assert_int_equal(ob_device_set_features(f.device, flush | wce), 0);
    assert_int_equal(write_flags(&f), STORE_FUA);
    read_config(&f, &config);
    assert_int_equal(config.wce, 1);
    assert_int_equal(write_flags(&f), 0);
    set_wce(&f, 0);
    assert_int_equal(write_flags(&f), STORE_FUA);
    set_wce(&f, 1);
    assert_int_equal(write_flags(&f), 0);

    /* A reset leaves it: the front-end may keep a copy. */
    set_wce(&f, 0);
    reset(&f);
    assert_int_equal(ob_device_set_features(f.device, flush | wce), 0);
    assert_int_equal(write_flags(&f), STORE_FUA);
    read_config(&f, &config);
    assert_int_equal(config.wce, 0);

    /* Who comes next may speak for a driver that was told another byte, and not ask again. */
    set_wce(&f, 1);
    assert_int_equal(write_flags(&f), 0);
    ob_device_listen(f.device, NULL);
    assert_int_equal(write_flags(&f), STORE_FUA);
    read_config(&f, &config);
    assert_int_equal(write_flags(&f), 0);

    /* Nor does a read mean anything while a driver is at work: it is for the capacity. */
    ob_device_listen(f.device, NULL);
    f.device->queues[0].running = true;
    read_config(&f, &config);
    assert_int_equal(write_flags(&f), STORE_FUA);
    f.device->queues[0].running = false;
    read_config(&f, &config);
    assert_int_equal(write_flags(&f), 0);

    /* Without FLUSH it begins at 0. */
    set_wce(&f, 1);
    assert_int_equal(ob_device_set_features(f.device, wce), 0);
    read_config(&f, &config);
    assert_int_equal(config.wce, 0);
    assert_int_equal(write_flags(&f), STORE_FUA);
    teardown(&f);
}

static unsigned config_changes;

static void config_changed(void *ctx)
{
    config_changes++;
}

static void test_resize(void **state)
{
    struct ob_device_listener listener = {.config_changed = config_changed};
    struct virtio_blk_config config;
    struct fixture f;

    setup(&f);
    ob_device_listen(f.device, &listener);
    fake.next_capacity = 512000;
    assert_int_equal(ob_blk_resize(f.device), 0);
    assert_int_equal(config_changes, 0);

    fake.next_capacity = 1024000 + 100; /* not a whole block */
    assert_int_equal(ob_blk_resize(f.device), 0);
    assert_int_equal(config_changes, 1);
    read_config(&f, &config);
    assert_int_equal(config.capacity, 2000);
    assert_int_equal(ob_blk_capacity(f.device), 1024000);
    header(VIRTIO_BLK_T_IN, 1999);
    assert_int_equal(status_of(&f, usual(&f, 0, 512)), VIRTIO_BLK_S_OK);

    fake.next_capacity = 0;
    assert_int_equal(ob_blk_resize(f.device), 0);
    assert_int_equal(config_changes, 2);
    header(VIRTIO_BLK_T_IN, 0);
    assert_int_equal(status_of(&f, usual(&f, 0, 512)), VIRTIO_BLK_S_IOERR);
    teardown(&f);
}

static void test_seg_max(void **state)
{
    static const struct {
        uint32_t wanted, queue_size, told;
    } cases[] = {{0, 0, 126}, {0, 64, 62}, {0, 1024, 126}, {500, 256, 254}, {10, 256, 10}};
    struct virtio_blk_config config;
    struct fixture f;

    for (unsigned i = 0; i < array_size(cases); i++) {
        make_threads(&f);
        fake.info = usual_info;
        struct ob_blk_options options = usual_options(&f);
        options.seg_max = cases[i].wanted;
        options.device.queue_size_max = cases[i].queue_size;
        setup_with(&f, &options);
        read_config(&f, &config);
        assert_int_equal(config.seg_max, cases[i].told);
        assert_true(config.size_max >= 4096 && config.size_max % 4096 == 0);
        assert_true((uint64_t)config.size_max * config.seg_max / 512 <= UINT16_MAX);
        teardown(&f);
    }
}

static void test_refused(void **state)
{
    struct fixture f;
    struct ob_device *device = NULL;

    make_threads(&f);
    fake.info = usual_info;
    fake.opens = fake.closes = 0;
    struct ob_blk_options usual_ones = usual_options(&f), options = usual_ones;
    static const uint32_t sizes[] = {1, 256, 511, 513, 1536, 131072};
    for (unsigned i = 0; i < array_size(sizes); i++) {
        options.block_size = sizes[i];
        assert_int_equal(blk_new(&options, fake_stores, &device), -EINVAL);
    }
    options = usual_ones;
    options.seg_max = OB_CHAIN_RANGES_MAX - 1;
    assert_int_equal(blk_new(&options, fake_stores, &device), -EINVAL);
    options = usual_ones;
    options.device.queue_size_max = 2;
    assert_int_equal(blk_new(&options, fake_stores, &device), -EINVAL);
    options = usual_ones;
    options.source = "fake:";
    assert_int_equal(blk_new(&options, fake_stores, &device), -EINVAL);
    assert_int_equal(fake.opens, 0);

    options = usual_ones;
    fake.info.block_size = 4096; /* which the store cannot divide */
    options.block_size = 512;
    assert_int_equal(blk_new(&options, fake_stores, &device), -EINVAL);
    fake.info = usual_info;
    fake.info.capacity = 511;
    assert_int_equal(blk_new(&usual_ones, fake_stores, &device), -EINVAL);
    options = usual_ones;
    fake.info = usual_info;
    options.device.n_queues = 0;
    assert_int_equal(blk_new(&options, fake_stores, &device), -EINVAL);
    assert_int_equal(fake.opens, 3);
    assert_int_equal(fake.closes, 3);
    assert_null(device);
    free_threads(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),      cmocka_unit_test(test_config),
        cmocka_unit_test(test_config_pieces), cmocka_unit_test(test_config_write),
        cmocka_unit_test(test_caching),       cmocka_unit_test(test_resize),
        cmocka_unit_test(test_seg_max),       cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
