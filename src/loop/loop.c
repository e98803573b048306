/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event loop
 *
 * One thread runs a loop; it alone touches watches, timers and pollers. Other threads reach it
 * by posting work: they push on a lock-free stack, which the loop takes whole and turns round,
 * so each poster's works run in their order. A poster writes to the wake-up eventfd only if the
 * loop said that it is about to sleep: the loop sets `sleeping`, fences, and looks at the stack
 * once more; the poster pushes, fences, and looks at `sleeping`. One of them sees the other.
 *
 * A turn runs posted work, then each active poller once, then events. While a poller is active
 * the loop does not wait for events but asks for them now and then: more often if some poller
 * sleeps and so depends on one. When a poller falls asleep is decided in loop/poller.c.
 *
 * A callback may remove any watch, also one whose event is next in the batch just read; removal
 * therefore clears what is left of that batch.
 */

#include "loop/loop.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Turns between looks at events while pollers are active: often enough that a sleeping poller
 * waits a few microseconds, seldom enough that the system call does not show. */
#define TURNS_IDLE 32
#define TURNS_BUSY 64
#define TURNS_BUSY_WITH_SLEEPERS 8

static void loop_woken(struct ob_watch *watch, uint32_t events)
{
    (void)watch; /* edge-triggered: never read, see ob_loop_post() */
    (void)events;
}

int ob_loop_new(const struct ob_loop_options *options, struct ob_loop **ret)
{
    struct ob_loop *loop = calloc(1, sizeof(*loop));
    int result = -ENOMEM;

    if (!loop)
        return result;
    loop->log = options->log;
    loop_pollers_init(&loop->pollers, options);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->wake.events = EPOLLIN | EPOLLET;
    loop->wake.ready = loop_woken;
    if (loop->epoll_fd < 0 || loop->wake.fd < 0)
        result = -errno;
    else
        result = ob_watch_add(loop, &loop->wake);
    if (result < 0) {
        ob_loop_free(loop);
        return result;
    }
    *ret = loop;
    return 0;
}

void ob_loop_free(struct ob_loop *loop)
{
    if (!loop)
        return;
    fd_close(&loop->wake.fd);
    fd_close(&loop->epoll_fd);
    free(loop);
}

static void loop_wake_if_sleeping(struct ob_loop *loop)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (load_once(&loop->sleeping))
        fd_signal(loop->wake.fd);
}

void ob_loop_post(struct ob_loop *loop, struct ob_work *work)
{
    struct ob_work *head = load_once(&loop->posted);

    do {
        work->next = head;
    } while (!__atomic_compare_exchange_n(&loop->posted, &head, work, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    loop_wake_if_sleeping(loop);
}

void ob_loop_stop(struct ob_loop *loop)
{
    store_release(&loop->stop, true);
    loop_wake_if_sleeping(loop);
}

static void run_posted(struct ob_loop *loop)
{
    struct ob_work *work, *first = NULL;

    if (!load_once(&loop->posted))
        return;
    work = __atomic_exchange_n(&loop->posted, NULL, __ATOMIC_ACQUIRE);
    while (work) {
        struct ob_work *next = work->next;

        work->next = first;
        first = work;
        work = next;
    }
    while (first) {
        struct ob_work *next = first->next; /* run() may free or post it */

        first->run(first);
        first = next;
    }
}

/* Waits for events and delivers them. timeout: 0, or -1 to sleep. */
static int run_events(struct ob_loop *loop, int timeout)
{
    int count;

    if (timeout) {
        store_once(&loop->sleeping, true);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (load_once(&loop->posted) || load_once(&loop->stop))
            timeout = 0;
    }
    count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS, timeout);
    store_once(&loop->sleeping, false);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    loop->event_count = (unsigned)count;
    for (loop->event_next = 0; loop->event_next < loop->event_count;) {
        struct epoll_event *event = &loop->events[loop->event_next++];
        struct ob_watch *watch = event->data.ptr;

        if (watch)
            watch->ready(watch, event->events);
    }
    return 0;
}

static unsigned turns_between_events(const struct ob_loop *loop, unsigned done)
{
    if (!done)
        return TURNS_IDLE;
    return loop->pollers.asleep ? TURNS_BUSY_WITH_SLEEPERS : TURNS_BUSY;
}

int ob_loop_run(struct ob_loop *loop)
{
    unsigned turns = 0;
    int result = 0;

    while (!result && !load_acquire(&loop->stop)) {
        unsigned done;

        run_posted(loop);
        done = loop_pollers_run(&loop->pollers);
        if (!loop->pollers.active) {
            result = run_events(loop, -1);
        } else if (++turns >= turns_between_events(loop, done)) {
            turns = 0;
            result = run_events(loop, 0);
        } else if (!done) {
            cpu_relax();
        }
    }
    store_once(&loop->stop, false);
    if (result)
        log_error(loop->log, "waiting for events failed: errno %d", -result);
    return result;
}

int ob_watch_add(struct ob_loop *loop, struct ob_watch *watch)
{
    struct epoll_event event = {.events = watch->events, .data.ptr = watch};

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0)
        return -errno;
    watch->loop = loop;
    return 0;
}

int ob_watch_modify(struct ob_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
        return -errno;
    watch->events = events;
    return 0;
}

void ob_watch_remove(struct ob_watch *watch)
{
    struct ob_loop *loop = watch->loop;

    if (!loop)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (unsigned i = loop->event_next; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
    watch->loop = NULL;
}
