/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver that breaks the rules
 *
 * Rings written by hand, one broken rule each. The queue has to break, once, count it, give out
 * no chain that reaches outside the memory, and work again after a stop and a start. What is
 * odd but allowed has to work.
 */

#include "rig.h"

#include "base/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 8
#define DATA (RIG_GUEST_BASE + RIG_RINGS) /* some valid address */
#define END (RIG_GUEST_BASE + RIG_BYTES)

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* What the queue's owner saw. */
struct seen {
    struct rig *rig;
    unsigned popped;
    unsigned n_out, n_in;
    size_t readable, writable;
};

static unsigned device_run(void *ctx, unsigned budget)
{
    struct seen *seen = ctx;
    struct ob_chain *chains[SIZE];
    unsigned count = ob_queue_pop(&seen->rig->queue, chains, SIZE);

    (void)budget;
    for (unsigned i = 0; i < count; i++) {
        seen->n_out = chains[i]->n_out;
        seen->n_in = chains[i]->n_in;
        seen->readable = ob_chain_readable(chains[i]);
        seen->writable = ob_chain_writable(chains[i]);
        ob_queue_complete(&seen->rig->queue, chains[i], 0);
    }
    seen->popped += count;
    return count;
}

static void setup(struct rig *rig, struct seen *seen, uint64_t features)
{
    struct rig_options options = {
        .features = features | feature_bit(VIRTIO_F_VERSION_1),
        .size = SIZE,
    };

    *seen = (struct seen){.rig = rig};
    rig_init(rig, &options, device_run, seen);
}

struct split_view {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
};

static struct split_view split_view(struct rig *rig)
{
    struct rig_areas areas = rig_areas(&rig->options);

    return (struct split_view){(void *)(rig->base + areas.desc), (void *)(rig->base + areas.driver),
                               (void *)(rig->base + areas.device)};
}

/* Runs one split chain that begins at descriptor 0. True if the queue took it. */
static bool try_split(const struct vring_desc *desc, unsigned count, const struct vring_desc *table,
                      unsigned table_count, struct seen *ret)
{
    struct rig rig;
    struct split_view view;
    bool broke;

    setup(&rig, ret, feature_bit(VIRTIO_RING_F_INDIRECT_DESC));
    view = split_view(&rig);
    memcpy(view.desc, desc, count * sizeof(*desc));
    if (table)
        memcpy(rig.base + RIG_RINGS, table, table_count * sizeof(*table));
    view.avail->idx = 1;
    rig_turn(&rig);
    rig_turn(&rig);
    broke = rig.broken;
    assert_int_equal(rig.queue.counters.broken, broke);
    assert_int_equal(rig.broken, broke);
    assert_int_equal(ret->popped, !broke);
    if (broke) {
        struct ob_queue_base base;

        /* Stops where the bad chain is, and a better one in its place is taken. */
        rig_stop(&rig, &base);
        assert_int_equal(base.avail_idx, 0);
        view.desc[0] = (struct vring_desc){.addr = DATA, .len = 16};
        rig_start(&rig, &base);
        rig_turn(&rig);
        assert_int_equal(ret->popped, 1);
        assert_int_equal(view.used->idx, 1);
    }
    rig_done(&rig);
    return !broke;
}

#define split_breaks(...)                                                                        \
    do {                                                                                         \
        const struct vring_desc d[] = {__VA_ARGS__};                                             \
        struct seen nothing;                                                                     \
        assert_false(try_split(d, array_size(d), NULL, 0, &nothing));                            \
    } while (0)

static void split_descriptors(void **state)
{
    (void)state;
    split_breaks({DATA, 0, 0, 0});                                      /* no length */
    split_breaks({0x1000, 16, 0, 0});                                   /* before the memory */
    split_breaks({END, 1, 0, 0});                                       /* behind it */
    split_breaks({END - 8, 16, 0, 0});                                  /* reaches out of it */
    split_breaks({DATA, 0xffffffff, 0, 0});                             /* far out */
    split_breaks({~7ull, 16, 0, 0});                                    /* wraps around */
    split_breaks({DATA, 16, NEXT, 0});                                  /* its own next */
    split_breaks({DATA, 16, NEXT, 1}, {DATA, 16, NEXT, 0});             /* a loop */
    split_breaks({DATA, 16, NEXT, SIZE});                               /* next out of range */
    split_breaks({DATA, 16, NEXT, 0xffff});
    split_breaks({DATA, 16, WRITE | NEXT, 1}, {DATA, 16, 0, 0});        /* read after write */
}

