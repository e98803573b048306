/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Driver half against device half
 *
 * Seeded random programs: the driver adds buffers of random shapes and publishes, the device
 * pops some, completes some of those that it has in random order, both fall asleep and must be
 * woken, the queue is stopped and started again where it stood, its map is replaced under it.
 * A model knows each buffer: what the device has to read in it, what it answered, that it comes
 * back once, in order where that was promised, and that no kick and no call is forgotten.
 *
 * Each run prints nothing; a failure prints its seed. Usage: ring_pair [RUNS [SEED]]
 */

#include "rig.h"

#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RANGES_MAX 20 /* more than a table takes, and more than fit a request */
#define TURNS_MAX 1000000 /* to end all that is out; more: something is lost */
#define POPPED_MAX OB_QUEUE_INFLIGHT_MAX

struct model_buffer {
    bool out;
    uint32_t readable, writable, written;
    uint32_t sequence; /* in which it was added */
    struct ring_range ranges[RANGES_MAX];
    unsigned n_out, n_in;
};

struct model {
    struct rig rig;
    uint64_t random;
    struct model_buffer *buffers; /* by slot, which is also the token */
    unsigned free[RIG_SLOTS], n_free;
    struct ob_chain *popped[POPPED_MAX];
    unsigned n_popped;
    unsigned pop_max;
    bool asleep; /* the device was told that there is nothing */
    bool waiting; /* the driver was told so */
    uint32_t added, taken;
};

static unsigned runs = 400;
static uint64_t first_seed;

static uint32_t random_below(struct model *model, uint32_t bound)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return (uint32_t)((model->random >> 16) % bound);
}

static uint8_t pattern(unsigned slot, uint32_t sequence, size_t at)
{
    return (uint8_t)(slot * 7 + sequence * 13 + at * 3 + 1);
}

/* The bytes of a buffer's ranges, in order, at the driver's side. */
static uint8_t *byte_at(struct model *model, const struct ring_range *range, uint32_t at)
{
    return model->rig.base + (range->addr - RIG_GUEST_BASE) + at;
}

/* The device's part */

static void check_readable(struct model *model, struct ob_chain *chain, unsigned slot)
{
    const struct model_buffer *buffer = &model->buffers[slot];
    uint8_t bytes[RIG_SLOT];
    size_t len = ob_chain_readable(chain);

    assert_int_equal(len, buffer->readable);
    assert_int_equal(ob_chain_writable(chain), buffer->writable);
    assert_false(ob_chain_take_front(chain, bytes, len + 1));
    assert_true(ob_chain_take_front(chain, bytes, len));
    for (size_t i = 0; i < len; i++)
        assert_int_equal(bytes[i], pattern(slot, buffer->sequence, i));
}

static void answer(struct model *model, struct ob_chain *chain, unsigned slot)
{
    struct model_buffer *buffer = &model->buffers[slot];
    uint8_t bytes[RIG_SLOT];

    buffer->written = random_below(model, buffer->writable + 1);
    for (uint32_t i = 0; i < buffer->written; i++)
        bytes[i] = pattern(slot, ~buffer->sequence, i);
    assert_int_equal(ob_chain_write(chain, 0, bytes, buffer->written), buffer->written);
    if (buffer->written > 10) /* over again from the middle: offsets count */
        assert_int_equal(ob_chain_write(chain, 7, bytes + 7, buffer->written - 7),
                         buffer->written - 7);
}

