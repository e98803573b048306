/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loop: posted work keeps its order, watches may remove each other, pollers sleep and wake, an
 * idle worker is not scheduled. Run under the thread sanitizer too.
 */

#include "loop/loop.h"

#include "base/fd.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct ob_worker *worker_with(enum ob_poll poll)
{
    struct ob_worker_options options = {.name = "test", .cpu = -1, .loop.poll = poll};
    struct ob_worker *worker;

    assert_int_equal(ob_worker_new(&options, &worker), 0);
    return worker;
}

/* Runs something on a loop's thread and waits for it. */
struct call {
    struct ob_work work;
    void (*fn)(void *arg);
    void *arg;
    int done; /* an eventfd: what only looks idle must sleep */
};

static void call_run(struct ob_work *work)
{
    struct call *call = container_of(work, struct call, work);

    call->fn(call->arg);
    fd_signal(call->done);
}

static void call_on(struct ob_worker *worker, void (*fn)(void *), void *arg)
{
    struct call call = {.work.run = call_run, .fn = fn, .arg = arg, .done = eventfd(0, 0)};
    uint64_t value;

    ob_loop_post(ob_worker_loop(worker), &call.work);
    assert_int_equal(read(call.done, &value, sizeof(value)), sizeof(value));
    close(call.done);
}

static void nothing(void *arg)
{
    (void)arg;
}

#define POSTS 20000
#define POSTERS 3

struct numbered {
    struct ob_work work;
    unsigned number;
    unsigned *last; /* of its poster */
    bool *in_order;
};

struct poster {
    struct ob_loop *loop;
    unsigned last;
    bool in_order;
    struct numbered works[POSTS];
};

static void numbered_run(struct ob_work *work)
{
    struct numbered *numbered = container_of(work, struct numbered, work);

    if (numbered->number != *numbered->last + 1)
        *numbered->in_order = false;
    *numbered->last = numbered->number;
}

static void *poster_main(void *arg)
{
    struct poster *poster = arg;

    for (unsigned i = 0; i < POSTS; i++) {
        poster->works[i] = (struct numbered){{.run = numbered_run}, i + 1, &poster->last,
                                             &poster->in_order};
        ob_loop_post(poster->loop, &poster->works[i].work);
    }
    return NULL;
}

static void posts_keep_their_order(void **state)
{
    static struct poster posters[POSTERS];
    struct ob_worker *worker = worker_with(OB_POLL_OFF);
    pthread_t threads[POSTERS];

    (void)state;
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i].loop = ob_worker_loop(worker);
        posters[i].in_order = true;
        pthread_create(&threads[i], NULL, poster_main, &posters[i]);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    call_on(worker, nothing, NULL);
    ob_worker_free(worker);
    for (unsigned i = 0; i < POSTERS; i++) {
        assert_true(posters[i].in_order);
        assert_int_equal(posters[i].last, POSTS);
    }
}

struct pair {
    struct ob_watch watch[2];
    unsigned ready;
};

static struct pair *the_pair;

static void pair_ready(struct ob_watch *watch, uint32_t events)
{
    struct pair *pair = the_pair;

    (void)events;
    (void)watch;
    pair->ready++;
    ob_watch_remove(&pair->watch[0]);
    ob_watch_remove(&pair->watch[1]);
    ob_watch_remove(&pair->watch[1]); /* once more is fine */
}

struct last {
    struct ob_work work;
    struct ob_loop *loop;
};

static void last_run(struct ob_work *work)
{
    ob_loop_stop(container_of(work, struct last, work)->loop);
}

/* One turn of a loop that no thread runs. */
static void turn(struct ob_loop *loop)
{
    struct last last = {.work.run = last_run, .loop = loop};

    ob_loop_post(loop, &last.work);
    assert_int_equal(ob_loop_run(loop), 0);
}

