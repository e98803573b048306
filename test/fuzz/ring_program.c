/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzing the device half of rings
 *
 * The input is a program: it chooses features and a size, and then writes into the ring's memory,
 * makes descriptors that are likely to be valid, lets the device take its turns, completes what
 * it has, replaces the map, stops and starts, abandons. The device checks each chain that it
 * gets: every range is where the map says that the guest's address is, there are no more than
 * there may be, and all of it can be touched.
 */

#include "ring_program.h"

#include "memory/map.h"
#include "ring/queue.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST 0x10000ull /* both kinds of address; the regions touch, but not in our mapping */
#define REGION 0x8000u
#define REGIONS 3u
#define MEMORY (REGION * REGIONS)
#define OUT_MAX OB_QUEUE_INFLIGHT_MAX
#define STEPS_MAX 2000

struct fuzz {
    const uint8_t *data;
    size_t left;
    int fd;
    uint8_t *view;
    struct ob_loop *loop;
    struct ob_memory *memory;
    struct ob_queue queue;
    struct ob_queue_setup setup;
    struct ob_chain *out[OUT_MAX];
    unsigned n_out;
};

static void must(bool condition)
{
    if (!condition)
        abort();
}

static unsigned byte(struct fuzz *fuzz)
{
    if (!fuzz->left)
        return 0;
    fuzz->left--;
    return *fuzz->data++;
}

static unsigned word(struct fuzz *fuzz)
{
    unsigned low = byte(fuzz);

    return low | byte(fuzz) << 8;
}

static void check_chain(const struct fuzz *fuzz, const struct ob_chain *chain)
{
    unsigned count = (unsigned)chain->n_out + chain->n_in;

    must(count <= OB_CHAIN_RANGES_MAX);
    for (unsigned i = 0; i < count; i++) {
        volatile uint8_t *bytes = chain->iov[i].iov_base;
        size_t len = chain->iov[i].iov_len;
        void *host = NULL;

        must(len && ob_map_translate(fuzz->queue.map->map, OB_SPACE_DRIVER, chain->guest[i], len,
                                     i < chain->n_out ? OB_ACCESS_READ : OB_ACCESS_WRITE,
                                     &host) == (int64_t)len);
        must(host == chain->iov[i].iov_base);
        (void)bytes[0];
        if (i >= chain->n_out)
            bytes[len - 1] = 0x5a;
        else
            (void)bytes[len - 1];
    }
}

static unsigned device_run(void *ctx, unsigned budget)
{
    struct fuzz *fuzz = ctx;
    unsigned room = OUT_MAX - fuzz->n_out, count;

    count = ob_queue_pop(&fuzz->queue, fuzz->out + fuzz->n_out, room < budget ? room : budget);
    for (unsigned i = 0; i < count; i++)
        check_chain(fuzz, fuzz->out[fuzz->n_out + i]);
    fuzz->n_out += count;
    return count;
}

static int device_open(void *dev, struct ob_queue *queue, void **ret)
{
    *ret = dev;
    return 0;
}

static void device_close(void *ctx)
{
}

static void device_event(struct ob_queue *queue)
{
}

static const struct ob_device_ops device = {
    .size = sizeof(device),
    .name = "fuzz",
    .request_size = sizeof(struct ob_chain),
    .queue_open = device_open,
    .run = device_run,
    .queue_close = device_close,
};

struct last {
    struct ob_work work;
    struct ob_loop *loop;
};

static void last_run(struct ob_work *work)
{
    ob_loop_stop(container_of(work, struct last, work)->loop);
}

/* One turn of the loop: posted work, the queue, events. */
static void loop_turn(struct fuzz *fuzz)
{
    struct last last = {.work.run = last_run, .loop = fuzz->loop};

    ob_loop_post(fuzz->loop, &last.work);
    must(ob_loop_run(fuzz->loop) == 0);
}

static void add_regions(struct fuzz *fuzz)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        struct ob_region_info info = {
            .driver_addr = GUEST + i * REGION,
            .ring_addr = GUEST + i * REGION,
            .size = REGION,
            /* Not in the file's order, so that no two are neighbours by accident. */
            .file_offset = (REGIONS - 1 - i) * REGION,
            .access = OB_ACCESS_BOTH,
        };

        must(ob_memory_add(fuzz->memory, &info, fuzz->fd) == 0);
    }
}

static void give_map(struct fuzz *fuzz)
{
    struct ob_queue_map *map = calloc(1, sizeof(*map));

    must(map && ob_memory_publish(fuzz->memory, NULL, NULL) == 0);
    map->map = ob_map_ref(ob_memory_map(fuzz->memory));
    map->refs = 1;
    queue_set_map(&fuzz->queue, map);
}

static void start(struct fuzz *fuzz, const struct ob_queue_base *base)
{
    struct pool pool;
    struct ob_queue_setup setup = fuzz->setup;

    setup.base = *base;
    must(queue_check_setup(&setup, OB_QUEUE_SIZE_MAX, NULL, 0) == 0);
    must(pool_init(&pool, device.request_size, 64) == 0);
    must(queue_start(&fuzz->queue, &setup, &pool) == 0);
    queue_enable(&fuzz->queue, true);
}

static void complete(struct fuzz *fuzz, unsigned count)
{
    while (count-- && fuzz->n_out) {
        unsigned at = byte(fuzz) % fuzz->n_out;
        struct ob_chain *chain = fuzz->out[at];

        fuzz->out[at] = fuzz->out[--fuzz->n_out];
        ob_queue_complete(&fuzz->queue, chain, byte(fuzz));
    }
    ob_queue_wake(&fuzz->queue);
}