static unsigned device_run(void *ctx, unsigned budget)
{
    struct model *model = ctx;
    struct ob_queue *queue = &model->rig.queue;
    unsigned room = POPPED_MAX - model->n_popped;
    unsigned max = (unsigned)min_u64(min_u64(budget, room), model->pop_max);
    unsigned count = ob_queue_pop(queue, model->popped + model->n_popped, max);
    unsigned complete;

    model->n_popped += count;
    complete = model->n_popped ? random_below(model, model->n_popped + 1) : 0;
    if (queue->state == QUEUE_DRAINING)
        complete = model->n_popped;
    for (unsigned i = 0; i < complete; i++) {
        unsigned at = random_below(model, model->n_popped);
        struct ob_chain *chain = model->popped[at];
        unsigned slot = (unsigned)((chain->guest[0] - rig_slot_addr(0)) / RIG_SLOT);

        model->popped[at] = model->popped[--model->n_popped];
        check_readable(model, chain, slot);
        answer(model, chain, slot);
        ob_queue_complete(queue, chain, model->buffers[slot].written);
    }
    return count + complete;
}

/* The driver's part */

static unsigned fill_ranges(struct model *model, struct model_buffer *buffer, unsigned slot)
{
    unsigned count = random_below(model, 8) ? 1 + random_below(model, 5)
                                            : 1 + random_below(model, RANGES_MAX);
    uint32_t at = 0;

    buffer->n_out = random_below(model, count + 1);
    buffer->n_in = count - buffer->n_out;
    buffer->readable = buffer->writable = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t len = 1 + random_below(model, RIG_SLOT / RANGES_MAX - 2);

        buffer->ranges[i] = (struct ring_range){rig_slot_addr(slot) + at, len};
        at += len + random_below(model, 3);
        *(i < buffer->n_out ? &buffer->readable : &buffer->writable) += len;
    }
    return count;
}

static void fill_bytes(struct model *model, const struct model_buffer *buffer, unsigned slot)
{
    size_t at = 0;

    for (unsigned i = 0; i < buffer->n_out; i++)
        for (uint32_t j = 0; j < buffer->ranges[i].len; j++)
            *byte_at(model, &buffer->ranges[i], j) = pattern(slot, buffer->sequence, at++);
}

static bool driver_add(struct model *model)
{
    unsigned slot = model->free[model->n_free - 1];
    struct model_buffer *buffer = &model->buffers[slot];
    int result;

    fill_ranges(model, buffer, slot);
    buffer->sequence = model->added;
    fill_bytes(model, buffer, slot);
    result = ring_driver_add(model->rig.driver, buffer->ranges, buffer->n_out, buffer->n_in, slot);
    if (result == -E2BIG)
        return true; /* a small ring: try another shape */
    if (result == -ENOSPC)
        return false;
    assert_int_equal(result, 0);
    buffer->out = true;
    model->added++;
    model->n_free--;
    return true;
}

static void driver_publish(struct model *model)
{
    uint32_t before = model->added;
    unsigned count = random_below(model, 12);
    bool kick;

    while (count-- && model->n_free && driver_add(model))
        ;
    kick = ring_driver_publish(model->rig.driver);
    if (model->added != before && model->asleep)
        assert_true(kick);
    if (kick)
        model->asleep = false;
}

static void check_used(struct model *model, const struct ring_used *used)
{
    struct model_buffer *buffer = &model->buffers[used->token];
    size_t at = 0;

    assert_true(buffer->out);
    assert_int_equal(used->len, buffer->written);
    if (model->rig.options.features & feature_bit(VIRTIO_F_IN_ORDER))
        assert_int_equal(buffer->sequence, model->taken);
    for (unsigned i = buffer->n_out; i < buffer->n_out + buffer->n_in; i++)
        for (uint32_t j = 0; j < buffer->ranges[i].len && at < used->len; j++, at++)
            assert_int_equal(*byte_at(model, &buffer->ranges[i], j),
                             pattern((unsigned)used->token, ~buffer->sequence, at));
    buffer->out = false;
    model->taken++;
    model->free[model->n_free++] = (unsigned)used->token;
}

static int driver_take(struct model *model)
{
    static struct ring_used used[32768];
    int count = ring_driver_take(model->rig.driver, used, array_size(used));

    assert_true(count >= 0);
    for (int i = 0; i < count; i++)
        check_used(model, &used[i]);
    return count;
}

