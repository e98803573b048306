/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two threads
 *
 * The device half on a worker, the driver half on this thread, through kicks and calls on real
 * eventfds, in each poll mode and ring format. Meant for the thread sanitizer and for weak
 * memory: ring_pair knows every interleaving of calls, this test those inside them. A lost kick
 * or call hangs it.
 */

#include "rig.h"

#include "base/fd.h"
#include "base/util.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define BUFFERS 5000
#define DEPTH 32
#define BYTES 64

struct echo {
    struct rig rig;
    int kick, call;
};

/* Copies what is readable to what is writable. */
static unsigned echo_run(void *ctx, unsigned budget)
{
    struct echo *echo = ctx;
    struct ob_chain *chains[DEPTH];
    unsigned count = ob_queue_pop(&echo->rig.queue, chains, budget < DEPTH ? budget : DEPTH);

    for (unsigned i = 0; i < count; i++) {
        memcpy(chains[i]->iov[1].iov_base, chains[i]->iov[0].iov_base, BYTES);
        ob_queue_complete(&echo->rig.queue, chains[i], BYTES);
    }
    return count;
}

struct on_worker {
    struct ob_work work;
    void (*fn)(struct echo *echo);
    struct echo *echo;
    int done;
};

static void on_worker_run(struct ob_work *work)
{
    struct on_worker *on = container_of(work, struct on_worker, work);

    on->fn(on->echo);
    fd_signal(on->done);
}

static void on_worker(struct echo *echo, void (*fn)(struct echo *echo))
{
    struct on_worker on = {.work.run = on_worker_run, .fn = fn, .echo = echo,
                           .done = eventfd(0, 0)};
    uint64_t value;

    ob_loop_post(echo->rig.loop, &on.work);
    assert_int_equal(read(on.done, &value, sizeof(value)), sizeof(value));
    close(on.done);
}

static void call_driver(void *ctx)
{
    fd_signal(*(int *)ctx);
}

static void echo_start(struct echo *echo)
{
    struct rig_options options = echo->rig.options;

    rig_init(&echo->rig, &options, echo_run, echo);
    queue_set_kick(&echo->rig.queue, echo->kick);
    queue_set_call(&echo->rig.queue, (struct ob_call){.call = call_driver, .ctx = &echo->call});
}

static void echo_stop(struct echo *echo)
{
    rig_done(&echo->rig);
}

static void fill(struct echo *echo, unsigned slot, uint32_t number)
{
    uint32_t *words = (uint32_t *)rig_slot(&echo->rig, slot);

    for (unsigned i = 0; i < BYTES / 4; i++) {
        words[i] = number + i;
        words[BYTES / 4 + i] = 0;
    }
}

static void check(struct echo *echo, const struct ring_used *used)
{
    uint32_t *words = (uint32_t *)rig_slot(&echo->rig, (unsigned)(used->token % (2 * DEPTH)));

    assert_int_equal(used->len, BYTES);
    for (unsigned i = 0; i < BYTES / 4; i++)
        assert_int_equal(words[BYTES / 4 + i], used->token + i);
}

static void wait_for_call(struct echo *echo)
{
    uint64_t value;
    struct pollfd fd = {.fd = echo->call, .events = POLLIN};

    if (!ring_driver_ask_call(echo->rig.driver)) {
        assert_int_equal(poll(&fd, 1, 20000), 1);
        assert_int_equal(read(echo->call, &value, sizeof(value)), sizeof(value));
    }
    ring_driver_no_call(echo->rig.driver);
}

static void drive(struct echo *echo)
{
    uint32_t added = 0, taken = 0;

    while (taken < BUFFERS) {
        struct ring_used used[DEPTH];
        unsigned burst = 1 + added % 7;
        int count;

        while (burst-- && added < BUFFERS && added - taken < DEPTH) {
            unsigned slot = added % (2 * DEPTH);
            struct ring_range ranges[] = {{rig_slot_addr(slot), BYTES},
                                          {rig_slot_addr(slot) + BYTES, BYTES}};

            fill(echo, slot, added);
            if (ring_driver_add(echo->rig.driver, ranges, 1, 1, added))
                break;
            added++;
        }
        if (ring_driver_publish(echo->rig.driver))
            fd_signal(echo->kick);
        count = ring_driver_take(echo->rig.driver, used, DEPTH);
        assert_true(count >= 0);
        for (int i = 0; i < count; i++)
            check(echo, &used[i]);
        taken += (uint32_t)count;
        if (!count && ring_driver_out(echo->rig.driver))
            wait_for_call(echo);
    }
}

static void run(enum ob_poll poll, uint64_t features)
{
    static struct echo echo;
    struct ob_worker_options options = {.name = "device", .cpu = -1, .loop.poll = poll};
    struct ob_worker *worker;

    assert_int_equal(ob_worker_new(&options, &worker), 0);
    echo = (struct echo){.kick = eventfd(0, EFD_NONBLOCK), .call = eventfd(0, EFD_NONBLOCK)};
    echo.rig.options = (struct rig_options){
        .features = features | feature_bit(VIRTIO_F_VERSION_1),
        .size = 64,
        .tables = features & feature_bit(VIRTIO_RING_F_INDIRECT_DESC),
        .loop = ob_worker_loop(worker),
    };
    echo.rig.loop = ob_worker_loop(worker);
    on_worker(&echo, echo_start);
    drive(&echo);
    on_worker(&echo, echo_stop);
    ob_worker_free(worker);
    close(echo.call);
}

static void all_ways(void **state)
{
    static const unsigned bits[] = {VIRTIO_F_RING_PACKED, VIRTIO_RING_F_EVENT_IDX,
                                    VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_F_IN_ORDER};

    (void)state;
    for (enum ob_poll poll = OB_POLL_OFF; poll <= OB_POLL_ALWAYS; poll++)
        for (unsigned set = 0; set < 16; set++) {
            uint64_t features = 0;

            for (unsigned i = 0; i < array_size(bits); i++)
                if (set >> i & 1)
                    features |= feature_bit(bits[i]);
            run(poll, features);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_ways)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
