/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Driver half, what both formats share
 *
 * A driver adds buffers, publishes them, and takes back those that the device has used. What it
 * needs to know of a buffer it keeps in memory of its own and never reads back from the ring: a
 * device may be as hostile as a driver. An id that the device returns is checked to be one that
 * is out.
 *
 * IN_ORDER: the device may report only the last of several buffers; those before it are used
 * too, and wholly (virtio 1.3, 2.7.9 and 2.8.6). They are told apart by the order in which they
 * were added.
 */

#include "ring/driver_impl.h"

#include <errno.h>
#include <stdlib.h>

#define SIZE_MAX_RING 32768

struct ring_driver_bytes ring_driver_bytes(uint64_t features, uint32_t size)
{
    if (features & feature_bit(VIRTIO_F_RING_PACKED))
        return (struct ring_driver_bytes){
            .desc = sizeof(struct vring_packed_desc) * size,
            .driver = sizeof(struct vring_packed_desc_event),
            .device = sizeof(struct vring_packed_desc_event),
        };
    return (struct ring_driver_bytes){
        .desc = sizeof(struct vring_desc) * size,
        .driver = SPLIT_AVAIL_HEADER + sizeof(uint16_t) * (size + 1),
        .device = SPLIT_USED_HEADER + sizeof(struct vring_used_elem) * size + sizeof(uint16_t),
    };
}

static void attach(struct ring_driver *driver)
{
    const struct ring_driver_setup *setup = &driver->setup;

    if (setup->features & feature_bit(VIRTIO_F_RING_PACKED)) {
        driver->format = &driver_packed_format;
        driver->packed = (struct driver_packed){
            .desc = setup->desc,
            .driver = setup->driver,
            .device = setup->device,
            .avail_wrap = true,
            .used_wrap = true,
        };
        return;
    }
    driver->format = &driver_split_format;
    driver->split = (struct driver_split){
        .desc = setup->desc,
        .avail = setup->driver,
        .used = setup->device,
        .avail_next = setup->start,
        .avail_published = setup->start,
        .used_next = setup->start,
    };
    driver->split.avail->idx = setup->start;
    driver->split.used->idx = setup->start;
}

int ring_driver_new(const struct ring_driver_setup *setup, struct ring_driver **ret)
{
    bool packed = setup->features & feature_bit(VIRTIO_F_RING_PACKED);
    struct ring_driver *driver;

    if (!setup->size || setup->size > SIZE_MAX_RING || (!packed && !is_power_of_two(setup->size)))
        return -EINVAL;
    driver = calloc(1, sizeof(*driver));
    if (!driver)
        return -ENOMEM;
    driver->buffers = calloc(setup->size, sizeof(*driver->buffers));
    driver->order = calloc(setup->size, sizeof(*driver->order));
    if (!driver->buffers || !driver->order) {
        ring_driver_free(driver);
        return -ENOMEM;
    }
    driver->setup = *setup;
    driver->size = setup->size;
    driver->free_slots = setup->size;
    driver->indirect = setup->tables &&
                       setup->features & feature_bit(VIRTIO_RING_F_INDIRECT_DESC);
    driver->event_idx = setup->features & feature_bit(VIRTIO_RING_F_EVENT_IDX);
    driver->in_order = setup->features & feature_bit(VIRTIO_F_IN_ORDER);
    for (uint32_t i = 0; i < setup->size; i++)
        driver->buffers[i].next = (uint16_t)(i + 1);
    driver->free_tail = (uint16_t)(setup->size - 1);
    attach(driver);
    *ret = driver;
    return 0;
}

void ring_driver_free(struct ring_driver *driver)
{
    if (!driver)
        return;
    free(driver->buffers);
    free(driver->order);
    free(driver);
}