static void split_indirect(void **state)
{
    static const struct vring_desc good[] = {{DATA, 16, NEXT, 1}, {DATA, 512, WRITE, 0}};
    static const struct vring_desc nested[] = {{DATA, 32, INDIRECT, 0}};
    static const struct vring_desc beyond[] = {{DATA, 16, NEXT, 2}, {DATA, 16, 0, 0}};
    static const struct vring_desc loop[] = {{DATA, 16, NEXT, 1}, {DATA, 16, NEXT, 0}};
    struct seen seen;

    (void)state;
    split_breaks({DATA, 0, INDIRECT, 0});
    split_breaks({DATA, 24, INDIRECT, 0});
    split_breaks({DATA, 16 * (OB_CHAIN_RANGES_MAX + 1), INDIRECT, 0});
    split_breaks({END - 16, 32, INDIRECT, 0});
    split_breaks({~15ull, 32, INDIRECT, 0});
    split_breaks({DATA, 32, INDIRECT | NEXT, 1}, {DATA, 16, 0, 0});
    assert_false(try_split(&(struct vring_desc){DATA, 16, INDIRECT, 0}, 1, nested, 1, &seen));
    assert_false(try_split(&(struct vring_desc){DATA, 32, INDIRECT, 0}, 1, beyond, 2, &seen));
    assert_false(try_split(&(struct vring_desc){DATA, 32, INDIRECT, 0}, 1, loop, 2, &seen));

    assert_true(try_split(&(struct vring_desc){DATA, 32, INDIRECT, 0}, 1, good, 2, &seen));
    assert_int_equal(seen.readable, 16);
    assert_int_equal(seen.writable, 512);
}

/* A direct chain may end in an indirect table (2.7.7.2). */
static void split_direct_then_indirect(void **state)
{
    static const struct vring_desc ring[] = {{DATA, 8, NEXT, 3}, {0}, {0}, {DATA, 32, INDIRECT, 0}};
    static const struct vring_desc table[] = {{DATA, 16, NEXT, 1}, {DATA, 512, WRITE, 0}};
    struct seen seen;

    (void)state;
    assert_true(try_split(ring, 4, table, 2, &seen));
    assert_int_equal(seen.n_out, 2);
    assert_int_equal(seen.readable, 24);
    assert_int_equal(seen.writable, 512);
}

/* A range across regions becomes several; more than fit the request move to its table. */
static void split_across_regions(void **state)
{
    static const struct vring_desc ring[] = {
        {DATA + RIG_REGION - 8, 16, NEXT, 1}, {DATA, 9 * RIG_REGION, WRITE, 0}};
    struct seen seen;

    (void)state;
    assert_true(try_split(ring, 2, NULL, 0, &seen));
    assert_int_equal(seen.n_out, 2);
    assert_int_equal(seen.n_in, 9);
    assert_int_equal(seen.readable, 16);
    assert_int_equal(seen.writable, 9 * RIG_REGION);
}

static void split_indices(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct rig rig;
        struct seen seen;
        struct split_view view;

        setup(&rig, &seen, 0);
        view = split_view(&rig);
        view.desc[0] = (struct vring_desc){.addr = DATA, .len = 16};
        if (i) {
            view.avail->idx = SIZE + 1; /* further ahead than the ring is large */
        } else {
            view.avail->idx = 1;
            view.avail->ring[0] = SIZE;
        }
        rig_turn(&rig);
        rig_turn(&rig);
        assert_int_equal(rig.broken, 1);
        assert_int_equal(seen.popped, 0);
        rig_done(&rig);
    }
}

/* The same head again and again while it is out: harmless, but each is a chain of its own. */
static void split_reused_head(void **state)
{
    struct rig rig;
    struct seen seen;
    struct split_view view;

    (void)state;
    setup(&rig, &seen, 0);
    view = split_view(&rig);
    view.desc[0] = (struct vring_desc){.addr = DATA, .len = 16};
    view.avail->idx = SIZE;
    rig_turn(&rig);
    assert_int_equal(seen.popped, SIZE);
    assert_int_equal(view.used->idx, SIZE);
    assert_int_equal(rig.broken, 0);
    rig_done(&rig);
}

/* More than 2^32 bytes, by ranges that overlap. */
static void split_huge(void **state)
{
    struct vring_desc table[512];
    struct seen seen;

    (void)state;
    for (unsigned i = 0; i < array_size(table); i++)
        table[i] = (struct vring_desc){RIG_GUEST_BASE + RIG_RINGS, RIG_BYTES - RIG_RINGS,
                                       WRITE | NEXT, (uint16_t)(i + 1)};
    table[array_size(table) - 1].flags = WRITE;
    assert_false(try_split(&(struct vring_desc){DATA, sizeof(table), INDIRECT, 0}, 1, table,
                           array_size(table), &seen));
}