static void watch_removes_another(void **state)
{
    struct ob_loop_options options = {0};
    struct ob_loop *loop;
    struct pair pair = {0};

    (void)state;
    assert_int_equal(ob_loop_new(&options, &loop), 0);
    the_pair = &pair;
    for (unsigned i = 0; i < 2; i++) {
        pair.watch[i] = (struct ob_watch){.fd = eventfd(1, EFD_NONBLOCK), .events = EPOLLIN,
                                          .ready = pair_ready};
        assert_int_equal(ob_watch_add(loop, &pair.watch[i]), 0);
    }
    turn(loop); /* both are ready in one batch, and only one is delivered */
    assert_int_equal(pair.ready, 1);
    turn(loop);
    assert_int_equal(pair.ready, 1);
    close(pair.watch[0].fd);
    close(pair.watch[1].fd);
    ob_loop_free(loop);
}

/* A source of work as a queue is: a count that another thread raises, and a kick. */
struct source {
    struct ob_poller poller;
    struct ob_watch kick;
    unsigned offered;     /* atomic; raised by the other thread */
    bool wants_kick;      /* atomic */
    unsigned taken, runs; /* atomic reads by the other thread */
    unsigned sleeps;
};

static unsigned source_run(struct ob_poller *poller, unsigned budget)
{
    struct source *source = container_of(poller, struct source, poller);
    unsigned offered = load_acquire(&source->offered);
    unsigned count = offered - source->taken;

    if (count > budget)
        count = budget;
    store_once(&source->wants_kick, false);
    store_once(&source->runs, source->runs + 1);
    store_once(&source->taken, source->taken + count);
    return count;
}

static bool source_sleep(struct ob_poller *poller)
{
    struct source *source = container_of(poller, struct source, poller);

    store_once(&source->wants_kick, true);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    source->sleeps++;
    return load_once(&source->offered) == source->taken;
}

static void source_kicked(struct ob_watch *watch, uint32_t events)
{
    (void)events;
    ob_poller_wake(&container_of(watch, struct source, kick)->poller);
}