static void driver_wait(struct model *model)
{
    if (!ring_driver_ask_call(model->rig.driver))
        model->waiting = true;
}

/* Whoever waits and has something to take must have been called. */
static void check_called(struct model *model, unsigned calls_before)
{
    if (!model->waiting)
        return;
    if (model->rig.calls != calls_before) {
        model->waiting = false;
        ring_driver_no_call(model->rig.driver);
    } else {
        assert_false(ring_driver_ask_call(model->rig.driver));
    }
}

static void turn(struct model *model)
{
    unsigned calls = model->rig.calls;

    model->pop_max = 1 + random_below(model, 40);
    if (rig_turn(&model->rig))
        model->asleep = true;
    else
        model->asleep = false;
    check_called(model, calls);
}

static void restart(struct model *model)
{
    unsigned calls = model->rig.calls;
    struct ob_queue_base base;

    rig_stop(&model->rig, &base);
    assert_int_equal(model->n_popped, 0);
    rig_start(&model->rig, &base);
    model->asleep = false;
    check_called(model, calls);
}

static void step(struct model *model)
{
    unsigned what = random_below(model, 100);

    if (what < 35)
        driver_publish(model);
    else if (what < 70)
        turn(model);
    else if (what < 90)
        driver_take(model);
    else if (what < 97)
        driver_wait(model);
    else if (what < 98)
        rig_new_map(&model->rig);
    else if (what < 99)
        rig_control(&model->rig);
    else
        restart(model);
}

static struct rig_options random_options(struct model *model)
{
    struct rig_options options = {.features = feature_bit(VIRTIO_F_VERSION_1)};
    static const unsigned bits[] = {VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER,
                                    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
    bool packed;

    for (unsigned i = 0; i < array_size(bits); i++)
        if (random_below(model, 2))
            options.features |= feature_bit(bits[i]);
    packed = options.features & feature_bit(VIRTIO_F_RING_PACKED);
    options.size = 1u << random_below(model, random_below(model, 20) ? 9 : 16);
    if (packed && random_below(model, 2))
        options.size = 1 + random_below(model, options.size);
    options.tables = options.features & feature_bit(VIRTIO_RING_F_INDIRECT_DESC) &&
                     options.size <= 8192;
    if (!packed)
        options.start = (uint16_t)(random_below(model, 2) ? 65536 - random_below(model, 100)
                                                          : random_below(model, 65536));
    return options;
}

static void finish(struct model *model)
{
    ring_driver_publish(model->rig.driver);
    for (unsigned turns = 0; ring_driver_out(model->rig.driver); turns++) {
        assert_true(turns < TURNS_MAX);
        turn(model);
        driver_take(model);
    }
    assert_int_equal(model->taken, model->added);
    assert_int_equal(model->rig.broken, 0);
}

static void run_seed(uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    struct rig_options options;

    assert_non_null(model);
    model->random = seed * 0x9e3779b97f4a7c15ull | 1;
    for (unsigned i = 0; i < 4; i++)
        random_below(model, 2);
    model->buffers = calloc(RIG_SLOTS, sizeof(*model->buffers));
    assert_non_null(model->buffers);
    for (unsigned i = 0; i < RIG_SLOTS; i++)
        model->free[model->n_free++] = i;
    options = random_options(model);
    rig_init(&model->rig, &options, device_run, model);
    for (unsigned i = 0; i < 600; i++)
        step(model);
    finish(model);
    rig_done(&model->rig);
    free(model->buffers);
    free(model);
}

static void random_programs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < runs; i++) {
        /* Printed last if it is the one that fails. */
        fprintf(stderr, "\rseed %llu ", (unsigned long long)(first_seed + i));
        run_seed(first_seed + i);
    }
    fprintf(stderr, "\n");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_programs)};

    first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) * 1000;
    if (argc > 1)
        runs = (unsigned)strtoul(argv[1], NULL, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
