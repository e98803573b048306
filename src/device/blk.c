/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The block device (virtio 1.3, 5.2): what it offers, its configuration, its size.
 *
 * Everything here runs on the control thread. blk_queue.c moves requests between a queue and
 * the store, on the queue's worker; blk_request.c knows what a request means.
 *
 * Caching. A write is *stable* when it survives a crash of the host. Three agreements are
 * possible (5.2.6.2):
 *
 *   CONFIG_WCE accepted      the writeback byte decides: 1, stable after a FLUSH; 0, when complete
 *   only FLUSH accepted      stable after a FLUSH
 *   neither                  stable when complete ("write-through")
 *
 * The writeback byte has a trap. A front-end may keep its own copy of the configuration and
 * read it only as it begins. If we are restarted behind its back, with the driver's byte at 0
 * and ours back at 1, the driver would rely on what we do not do. So nobody is taken to know
 * our byte until it was read or written, and until then writes are write-through. For the same
 * reason a reset leaves the byte as it is (the specification leaves that open).
 */

#include "device/blk.h"

#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_SHIFT 9

/*
 * Bytes of configuration: all that virtio 1.3 has, the zoned characteristics last, so that a
 * front-end can read all of what it knows. What belongs to features not offered is zero.
 */
#define CONFIG_SIZE 96

/* Data ranges a request that any queue size in use can hold (QEMU's rings have 128 entries). */
#define SEG_MAX_DEFAULT 126

/* Most sectors of one request. SeaBIOS computes seg_max ranges of size_max in sectors, in 16 bits,
 * and sends empty ones if that overflows. */
#define REQUEST_SECTORS_MAX 65535u
#define SIZE_MAX_UNIT 4096u /* drivers expect at least a page */

union config {
    struct virtio_blk_config fields;
    uint8_t bytes[CONFIG_SIZE];
};

_Static_assert(sizeof(struct virtio_blk_config) <= CONFIG_SIZE, "the configuration has grown");

static bool accepted(const struct blk *blk, unsigned bit)
{
    return blk->features & feature_bit(bit);
}

static uint64_t blk_features(void *dev)
{
    const struct blk *blk = dev;
    uint64_t features = feature_bit(VIRTIO_BLK_F_SIZE_MAX) | feature_bit(VIRTIO_BLK_F_SEG_MAX) |
                        feature_bit(VIRTIO_BLK_F_BLK_SIZE) | feature_bit(VIRTIO_BLK_F_TOPOLOGY) |
                        feature_bit(VIRTIO_BLK_F_FLUSH) | feature_bit(VIRTIO_BLK_F_CONFIG_WCE) |
                        feature_bit(VIRTIO_BLK_F_MQ);

    if (blk->read_only)
        return features | feature_bit(VIRTIO_BLK_F_RO);
    if (blk->store->info.discard)
        features |= feature_bit(VIRTIO_BLK_F_DISCARD);
    return features | feature_bit(VIRTIO_BLK_F_WRITE_ZEROES);
}

static void update_write_through(struct blk *blk)
{
    bool write_back = accepted(blk, VIRTIO_BLK_F_CONFIG_WCE) ? blk->wce && blk->wce_seen
                                                             : accepted(blk, VIRTIO_BLK_F_FLUSH);

    store_once(&blk->write_through, !write_back);
}

static void blk_set_features(void *dev, uint64_t features)
{
    struct blk *blk = dev;

    blk->features = features;
    /* 5.2.5.2: without FLUSH, writeback starts at 0. */
    if (accepted(blk, VIRTIO_BLK_F_CONFIG_WCE) && !accepted(blk, VIRTIO_BLK_F_FLUSH))
        blk->wce = false;
    update_write_through(blk);
}

static void blk_reset(void *dev)
{
    struct blk *blk = dev;

    blk->features = 0;
    update_write_through(blk);
}

/* Logarithm to base 2 of a power of two. */
static uint8_t exponent(uint32_t value)
{
    return (uint8_t)__builtin_ctz(value);
}

static void fill_topology(const struct blk *blk, struct virtio_blk_config *config)
{
    const struct store_info *info = &blk->store->info;
    uint32_t physical = info->physical_block_size / blk->block_size;

    /* A physical block that is no power of two, or smaller, is none that could be told. */
    if (is_power_of_two(physical)) {
        config->physical_block_exp = exponent(physical);
        config->min_io_size = (uint16_t)min_u64(physical, UINT16_MAX);
    }
    config->opt_io_size = info->optimal_io / blk->block_size;
}