uint64_t driver_fill_table(struct ring_driver *driver, uint16_t id,
                           const struct ring_range *ranges, unsigned n_out, unsigned n_in)
{
    uint64_t offset = (uint64_t)id * driver->setup.table_entries;
    struct vring_desc *table = driver->setup.tables + offset;
    bool packed = driver->format == &driver_packed_format;

    for (unsigned i = 0; i < n_out + n_in; i++) {
        uint16_t write = i >= n_out ? VRING_DESC_F_WRITE : 0;

        if (packed) {
            ((struct vring_packed_desc *)table)[i] = (struct vring_packed_desc){
                .addr = ranges[i].addr, .len = ranges[i].len, .flags = write};
        } else {
            table[i] = (struct vring_desc){
                .addr = ranges[i].addr,
                .len = ranges[i].len,
                .flags = (uint16_t)(write | (i + 1 < n_out + n_in ? VRING_DESC_F_NEXT : 0)),
                .next = (uint16_t)(i + 1),
            };
        }
    }
    return driver->setup.tables_addr + offset * sizeof(*table);
}

void driver_note(struct ring_driver *driver, uint16_t id, const struct ring_range *ranges,
                 unsigned n_out, unsigned n_in, uint16_t slots, uint64_t token)
{
    struct driver_buffer *buffer = &driver->buffers[id];

    buffer->token = token;
    buffer->slots = slots;
    buffer->writable = 0;
    for (unsigned i = n_out; i < n_out + n_in; i++)
        buffer->writable += ranges[i].len;
    driver->free_slots -= slots;
    driver->out++;
    if (driver->in_order)
        driver->order[(driver->order_first + driver->order_count++) % driver->size] = id;
}

int ring_driver_add(struct ring_driver *driver, const struct ring_range *ranges, unsigned n_out,
                    unsigned n_in, uint64_t token)
{
    unsigned count = n_out + n_in;
    unsigned slots = driver_use_table(driver, count) ? 1 : count;

    if (!count || slots > driver->size)
        return -E2BIG;
    if (slots > driver->free_slots)
        return -ENOSPC;
    return driver->format->add(driver, ranges, n_out, n_in, token);
}

bool ring_driver_publish(struct ring_driver *driver)
{
    return driver->format->publish(driver);
}

static struct ring_used release(struct ring_driver *driver, uint16_t id, uint32_t len)
{
    struct driver_buffer *buffer = &driver->buffers[id];
    struct ring_used used = {.token = buffer->token, .len = len};
    uint16_t slots = buffer->slots;

    driver->format->release(driver, id);
    buffer->slots = 0;
    driver->free_slots += slots;
    driver->out--;
    return used;
}

/* Takes the buffers up to id, of which only the last was reported. Returns how many. */
static int take_in_order(struct ring_driver *driver, uint16_t id, uint32_t len,
                         struct ring_used *used, unsigned max)
{
    unsigned count = 0;

    for (;;) {
        uint16_t oldest = driver->order[driver->order_first];

        if (count == max || !driver->order_count)
            return -EPROTO;
        driver->order_first = (driver->order_first + 1) % driver->size;
        driver->order_count--;
        if (oldest == id) {
            used[count++] = release(driver, oldest, len);
            return (int)count;
        }
        used[count] = release(driver, oldest, driver->buffers[oldest].writable);
        count++;
    }
}

int ring_driver_take(struct ring_driver *driver, struct ring_used *used, unsigned max)
{
    unsigned count = 0;

    /* One report may stand for all that is out. */
    if (driver->in_order && max < driver->out)
        return -ENOBUFS;
    while (count < max && driver->format->peek(driver)) {
        uint32_t id, len;

        driver->format->next(driver, &id, &len);
        if (id >= driver->size || !driver->buffers[id].slots)
            return -EPROTO;
        if (driver->in_order) {
            int taken = take_in_order(driver, (uint16_t)id, len, used + count, max - count);

            if (taken < 0)
                return taken;
            count += (unsigned)taken;
        } else {
            used[count++] = release(driver, (uint16_t)id, len);
        }
    }
    return (int)count;
}

bool ring_driver_ask_call(struct ring_driver *driver)
{
    return driver->format->ask_call(driver);
}

void ring_driver_no_call(struct ring_driver *driver)
{
    driver->format->no_call(driver);
}

unsigned ring_driver_out(const struct ring_driver *driver)
{
    return driver->out;
}
