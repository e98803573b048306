/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "base/util.h"

#include <outboard/loop.h>
#include <sys/epoll.h>

/* Events read at a time. */
#define LOOP_EVENTS 64

/* The pollers of a loop; loop/poller.c. */
struct loop_pollers {
    struct ob_poller *active;  /* first of a list */
    struct ob_poller *next;    /* to run in this turn */
    struct ob_poller *running; /* under way; NULL once it was removed */
    unsigned asleep;
    enum ob_poll poll;
    uint64_t spin_ns;
    unsigned clock_skip; /* empty turns until the clock is read */
};

struct ob_loop {
    const struct ob_log *log;
    int epoll_fd;
    struct ob_watch wake;
    struct ob_work *posted; /* atomic; any thread */
    bool sleeping;          /* atomic; written by the loop's thread */
    bool stop;              /* atomic; any thread */
    struct loop_pollers pollers;
    unsigned event_next, event_count;
    struct epoll_event events[LOOP_EVENTS];
};

void loop_pollers_init(struct loop_pollers *pollers, const struct ob_loop_options *options);

/* Runs each active poller once. Returns the units of work done. */
unsigned loop_pollers_run(struct loop_pollers *pollers);

#endif