static void fill_config(const struct blk *blk, union config *ret)
{
    const struct store_info *info = &blk->store->info;
    struct virtio_blk_config *config = &ret->fields;
    uint32_t granularity = info->discard_granularity;

    memset(ret, 0, sizeof(*ret));
    config->capacity = blk->sectors;
    config->size_max = REQUEST_SECTORS_MAX * STORE_BLOCK_MIN / blk->seg_max & ~(SIZE_MAX_UNIT - 1);
    config->seg_max = blk->seg_max;
    config->blk_size = blk->block_size;
    fill_topology(blk, config);
    config->wce = blk->wce;
    config->num_queues = blk->n_queues;
    if (blk->read_only)
        return;
    if (info->discard) {
        if (granularity < blk->block_size)
            granularity = blk->block_size;
        config->max_discard_sectors = info->range_max >> SECTOR_SHIFT;
        config->max_discard_seg = BLK_SEGMENTS_MAX;
        config->discard_sector_alignment = granularity >> SECTOR_SHIFT;
    }
    config->max_write_zeroes_sectors = info->range_max >> SECTOR_SHIFT;
    config->max_write_zeroes_seg = BLK_SEGMENTS_MAX;
    config->write_zeroes_may_unmap = info->zero_unmaps;
}

static bool covers_wce(size_t offset, size_t len)
{
    size_t wce = offsetof(struct virtio_blk_config, wce);

    return offset <= wce && wce - offset < len;
}

static bool any_queue_runs(const struct blk *blk)
{
    for (unsigned i = 0; i < blk->n_queues; i++)
        if (ob_device_queue_running(blk->device, i))
            return true;
    return false;
}

/* While queues run, a front-end may read all of it for the sake of the capacity, and a driver
 * that was told another writeback long ago hears nothing of it. */
static void blk_config_read(void *dev, size_t offset, void *buf, size_t len)
{
    struct blk *blk = dev;
    union config config;

    fill_config(blk, &config);
    memcpy(buf, config.bytes + offset, len);
    if (covers_wce(offset, len) && !any_queue_runs(blk)) {
        blk->wce_seen = true;
        update_write_through(blk);
    }
}

/* A front-end may write more than the byte that it changes; the rest must be as it is. */
static int blk_config_write(void *dev, size_t offset, const void *buf, size_t len)
{
    struct blk *blk = dev;
    union config before, after;

    fill_config(blk, &before);
    after = before;
    memcpy(after.bytes + offset, buf, len);
    uint8_t wce = after.fields.wce;
    after.fields.wce = before.fields.wce;
    if (memcmp(&after, &before, sizeof(before)))
        return -EINVAL;
    if (covers_wce(offset, len)) {
        blk->wce = wce != 0;
        blk->wce_seen = true;
        update_write_through(blk);
    }
    return 0;
}

/* The next front-end may speak for a driver that knows another writeback. */
static void blk_left(void *dev)
{
    struct blk *blk = dev;

    blk->wce_seen = false;
    update_write_through(blk);
}

static int blk_free(void *dev)
{
    struct blk *blk = dev;
    int error = store_close(blk->store);

    free(blk);
    return error;
}

static const struct ob_device_ops blk_ops = {
    .size = sizeof(struct ob_device_ops),
    .name = "blk",
    .virtio_id = VIRTIO_ID_BLOCK,
    .request_size = sizeof(struct blk_request),
    .config_size = CONFIG_SIZE,
    .features = blk_features,
    .set_features = blk_set_features,
    .config_read = blk_config_read,
    .config_write = blk_config_write,
    .reset = blk_reset,
    .left = blk_left,
    .free = blk_free,
    .queue_open = blk_queue_open,
    .run = blk_queue_run,
    .pending = blk_queue_pending,
    .queue_close = blk_queue_close,
};

/* Whole blocks, in sectors. */
static uint64_t usable_sectors(const struct blk *blk)
{
    uint64_t capacity = blk->store->info.capacity;

    return (capacity - capacity % blk->block_size) >> SECTOR_SHIFT;
}

