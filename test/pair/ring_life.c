/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue's life
 *
 * What holds besides the rings' contents: chains outlive the driver that gave them and then
 * write nothing, maps live as long as chains, an unknown address stops a pop without consuming
 * it, a ring that loses its memory breaks, a queue with all requests out sleeps, and memory
 * under a truncated file breaks the queue instead of the process.
 */

#include "rig.h"

#include "base/util.h"
#include "loop/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define KEEP_MAX 2048

/* A device that keeps what it pops until it is told. */
struct keeper {
    struct rig rig;
    struct ob_chain *kept[KEEP_MAX];
    unsigned n_kept;
};

static unsigned keeper_run(void *ctx, unsigned budget)
{
    struct keeper *keeper = ctx;
    unsigned count = ob_queue_pop(&keeper->rig.queue, keeper->kept + keeper->n_kept, budget);

    keeper->n_kept += count;
    return count;
}

static void keeper_complete(struct keeper *keeper)
{
    while (keeper->n_kept)
        ob_queue_complete(&keeper->rig.queue, keeper->kept[--keeper->n_kept], 1);
    ob_queue_wake(&keeper->rig.queue);
}

static void keeper_init(struct keeper *keeper, uint64_t features, uint32_t size)
{
    struct rig_options options = {.features = features | feature_bit(VIRTIO_F_VERSION_1),
                                  .size = size};

    keeper->n_kept = 0;
    rig_init(&keeper->rig, &options, keeper_run, keeper);
}

static void add(struct keeper *keeper, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct ring_range range = {rig_slot_addr(i % RIG_SLOTS), 16};

        assert_int_equal(ring_driver_add(keeper->rig.driver, &range, 0, 1, i), 0);
    }
    ring_driver_publish(keeper->rig.driver);
}

static void turns(struct keeper *keeper)
{
    for (unsigned i = 0; i < 100 && !rig_turn(&keeper->rig); i++)
        ;
}

static const uint64_t formats[] = {
    0,
    feature_bit(VIRTIO_F_RING_PACKED),
    feature_bit(VIRTIO_F_IN_ORDER),
    feature_bit(VIRTIO_F_RING_PACKED) | feature_bit(VIRTIO_F_IN_ORDER),
};

/* After an abandon, late completions change no byte of the driver's memory. */
static void abandoned_chains_write_nothing(void **state)
{
    (void)state;
    for (unsigned f = 0; f < array_size(formats); f++) {
        static struct keeper keeper;
        static uint8_t before[RIG_RINGS];

        keeper_init(&keeper, formats[f], 64);
        add(&keeper, 40);
        turns(&keeper);
        assert_int_equal(keeper.n_kept, 40);
        /* Some completed but not published, and the last of them first. */
        for (unsigned i = 0; i < 5; i++)
            ob_queue_complete(&keeper.rig.queue, keeper.kept[--keeper.n_kept], 1);
        queue_abandon(&keeper.rig.queue);
        memcpy(before, keeper.rig.base, RIG_RINGS);
        turns(&keeper);
        assert_int_equal(keeper.rig.drained, 0); /* the rest is still out */
        assert_false(ob_queue_chain_live(&keeper.rig.queue, keeper.kept[0]));
        keeper_complete(&keeper);
        turns(&keeper);
        assert_int_equal(keeper.rig.drained, 1);
        assert_memory_equal(before, keeper.rig.base, RIG_RINGS);
        assert_null(keeper.rig.queue.map); /* nor is its memory held */
        rig_done(&keeper.rig);
    }
}

static void maps_live_as_long_as_chains(void **state)
{
    static struct keeper keeper;
    unsigned released;

    (void)state;
    keeper_init(&keeper, 0, 64);
    add(&keeper, 10);
    turns(&keeper);
    rig_control(&keeper.rig);
    released = keeper.rig.released;
    rig_new_map(&keeper.rig);
    rig_control(&keeper.rig);
    assert_int_equal(keeper.rig.released, released); /* ten chains hold the old one */
    *(uint8_t *)keeper.kept[3]->iov[0].iov_base = 77; /* which is still mapped */
    assert_int_equal(*rig_slot(&keeper.rig, 3), 77);
    keeper_complete(&keeper);
    turns(&keeper);
    rig_control(&keeper.rig);
    assert_int_equal(keeper.rig.released, released + 1);
    rig_done(&keeper.rig);
}

