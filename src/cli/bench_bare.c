/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: the bare ring loop
 *
 * A thread in this process that moves a ring as a block device would, with the same chains in
 * the same layout, but checks nothing, translates by one addition, and has no store: it reads
 * the header, writes the status, and gives the chain back. No device can be faster on the same
 * two CPUs, so it is the ceiling that results are compared with.
 *
 * It is a front-end like any other to the rest of the benchmark ("bare:CPU"), which thus drives
 * it by the same code as a real device. It polls, and is not for use with anything hostile.
 */

#include "cli/bench.h"
#include "wire/virtio.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES_MAX 64
#define CAPACITY_SECTORS (64ull << 30 >> 9)
#define PUBLISH 16 /* a quarter of the depth that matters most */

#define FLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED (1u << VRING_PACKED_DESC_F_USED)

struct bare_queue {
    struct ob_queue_setup setup;
    uint64_t shift; /* from descriptor addresses to pointers */
    int cpu;
    pthread_t thread;
    bool stop; /* atomic */
    bool running;
};

struct bare {
    struct ob_frontend frontend;
    int cpu;
    uint64_t shift;
    struct bare_queue queues[QUEUES_MAX];
};

static always_inline void *at(const struct bare_queue *queue, uint64_t addr)
{
    return (void *)(uintptr_t)(addr + queue->shift);
}

/* What a null device does with a request. */
static always_inline void serve(const struct bare_queue *queue, uint64_t header, uint64_t status)
{
    volatile const uint64_t *words = at(queue, header);

    (void)words[0];
    (void)words[1];
    *(volatile uint8_t *)at(queue, status) = VIRTIO_BLK_S_OK;
}

static void split_loop(struct bare_queue *queue)
{
    const struct vring_desc *ring = (void *)(uintptr_t)queue->setup.desc;
    struct vring_avail *avail = (void *)(uintptr_t)queue->setup.driver;
    struct vring_used *used = (void *)(uintptr_t)queue->setup.device;
    uint16_t next = 0, done = 0, mask = (uint16_t)(queue->setup.size - 1);

    store_once(&used->flags, (uint16_t)VRING_USED_F_NO_NOTIFY);
    while (!load_once(&queue->stop)) {
        uint16_t seen = load_acquire(&avail->idx);

        if (seen == next)
            cpu_relax();
        while (next != seen) {
            uint16_t head = avail->ring[next++ & mask];
            const struct vring_desc *desc = &ring[head], *table = ring;
            uint64_t header;

            if (desc->flags & VRING_DESC_F_INDIRECT)
                desc = table = at(queue, desc->addr);
            header = desc->addr;
            while (desc->flags & VRING_DESC_F_NEXT)
                desc = &table[desc->next];
            serve(queue, header, desc->addr);
            used->ring[done & mask] = (struct vring_used_elem){head, 1};
            if (++done % PUBLISH == 0)
                store_release(&used->idx, done);
        }
        store_release(&used->idx, done);
    }
}

static void packed_loop(struct bare_queue *queue)
{
    struct vring_packed_desc *ring = (void *)(uintptr_t)queue->setup.desc;
    struct vring_packed_desc_event *event = (void *)(uintptr_t)queue->setup.device;
    uint32_t next = 0, done = 0, size = queue->setup.size;
    bool wrap = true, done_wrap = true;

    store_once(&event->flags, (uint16_t)VRING_PACKED_EVENT_FLAG_DISABLE);
    while (!load_once(&queue->stop)) {
        struct vring_packed_desc *first = NULL;
        uint16_t first_flags = 0;

        for (unsigned n = 0; n < PUBLISH; n++) {
            uint16_t flags = load_acquire(&ring[next].flags);
            struct vring_packed_desc *out = &ring[done];
            uint64_t header, status;
            unsigned slots = 1;
            uint16_t id, used_flags;

            if (!!(flags & FLAG_AVAIL) != wrap || !!(flags & FLAG_USED) == wrap)
                break;
            id = ring[next].id;
            if (flags & VRING_DESC_F_INDIRECT) {
                const struct vring_packed_desc *table = at(queue, ring[next].addr);

                header = table[0].addr;
                status = table[ring[next].len / sizeof(*table) - 1].addr;
            } else {
                uint32_t last = next;

                header = ring[next].addr;
                while (ring[last].flags & VRING_DESC_F_NEXT) {
                    slots++;
                    last = last + 1 == size ? 0 : last + 1;
                }
                status = ring[last].addr;
            }
            next += slots;
            if (next >= size) {
                next -= size;
                wrap = !wrap;
            }
            serve(queue, header, status);
            used_flags = (uint16_t)(VRING_DESC_F_WRITE | (done_wrap ? FLAG_AVAIL | FLAG_USED : 0));
            out->len = 1;
            out->id = id;
            if (first) {
                store_once(&out->flags, used_flags);
            } else {
                first = out;
                first_flags = used_flags;
            }
            done += slots;
            if (done >= size) {
                done -= size;
                done_wrap = !done_wrap;
            }
        }
        if (first)
            store_release(&first->flags, first_flags);
        else
            cpu_relax();
    }
}