static void drain(struct fuzz *fuzz)
{
    complete(fuzz, fuzz->n_out);
    for (unsigned i = 0; i < 4 && fuzz->queue.state != QUEUE_STOPPED; i++)
        loop_turn(fuzz);
    must(fuzz->queue.state == QUEUE_STOPPED && !fuzz->n_out);
}

/* Where the file holds a guest address's byte. */
static uint8_t *at(struct fuzz *fuzz, uint32_t offset)
{
    offset %= MEMORY;
    return fuzz->view + (REGIONS - 1 - offset / REGION) * REGION + offset % REGION;
}

static void put(struct fuzz *fuzz, uint32_t offset, const void *bytes, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        *at(fuzz, offset + i) = ((const uint8_t *)bytes)[i];
}

/* A descriptor that is often right: an address in the memory, a length that is not far out. */
static void put_descriptor(struct fuzz *fuzz)
{
    unsigned where = byte(fuzz), table = where >> 6;
    uint32_t offset = table ? REGION - 64 + table * 0x1000 : 0;
    uint64_t addr = GUEST + (uint64_t)word(fuzz) % (MEMORY + 64);
    uint32_t len = word(fuzz);
    uint16_t words[2] = {(uint16_t)word(fuzz), (uint16_t)word(fuzz)};

    offset += 16 * (where & 63);
    put(fuzz, offset, &addr, 8);
    put(fuzz, offset + 8, &len, 4);
    put(fuzz, offset + 12, words, 4);
}

static void make_available(struct fuzz *fuzz)
{
    struct ring_split *ring = &fuzz->queue.split;
    uint16_t idx, head = (uint16_t)word(fuzz);

    if (fuzz->setup.features & feature_bit(VIRTIO_F_RING_PACKED))
        return;
    idx = ring->avail->idx;
    ring->avail->ring[idx % fuzz->setup.size] = head;
    ring->avail->idx = (uint16_t)(idx + 1);
}

static void step(struct fuzz *fuzz)
{
    struct ob_queue_base base;
    unsigned what = byte(fuzz);
    uint32_t offset;

    switch (what % 16) {
    case 0:
    case 1:
        offset = (uint32_t)word(fuzz);
        *at(fuzz, offset) = (uint8_t)byte(fuzz);
        break;
    case 2:
    case 3:
    case 4:
    case 5: put_descriptor(fuzz); break;
    case 6:
    case 7:
    case 8: make_available(fuzz); break;
    case 9:
    case 10:
    case 11: loop_turn(fuzz); break;
    case 12: complete(fuzz, byte(fuzz)); break;
    case 13: give_map(fuzz); break;
    case 14:
        queue_stop(&fuzz->queue);
        drain(fuzz);
        fuzz->queue.format->save(&fuzz->queue, &base);
        start(fuzz, &base);
        break;
    default:
        queue_abandon(&fuzz->queue);
        drain(fuzz);
        give_map(fuzz);
        start(fuzz, &(struct ob_queue_base){.avail_wrap = true, .used_wrap = true});
    }
}

static void init(struct fuzz *fuzz, uint64_t features)
{
    struct ob_loop_options options = {.poll = OB_POLL_OFF};
    bool packed = features & feature_bit(VIRTIO_F_RING_PACKED);
    unsigned choice = byte(fuzz);
    uint32_t size = packed ? 1 + choice % 64 : 1u << choice % 7;

    if (choice & 0x80)
        features |= feature_bit(VIRTIO_RING_F_EVENT_IDX);
    if (byte(fuzz) & 1)
        features |= feature_bit(VIRTIO_F_IN_ORDER);
    fuzz->setup = (struct ob_queue_setup){
        .size = size,
        .features = features,
        .space = OB_SPACE_RING,
        .desc = GUEST,
        .driver = GUEST + 0x1000,
        .device = GUEST + 0x2000,
    };
    fuzz->fd = memfd_create("fuzz", MFD_CLOEXEC);
    must(fuzz->fd >= 0 && ftruncate(fuzz->fd, MEMORY) == 0);
    fuzz->view = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fuzz->fd, 0);
    must(fuzz->view != MAP_FAILED);
    must(ob_loop_new(&options, &fuzz->loop) == 0);
    must(ob_memory_new(fuzz->loop, NULL, &fuzz->memory) == 0);
    add_regions(fuzz);
    fuzz->queue.type = &device;
    fuzz->queue.dev = fuzz;
    fuzz->queue.loop = fuzz->loop;
    fuzz->queue.drained = device_event;
    fuzz->queue.told_broken = device_event;
    queue_init(&fuzz->queue);
    give_map(fuzz);
    start(fuzz, &(struct ob_queue_base){.avail_wrap = true, .used_wrap = true});
}

static void done(struct fuzz *fuzz)
{
    queue_abandon(&fuzz->queue);
    drain(fuzz);
    queue_abandon(&fuzz->queue);
    ob_memory_free(fuzz->memory);
    loop_turn(fuzz);
    ob_loop_free(fuzz->loop);
    munmap(fuzz->view, MEMORY);
    close(fuzz->fd);
}

void fuzz_ring(const uint8_t *data, size_t size, uint64_t features)
{
    struct fuzz *fuzz = calloc(1, sizeof(*fuzz));

    must(fuzz);
    fuzz->data = data;
    fuzz->left = size;
    init(fuzz, features | feature_bit(VIRTIO_F_VERSION_1) |
                   feature_bit(VIRTIO_RING_F_INDIRECT_DESC));
    for (unsigned i = 0; i < STEPS_MAX && fuzz->left; i++)
        step(fuzz);
    done(fuzz);
    free(fuzz);
}
