/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rig
 *
 * The queue's memory is a memfd, mapped by the library region by region from the file, while the
 * driver half has one mapping of the whole: neither could work by accident with the pointers of
 * the other. Loops are created but, unless a test has threads, not run: the test calls the
 * queue's poller itself, and so decides every interleaving.
 */

#include "rig.h"

#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int rig_open(void *dev, struct ob_queue *queue, void **ret)
{
    (void)queue;
    *ret = dev;
    return 0;
}

static unsigned rig_run(void *ctx, unsigned budget)
{
    struct rig *rig = ctx;

    return rig->run(rig->ctx, budget);
}

static void rig_close(void *ctx)
{
    (void)ctx;
}

static void rig_call(void *ctx)
{
    unsigned *calls = ctx;

    __atomic_add_fetch(calls, 1, __ATOMIC_RELAXED);
}

static void rig_drained(struct ob_queue *queue)
{
    container_of(queue, struct rig, queue)->drained++;
}

static void rig_broken(struct ob_queue *queue)
{
    container_of(queue, struct rig, queue)->broken++;
}

static void rig_released(void *ctx)
{
    ((struct rig *)ctx)->released++;
}

struct rig_areas rig_areas(const struct rig_options *options)
{
    struct ring_driver_bytes bytes = ring_driver_bytes(options->features, options->size);
    struct rig_areas areas = {.desc = 0};

    areas.driver = (bytes.desc + 63) & ~63ull;
    areas.device = (areas.driver + bytes.driver + 63) & ~63ull;
    return areas;
}

static void make_memory(struct rig *rig)
{
    struct ob_region_info info = {
        .driver_addr = RIG_GUEST_BASE,
        .ring_addr = RIG_USER_BASE,
        .size = RIG_RINGS,
        .access = OB_ACCESS_BOTH,
    };

    rig->fd = memfd_create("rig", MFD_CLOEXEC);
    assert_true(rig->fd >= 0);
    assert_int_equal(ftruncate(rig->fd, RIG_BYTES), 0);
    rig->base = mmap(NULL, RIG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0);
    assert_true(rig->base != MAP_FAILED);
    assert_int_equal(ob_memory_new(rig->control, NULL, &rig->memory), 0);
    assert_int_equal(ob_memory_add(rig->memory, &info, rig->fd), 0);
    info.size = RIG_REGION;
    for (uint64_t offset = RIG_RINGS; offset < RIG_BYTES; offset += RIG_REGION) {
        info.driver_addr = RIG_GUEST_BASE + offset;
        info.ring_addr = RIG_USER_BASE + offset;
        info.file_offset = offset;
        assert_int_equal(ob_memory_add(rig->memory, &info, rig->fd), 0);
    }
}

/* Tables come after the slots, and so that the second lies across two regions. */
#define TABLE_BYTES (RIG_TABLE_ENTRIES * sizeof(struct vring_desc))
#define TABLES_OFFSET (RIG_RINGS + (10u << 20) - TABLE_BYTES - TABLE_BYTES / 2 + 8)

static void make_driver(struct rig *rig)
{
    struct rig_areas areas = rig_areas(&rig->options);
    struct ring_driver_setup setup = {
        .features = rig->options.features,
        .size = rig->options.size,
        .desc = rig->base + areas.desc,
        .driver = rig->base + areas.driver,
        .device = rig->base + areas.device,
        .start = rig->options.start,
    };

    if (rig->options.tables) {
        setup.tables = (struct vring_desc *)(rig->base + TABLES_OFFSET);
        setup.tables_addr = RIG_GUEST_BASE + TABLES_OFFSET;
        setup.table_entries = RIG_TABLE_ENTRIES;
        assert_true(TABLES_OFFSET + TABLE_BYTES * setup.size <= RIG_BYTES);
    }
    assert_int_equal(ring_driver_new(&setup, &rig->driver), 0);
}