static void source_offer(struct source *source, unsigned count)
{
    __atomic_add_fetch(&source->offered, count, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (load_once(&source->wants_kick))
        fd_signal(source->kick.fd);
}

static void source_add(void *arg)
{
    struct source *source = arg;
    struct ob_loop *loop = source->poller.loop;

    source->poller.loop = NULL;
    ob_watch_add(loop, &source->kick);
    ob_poller_add(loop, &source->poller);
}

static void source_remove(void *arg)
{
    struct source *source = arg;

    ob_watch_remove(&source->kick);
    ob_poller_remove(&source->poller);
    ob_poller_remove(&source->poller);
    ob_poller_wake(&source->poller); /* fine on one that is not added */
}

static void source_init(struct source *source, struct ob_worker *worker)
{
    *source = (struct source){
        .poller = {.run = source_run, .sleep = source_sleep, .loop = ob_worker_loop(worker)},
        .kick = {.fd = eventfd(0, EFD_NONBLOCK), .events = EPOLLIN | EPOLLET,
                 .ready = source_kicked},
    };
    call_on(worker, source_add, source);
}

/* No kick is lost, whatever the mode: each offer is taken, or the test hangs and is killed. */
static void sources_take_all(void **state)
{
    (void)state;
    for (enum ob_poll poll = OB_POLL_OFF; poll <= OB_POLL_ALWAYS; poll++) {
        struct ob_worker *worker = worker_with(poll);
        struct source sources[2];
        struct timespec pause = {.tv_nsec = 1000};

        for (unsigned i = 0; i < 2; i++)
            source_init(&sources[i], worker);
        for (unsigned i = 0; i < 3000; i++) {
            source_offer(&sources[i % 2], 1 + i % 100);
            if (i % 3 == 0)
                while (load_once(&sources[i % 2].taken) != sources[i % 2].offered)
                    sched_yield();
            if (i % 50 == 0)
                nanosleep(&pause, NULL);
        }
        for (unsigned i = 0; i < 2; i++) {
            while (load_once(&sources[i].taken) != sources[i].offered)
                sched_yield();
            call_on(worker, source_remove, &sources[i]);
            close(sources[i].kick.fd);
        }
        ob_worker_free(worker);
    }
}

/* Asleep means asleep: not a single look without a kick. */
static void idle_is_not_scheduled(void **state)
{
    struct timespec pause = {.tv_nsec = 100000000};

    (void)state;
    for (enum ob_poll poll = OB_POLL_OFF; poll <= OB_POLL_AUTO; poll++) {
        struct ob_worker *worker = worker_with(poll);
        struct source source;
        unsigned before;

        source_init(&source, worker);
        nanosleep(&pause, NULL);
        before = load_once(&source.runs);
        nanosleep(&pause, NULL);
        assert_int_equal(load_once(&source.runs), before);
        call_on(worker, source_remove, &source);
        close(source.kick.fd);
        ob_worker_free(worker);
    }
}

/* A poller that is woken by what it does itself, once. */
struct self_waking {
    struct ob_poller poller;
    unsigned runs;
};

static unsigned self_waking_run(struct ob_poller *poller, unsigned budget)
{
    struct self_waking *self = container_of(poller, struct self_waking, poller);

    if (++self->runs == 1)
        ob_poller_wake(poller);
    return 0;
}

static bool always_sleeps(struct ob_poller *poller)
{
    return true;
}

static void wake_inside_run_counts(void **state)
{
    struct ob_loop_options options = {.poll = OB_POLL_OFF};
    struct self_waking self = {.poller = {.run = self_waking_run, .sleep = always_sleeps}};
    struct ob_loop *loop;

    assert_int_equal(ob_loop_new(&options, &loop), 0);
    ob_poller_add(loop, &self.poller);
    for (unsigned i = 0; i < 5; i++)
        loop_pollers_run(&loop->pollers);
    assert_int_equal(self.runs, 2);
    assert_false(self.poller.active);
    ob_poller_remove(&self.poller);
    ob_loop_free(loop);
}

struct timed {
    struct ob_timer timer;
    struct ob_loop *loop;
    unsigned expired;
};

static void timed_expired(struct ob_timer *timer)
{
    struct timed *timed = container_of(timer, struct timed, timer);

    if (++timed->expired < 3)
        ob_timer_set(timed->loop, timer, timed->expired - 1); /* 0 and 1 ms */
    else
        ob_loop_stop(timed->loop);
}

static void timers(void **state)
{
    struct ob_loop_options options = {0};
    struct timed timed = {.timer.expired = timed_expired};

    (void)state;
    assert_int_equal(ob_loop_new(&options, &timed.loop), 0);
    assert_int_equal(ob_timer_set(timed.loop, &timed.timer, 1000000), 0);
    assert_int_equal(ob_timer_set(timed.loop, &timed.timer, 2), 0);
    assert_int_equal(ob_loop_run(timed.loop), 0);
    assert_int_equal(timed.expired, 3);
    assert_int_equal(ob_timer_set(timed.loop, &timed.timer, 1), 0);
    ob_timer_clear(&timed.timer);
    ob_timer_clear(&timed.timer);
    ob_loop_free(timed.loop);
}

static void no_such_cpu(void **state)
{
    struct ob_worker_options options = {.cpu = 1023};
    struct ob_worker *worker = NULL;

    (void)state;
    assert_int_equal(ob_worker_new(&options, &worker), -EINVAL);
    options.cpu = 1 << 20;
    assert_int_equal(ob_worker_new(&options, &worker), -EINVAL);
    assert_null(worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_keep_their_order), cmocka_unit_test(watch_removes_another),
        cmocka_unit_test(sources_take_all),       cmocka_unit_test(idle_is_not_scheduled),
        cmocka_unit_test(timers),                 cmocka_unit_test(no_such_cpu),
        cmocka_unit_test(wake_inside_run_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