static int check_options(const struct ob_blk_options *options)
{
    const struct ob_log *log = options->device.log;
    uint32_t size = options->block_size;

    if (size && (!is_power_of_two(size) || size < STORE_BLOCK_MIN || size > STORE_BLOCK_MAX)) {
        log_error(log, "a block size of %u is not a power of two from %u to %u", size,
                  STORE_BLOCK_MIN, STORE_BLOCK_MAX);
        return -EINVAL;
    }
    if (options->device.queue_size_max && options->device.queue_size_max < 3) {
        log_error(log, "a queue of %u cannot hold a request, which takes 3 descriptors or more",
                  options->device.queue_size_max);
        return -EINVAL;
    }
    if (options->seg_max > OB_CHAIN_RANGES_MAX - 2) {
        log_error(log, "a request of %u data ranges is more than %u", options->seg_max,
                  OB_CHAIN_RANGES_MAX - 2);
        return -EINVAL;
    }
    return 0;
}

static int check_store(struct blk *blk, const struct ob_blk_options *options)
{
    const struct store_info *info = &blk->store->info;

    blk->block_size = options->block_size ? options->block_size : info->block_size;
    if (blk->block_size < info->block_size) {
        log_error(blk->log, "'%s' takes blocks of %u bytes, not of %u", options->source,
                  info->block_size, blk->block_size);
        return -EINVAL;
    }
    blk->sectors = usable_sectors(blk);
    if (!blk->sectors) {
        log_error(blk->log, "'%s' is smaller than one block of %u bytes", options->source,
                  blk->block_size);
        return -EINVAL;
    }
    if (info->capacity % blk->block_size)
        log_warning(blk->log,
                    "'%s' ends with %" PRIu64 " bytes that make no block of %u: they "
                    "are not served",
                    options->source, info->capacity % blk->block_size, blk->block_size);
    return 0;
}

static struct blk *blk_init(const struct ob_blk_options *options)
{
    struct blk *blk = calloc(1, sizeof(*blk));
    uint32_t seg_max = options->seg_max ? options->seg_max : SEG_MAX_DEFAULT;
    unsigned queue_size = options->device.queue_size_max;

    if (!blk)
        return NULL;
    if (queue_size && seg_max > queue_size - 2)
        seg_max = queue_size - 2; /* header and status take one each */
    blk->log = options->device.log;
    blk->seg_max = seg_max;
    blk->n_queues = (uint16_t)options->device.n_queues;
    blk->read_only = options->read_only;
    blk->wce = true;
    if (options->serial)
        memcpy(blk->serial, options->serial, strnlen(options->serial, sizeof(blk->serial)));
    update_write_through(blk);
    return blk;
}

int blk_new(const struct ob_blk_options *options, const struct store_ops *const *stores,
            struct ob_device **ret)
{
    struct store_options store_options = {
        .read_only = options->read_only,
        .block_size = options->block_size,
        .log = options->device.log,
    };
    int error = check_options(options);
    struct blk *blk = error ? NULL : blk_init(options);

    if (!blk)
        return error ? error : -ENOMEM;
    error = store_open(stores, options->source, &store_options, &blk->store);
    if (error) {
        free(blk);
        return error;
    }
    error = check_store(blk, options);
    if (!error)
        error = ob_device_new(&blk_ops, blk, &options->device, &blk->device);
    if (error) {
        blk_free(blk);
        return error;
    }
    *ret = blk->device;
    return 0;
}

int ob_blk_new(const struct ob_blk_options *options, struct ob_device **ret)
{
    return blk_new(options, store_table, ret);
}

int ob_blk_resize(struct ob_device *device)
{
    if (ob_device_type(device) != &blk_ops)
        return -EINVAL;
    struct blk *blk = ob_device_part(device);
    int error = blk->store->ops->refresh ? blk->store->ops->refresh(blk->store) : 0;
    if (error)
        return error;
    uint64_t sectors = usable_sectors(blk);
    if (sectors != blk->sectors) {
        log_info(blk->log, "the disk has %" PRIu64 " sectors now, and had %" PRIu64, sectors,
                 blk->sectors);
        store_once(&blk->sectors, sectors);
        ob_device_config_changed(device);
    }
    return 0;
}

uint64_t ob_blk_capacity(const struct ob_device *device)
{
    const struct blk *blk = ob_device_part(device);

    return blk->sectors << SECTOR_SHIFT;
}