#define AVAIL (1 << VRING_PACKED_DESC_F_AVAIL)

static bool try_packed(const struct vring_packed_desc *desc, unsigned count,
                       const struct vring_packed_desc *table, unsigned table_count,
                       struct seen *ret)
{
    struct rig rig;
    struct ob_queue_base base;
    bool broke;

    setup(&rig, ret, feature_bit(VIRTIO_F_RING_PACKED) | feature_bit(VIRTIO_RING_F_INDIRECT_DESC));
    memcpy(rig.base, desc, count * sizeof(*desc));
    if (table)
        memcpy(rig.base + RIG_RINGS, table, table_count * sizeof(*table));
    rig_turn(&rig);
    rig_turn(&rig);
    broke = rig.broken;
    assert_int_equal(rig.broken, broke);
    assert_int_equal(ret->popped, !broke);
    rig_stop(&rig, &base);
    if (broke)
        assert_int_equal(base.avail_idx, 0);
    rig_done(&rig);
    return !broke;
}

#define packed_breaks(...)                                                                       \
    do {                                                                                         \
        const struct vring_packed_desc d[] = {__VA_ARGS__};                                      \
        struct seen nothing;                                                                     \
        assert_false(try_packed(d, array_size(d), NULL, 0, &nothing));                           \
    } while (0)

static void packed_descriptors(void **state)
{
    struct vring_packed_desc all[SIZE];
    static const struct vring_packed_desc nested[] = {{DATA, 16, 0, INDIRECT}};
    static const struct vring_packed_desc good[] = {{DATA, 16, 0, NEXT}, {DATA, 512, 0, WRITE}};
    struct seen seen;

    (void)state;
    packed_breaks({DATA, 0, 0, AVAIL});
    packed_breaks({END, 1, 0, AVAIL});
    packed_breaks({~7ull, 16, 0, AVAIL});
    packed_breaks({DATA, 16, 0, AVAIL | WRITE | NEXT}, {DATA, 16, 0, AVAIL});
    packed_breaks({DATA, 24, 0, AVAIL | INDIRECT});
    packed_breaks({DATA, 32, 0, AVAIL | INDIRECT | NEXT}, {DATA, 16, 0, AVAIL});
    packed_breaks({DATA, 16, 0, AVAIL | NEXT}, {DATA, 32, 0, AVAIL | INDIRECT});
    for (unsigned i = 0; i < SIZE; i++) /* a chain without an end */
        all[i] = (struct vring_packed_desc){DATA, 16, 0, AVAIL | NEXT};
    assert_false(try_packed(all, SIZE, NULL, 0, &seen));
    assert_false(try_packed(&(struct vring_packed_desc){DATA, 16, 0, AVAIL | INDIRECT}, 1, nested,
                            1, &seen));
    /* NEXT means nothing in a table (2.8.7). */
    assert_true(try_packed(&(struct vring_packed_desc){DATA, 32, 0, AVAIL | INDIRECT}, 1, good, 2,
                           &seen));
    assert_int_equal(seen.writable, 512);
}

static void bad_setups(void **state)
{
    struct ob_queue_setup good = {.size = SIZE};
    struct ob_queue_setup bad;
    uint64_t packed = feature_bit(VIRTIO_F_RING_PACKED);

    (void)state;
#define refused(...)                                                                             \
    do {                                                                                         \
        bad = good;                                                                              \
        __VA_ARGS__;                                                                             \
        assert_int_not_equal(queue_check_setup(&bad, 1024, NULL, 0), 0);                         \
    } while (0)
    assert_int_equal(queue_check_setup(&good, 1024, NULL, 0), 0);
    refused(bad.size = 0);
    refused(bad.size = 3);
    refused(bad.size = 2048);
    refused(bad.desc = 8);
    refused(bad.driver = 1);
    refused(bad.device = 2);
    good.features = packed;
    assert_int_equal(queue_check_setup(&good, 1024, NULL, 0), 0);
    refused(bad.driver = 2);
    refused(bad.base.avail_idx = SIZE);
    refused(bad.base.used_idx = SIZE);
    bad.size = 3;
    bad.base.used_idx = 0;
    assert_int_equal(queue_check_setup(&bad, 1024, NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_descriptors),
        cmocka_unit_test(split_indirect),
        cmocka_unit_test(split_direct_then_indirect),
        cmocka_unit_test(split_across_regions),
        cmocka_unit_test(split_indices),
        cmocka_unit_test(split_reused_head),
        cmocka_unit_test(split_huge),
        cmocka_unit_test(packed_descriptors),
        cmocka_unit_test(bad_setups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