static int misses(void *ctx, uint64_t addr, uint64_t len, enum ob_access access)
{
    (void)addr;
    (void)len;
    (void)access;
    ++*(unsigned *)ctx;
    return -EAGAIN;
}

static void unknown_addresses_wait(void **state)
{
    (void)state;
    for (unsigned f = 0; f < array_size(formats); f++) {
        static struct keeper keeper;
        struct ob_region_info far = {
            .driver_addr = 0x900000000, .ring_addr = 0x900000000, .size = 4096,
            .access = OB_ACCESS_BOTH,
        };
        struct ring_range ranges[] = {{rig_slot_addr(0), 16}, {far.driver_addr, 16}};
        unsigned asked = 0;

        keeper_init(&keeper, formats[f], 64);
        ob_memory_map(keeper.rig.memory)->miss = misses;
        ob_memory_map(keeper.rig.memory)->miss_ctx = &asked;
        add(&keeper, 1);
        assert_int_equal(ring_driver_add(keeper.rig.driver, ranges, 1, 1, 1), 0);
        ring_driver_publish(keeper.rig.driver);
        turns(&keeper);
        assert_int_equal(keeper.n_kept, 1);
        assert_true(asked >= 1);
        assert_int_equal(keeper.rig.broken, 0);
        assert_true(rig_turn(&keeper.rig)); /* and it sleeps meanwhile */

        assert_int_equal(ob_memory_add(keeper.rig.memory, &far, keeper.rig.fd), 0);
        rig_new_map(&keeper.rig); /* the answer, which wakes it */
        assert_true(keeper.rig.queue.poller.active || !keeper.rig.queue.blocked);
        turns(&keeper);
        assert_int_equal(keeper.n_kept, 2);
        assert_int_equal(keeper.kept[1]->guest[1], far.driver_addr);
        keeper_complete(&keeper);
        rig_done(&keeper.rig);
    }
}

static void lost_ring_breaks(void **state)
{
    static struct keeper keeper;
    struct ob_queue_base base;

    (void)state;
    keeper_init(&keeper, 0, 64);
    add(&keeper, 10);
    turns(&keeper);
    ob_memory_clear(keeper.rig.memory);
    rig_new_map(&keeper.rig);
    assert_int_equal(keeper.rig.broken, 1);
    keeper_complete(&keeper); /* to a ring that is gone */
    turns(&keeper);
    rig_stop(&keeper.rig, &base);
    assert_int_equal(base.avail_idx, 10);
    rig_done(&keeper.rig);
}

static void all_requests_out(void **state)
{
    static struct keeper keeper;

    (void)state;
    keeper_init(&keeper, 0, 2048);
    add(&keeper, 2048);
    turns(&keeper);
    assert_int_equal(keeper.n_kept, OB_QUEUE_INFLIGHT_MAX);
    assert_true(rig_turn(&keeper.rig)); /* more is there, but it sleeps */
    keeper_complete(&keeper);
    turns(&keeper);
    assert_int_equal(keeper.n_kept, 2048 - OB_QUEUE_INFLIGHT_MAX);
    keeper_complete(&keeper);
    rig_done(&keeper.rig);
}

static void paused_queue(void **state)
{
    static struct keeper keeper;

    (void)state;
    keeper_init(&keeper, 0, 64);
    add(&keeper, 4);
    turns(&keeper);
    queue_enable(&keeper.rig.queue, false);
    add(&keeper, 4);
    turns(&keeper);
    assert_int_equal(keeper.n_kept, 4);
    keeper_complete(&keeper); /* those it has still end */
    turns(&keeper);
    assert_int_equal(keeper.rig.queue.split.used->idx, 4);
    queue_enable(&keeper.rig.queue, true);
    turns(&keeper);
    assert_int_equal(keeper.n_kept, 4);
    keeper_complete(&keeper);
    rig_done(&keeper.rig);
}

static void count_call(void *ctx)
{
    ++*(unsigned *)ctx;
}