static void *bare_main(void *arg)
{
    struct bare_queue *queue = arg;

    bench_pin(queue->cpu);
    if (queue->setup.features & feature_bit(VIRTIO_F_RING_PACKED))
        packed_loop(queue);
    else
        split_loop(queue);
    return NULL;
}

static struct bare *bare_of(struct ob_frontend *frontend)
{
    return container_of(frontend, struct bare, frontend);
}

static int bare_open(const struct ob_frontend_options *options, struct ob_frontend **ret)
{
    struct bare *bare = calloc(1, sizeof(*bare));

    if (!bare)
        return -ENOMEM;
    bare->frontend.ops = &bench_bare;
    bare->cpu = *options->address ? atoi(options->address) : -1;
    *ret = &bare->frontend;
    return 0;
}

static void bare_close(struct ob_frontend *frontend)
{
    free(bare_of(frontend));
}

static int bare_features(struct ob_frontend *frontend, uint64_t *ret)
{
    *ret = feature_bit(VIRTIO_F_VERSION_1) | feature_bit(VIRTIO_F_RING_PACKED) |
           feature_bit(VIRTIO_RING_F_INDIRECT_DESC);
    return 0;
}

static int bare_set_features(struct ob_frontend *frontend, uint64_t features)
{
    return 0;
}

static int bare_queues(struct ob_frontend *frontend, unsigned *ret)
{
    *ret = QUEUES_MAX;
    return 0;
}

static int bare_set_memory(struct ob_frontend *frontend, const struct ob_region_info *regions,
                           const int *fds, unsigned count)
{
    bare_of(frontend)->shift = regions[0].ring_addr - regions[0].driver_addr;
    return 0;
}

static int bare_config_read(struct ob_frontend *frontend, size_t offset, void *buf, size_t len)
{
    const uint64_t sectors = CAPACITY_SECTORS;

    if (offset || len > sizeof(sectors))
        return -EINVAL;
    memcpy(buf, &sectors, len);
    return 0;
}

static int bare_config_write(struct ob_frontend *frontend, size_t offset, const void *buf,
                             size_t len)
{
    return -EINVAL;
}

static int bare_queue_start(struct ob_frontend *frontend, unsigned index,
                            const struct ob_frontend_queue *start)
{
    struct bare *bare = bare_of(frontend);
    struct bare_queue *queue = &bare->queues[index];

    queue->setup = start->setup;
    queue->shift = bare->shift;
    queue->cpu = bare->cpu;
    queue->stop = false;
    queue->running = !pthread_create(&queue->thread, NULL, bare_main, queue);
    return queue->running ? 0 : -EAGAIN;
}

static int bare_queue_stop(struct ob_frontend *frontend, unsigned index, struct ob_queue_base *ret)
{
    struct bare_queue *queue = &bare_of(frontend)->queues[index];

    if (queue->running) {
        store_once(&queue->stop, true);
        pthread_join(queue->thread, NULL);
        queue->running = false;
    }
    *ret = (struct ob_queue_base){0};
    return 0;
}

static int bare_event_fd(struct ob_frontend *frontend)
{
    return -1;
}

static int bare_event(struct ob_frontend *frontend)
{
    return 0;
}

static int bare_peer(struct ob_frontend *frontend)
{
    return -1;
}

const struct ob_frontend_ops bench_bare = {
    .size = sizeof(struct ob_frontend_ops),
    .name = "bare",
    .help = "CPU: a loop in this process that moves rings and does nothing else: the ceiling",
    .open = bare_open,
    .close = bare_close,
    .features = bare_features,
    .set_features = bare_set_features,
    .queues = bare_queues,
    .set_memory = bare_set_memory,
    .config_read = bare_config_read,
    .config_write = bare_config_write,
    .queue_start = bare_queue_start,
    .queue_stop = bare_queue_stop,
    .event_fd = bare_event_fd,
    .event = bare_event,
    .peer = bare_peer,
};