void rig_init(struct rig *rig, const struct rig_options *options,
              unsigned (*run)(void *ctx, unsigned budget), void *ctx)
{
    struct ob_loop_options loop_options = {.poll = OB_POLL_OFF};

    *rig = (struct rig){.options = *options, .run = run, .ctx = ctx};
    rig->type = (struct ob_device_ops){
        .size = sizeof(rig->type),
        .name = "rig",
        .request_size = options->request_size ? options->request_size : sizeof(struct ob_chain),
        .queue_open = rig_open,
        .run = rig_run,
        .queue_close = rig_close,
    };
    assert_int_equal(ob_loop_new(&loop_options, &rig->control), 0);
    rig->loop = options->loop;
    if (!rig->loop)
        assert_int_equal(ob_loop_new(&loop_options, &rig->loop), 0);
    make_memory(rig);
    make_driver(rig);
    rig->queue.type = &rig->type;
    rig->queue.dev = rig;
    rig->queue.loop = rig->loop;
    rig->queue.drained = rig_drained;
    rig->queue.told_broken = rig_broken;
    queue_init(&rig->queue);
    rig_new_map(rig);
    rig_start(rig, &(struct ob_queue_base){options->start, 0, true, true});
}

void rig_start(struct rig *rig, const struct ob_queue_base *base)
{
    struct rig_areas areas = rig_areas(&rig->options);
    struct ob_queue_setup setup = {
        .size = rig->options.size,
        .features = rig->options.features,
        .space = OB_SPACE_RING,
        .desc = RIG_USER_BASE + areas.desc,
        .driver = RIG_USER_BASE + areas.driver,
        .device = RIG_USER_BASE + areas.device,
        .base = *base,
    };
    struct pool pool;
    unsigned capacity = setup.size < OB_QUEUE_INFLIGHT_MAX ? setup.size : OB_QUEUE_INFLIGHT_MAX;

    assert_int_equal(queue_check_setup(&setup, OB_QUEUE_SIZE_MAX, NULL, 0), 0);
    assert_int_equal(pool_init(&pool, rig->type.request_size, capacity), 0);
    queue_set_call(&rig->queue, (struct ob_call){.call = rig_call, .ctx = &rig->calls});
    assert_int_equal(queue_start(&rig->queue, &setup, &pool), 0);
    queue_enable(&rig->queue, true);
}

void rig_stop(struct rig *rig, struct ob_queue_base *ret)
{
    unsigned before = rig->drained;

    queue_stop(&rig->queue);
    while (rig->drained == before)
        rig_turn(rig);
    rig->queue.format->save(&rig->queue, ret);
}

void rig_new_map(struct rig *rig)
{
    struct ob_queue_map *map = calloc(1, sizeof(*map));

    assert_non_null(map);
    assert_int_equal(ob_memory_publish(rig->memory, rig_released, rig), 0);
    map->map = ob_map_ref(ob_memory_map(rig->memory));
    map->refs = 1;
    queue_set_map(&rig->queue, map);
}

struct last_work {
    struct ob_work work;
    struct ob_loop *loop;
};

static void last_run(struct ob_work *work)
{
    ob_loop_stop(container_of(work, struct last_work, work)->loop);
}

void rig_control(struct rig *rig)
{
    struct last_work last = {.work.run = last_run, .loop = rig->control};

    ob_loop_post(rig->control, &last.work);
    assert_int_equal(ob_loop_run(rig->control), 0);
}

bool rig_turn(struct rig *rig)
{
    struct ob_poller *poller = &rig->queue.poller;

    if (!poller->loop)
        return true; /* stopped */
    if (poller->run(poller, 64))
        return false;
    return poller->loop && poller->sleep(poller);
}

uint8_t *rig_slot(struct rig *rig, unsigned slot)
{
    return rig->base + RIG_RINGS + RIG_SLOT_SKEW + (size_t)slot * RIG_SLOT;
}

uint64_t rig_slot_addr(unsigned slot)
{
    return RIG_GUEST_BASE + RIG_RINGS + RIG_SLOT_SKEW + (uint64_t)slot * RIG_SLOT;
}

void rig_done(struct rig *rig)
{
    if (rig->queue.state != QUEUE_STOPPED) {
        unsigned before = rig->drained;

        queue_abandon(&rig->queue);
        while (rig->drained == before)
            rig_turn(rig);
    }
    queue_abandon(&rig->queue);
    ring_driver_free(rig->driver);
    ob_memory_free(rig->memory);
    if (!rig->options.loop)
        ob_loop_free(rig->loop);
    rig_control(rig);
    ob_loop_free(rig->control);
    munmap(rig->base, RIG_BYTES);
    close(rig->fd);
}