/* With event indices a driver asks once: a call that went to the sink before, or a kick by the
 * descriptor before, is the only one, so the new one has to make up for it. */
static void replaced_kick_and_call(void **state)
{
    static struct keeper keeper;
    unsigned calls = 0;

    (void)state;
    keeper_init(&keeper, feature_bit(VIRTIO_RING_F_EVENT_IDX), 64);
    queue_set_call(&keeper.rig.queue, (struct ob_call){0});
    ring_driver_ask_call(keeper.rig.driver);
    add(&keeper, 2);
    turns(&keeper);
    keeper_complete(&keeper); /* nobody hears the call */
    queue_set_call(&keeper.rig.queue, (struct ob_call){.call = count_call, .ctx = &calls});
    assert_int_equal(calls, 1);

    turns(&keeper);
    loop_pollers_run(&keeper.rig.loop->pollers); /* finds nothing, and has it sleep */
    assert_false(keeper.rig.queue.poller.active);
    add(&keeper, 1); /* its kick is still in the descriptor that is now replaced */
    queue_set_kick(&keeper.rig.queue, eventfd(0, EFD_NONBLOCK));
    assert_true(keeper.rig.queue.poller.active);
    turns(&keeper);
    assert_int_equal(keeper.n_kept, 1);
    keeper_complete(&keeper);
    rig_done(&keeper.rig);
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (!ob_memory_fault(info->si_addr))
        _exit(signal);
}

static void truncated_under_us(void **state)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO}, before;
    static struct keeper keeper;

    (void)state;
    sigaction(SIGBUS, &action, &before);
    keeper_init(&keeper, 0, 64);
    add(&keeper, 4);
    turns(&keeper);
    assert_int_equal(ftruncate(keeper.rig.fd, 0), 0);
    keeper_complete(&keeper); /* writes the used ring: SIGBUS */
    turns(&keeper);
    assert_int_equal(keeper.rig.broken, 1);
    assert_true(ob_memory_faulted(keeper.rig.memory));
    assert_int_equal(ftruncate(keeper.rig.fd, RIG_BYTES), 0);
    rig_done(&keeper.rig);
    sigaction(SIGBUS, &before, NULL);
}

static void taking_ends_of_chains(void **state)
{
    char abc[] = "abc", defgh[] = "defgh";
    struct iovec iov[] = {{abc, 3}, {defgh, 5}, {(char[4]){0}, 4}, {(char[1]){0}, 1}};
    uint64_t guest[] = {100, 200, 300, 400};
    struct ob_chain chain = {.iov = iov, .guest = guest, .n_out = 2, .n_in = 2};
    uint8_t buf[8], *ends[2];

    (void)state;
    assert_false(ob_chain_take_front(&chain, buf, 9));
    assert_true(ob_chain_take_front(&chain, buf, 4));
    assert_memory_equal(buf, "abcd", 4);
    assert_int_equal(chain.n_out, 1);
    assert_int_equal(chain.guest[0], 201);
    assert_int_equal(ob_chain_readable(&chain), 4);
    assert_true(ob_chain_take_back(&chain, ends, 2));
    assert_ptr_equal(ends[1], iov[3].iov_base);
    assert_ptr_equal(ends[0], (uint8_t *)iov[2].iov_base + 3);
    assert_int_equal(chain.n_in, 1);
    assert_int_equal(ob_chain_writable(&chain), 3);
    assert_int_equal(ob_chain_write(&chain, 1, "xyz", 3), 2);
    assert_memory_equal(iov[2].iov_base, "\0xy", 3);
    assert_false(ob_chain_take_back(&chain, ends, 4));
    assert_true(ob_chain_take_front(&chain, buf, 4));
    assert_int_equal(chain.n_out, 0);
    assert_true(ob_chain_take_front(&chain, buf, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(abandoned_chains_write_nothing),
        cmocka_unit_test(maps_live_as_long_as_chains),
        cmocka_unit_test(unknown_addresses_wait),
        cmocka_unit_test(lost_ring_breaks),
        cmocka_unit_test(all_requests_out),
        cmocka_unit_test(paused_queue),
        cmocka_unit_test(replaced_kick_and_call),
        cmocka_unit_test(truncated_under_us),
        cmocka_unit_test(taking_ends_of_chains),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
