/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_LOOP_H
#define OUTBOARD_LOOP_H

#include <outboard/export.h>
#include <outboard/log.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * An event loop: file descriptors, timers, posted work and pollers, all run by the
 * one thread that calls ob_loop_run() (or by a worker's own thread). Everything that
 * takes a loop must be called on that loop's thread unless it says "any thread".
 */
struct ob_loop;

/** When pollers spin and when they sleep. */
enum ob_poll {
    OB_POLL_OFF,    /**< sleep on the kick as soon as there is no work */
    OB_POLL_AUTO,   /**< spin for a bounded time while recent gaps between work fit it */
    OB_POLL_ALWAYS, /**< never sleep while a poller exists: one CPU is spent */
};

/** Options of a loop; zero-initialise for the defaults. */
struct ob_loop_options {
    enum ob_poll poll;
    uint32_t spin_us;         /**< longest spin in OB_POLL_AUTO; 0: the default, 50 us */
    const struct ob_log *log; /**< may be NULL */
};

/**
 * Creates a loop. @return 0, or -EMFILE, -ENFILE, -ENOMEM.
 */
OB_PUBLIC int ob_loop_new(const struct ob_loop_options *options, struct ob_loop **ret);

/** Frees a loop that does not run and has no watches and pollers left. NULL is fine. */
OB_PUBLIC void ob_loop_free(struct ob_loop *loop);

/** Runs until ob_loop_stop(). @return 0, or -errno when waiting itself failed. */
OB_PUBLIC int ob_loop_run(struct ob_loop *loop);

/** Makes ob_loop_run() return after the callbacks under way. Any thread. */
OB_PUBLIC void ob_loop_stop(struct ob_loop *loop);

/**
 * A piece of work handed to a loop's thread. The caller owns the memory, which must
 * stay until run() is called; run() may free or post it again.
 */
struct ob_work {
    void (*run)(struct ob_work *work);
    struct ob_work *next; /**< the loop's */
};

/**
 * Runs work on the loop's thread; works posted by one thread run in their order.
 * A work that is posted and has not run yet must not be posted again. Any thread.
 */
OB_PUBLIC void ob_loop_post(struct ob_loop *loop, struct ob_work *work);

/** A watched file descriptor. The caller owns the memory, and fills in fd, events, ready. */
struct ob_watch {
    int fd;          /**< not owned */
    uint32_t events; /**< EPOLLIN, EPOLLOUT, EPOLLET ... */
    void (*ready)(struct ob_watch *watch, uint32_t events);
    struct ob_loop *loop; /**< the loop's; NULL while not watched */
};

/** Starts to watch. @return 0, or -errno of epoll_ctl. */
OB_PUBLIC int ob_watch_add(struct ob_loop *loop, struct ob_watch *watch);

/** Changes the events of a watch. @return 0, or -errno of epoll_ctl. */
OB_PUBLIC int ob_watch_modify(struct ob_watch *watch, uint32_t events);

/** Stops watching; ready() is not called any more. Fine on a watch never added. */
OB_PUBLIC void ob_watch_remove(struct ob_watch *watch);

/** A one-shot timer. The caller owns the memory, zero-initialised, and fills in expired. */
struct ob_timer {
    void (*expired)(struct ob_timer *timer);
    struct ob_watch watch; /**< the loop's */
};

/** (Re)arms a timer. @return 0, or -errno of timerfd_create. */
OB_PUBLIC int ob_timer_set(struct ob_loop *loop, struct ob_timer *timer, uint64_t milliseconds);

/** Disarms a timer and releases what it holds. */
OB_PUBLIC void ob_timer_clear(struct ob_timer *timer);

/**
 * Something that finds its work by looking. It is active (run again and again) or
 * asleep (run after the next ob_poller_wake()).
 */
struct ob_poller {
    /** Does at most budget units of work. @return the units done; 0 if there was nothing. */
    unsigned (*run)(struct ob_poller *poller, unsigned budget);
    /** Asks to be woken, then looks once more. @return false if there is work after all. */
    bool (*sleep)(struct ob_poller *poller);
    struct ob_poller *next, *prev; /**< the loop's, as all below */
    struct ob_loop *loop;
    uint64_t idle_since;
    uint64_t mean_gap;
    bool active;
    bool again; /* woken while it ran */
};

/** Adds a poller, active. */
OB_PUBLIC void ob_poller_add(struct ob_loop *loop, struct ob_poller *poller);

/** Makes a sleeping poller active again; one that runs just now runs once more before it
 *  sleeps. Fine on one that is not added. */
OB_PUBLIC void ob_poller_wake(struct ob_poller *poller);

/** Removes a poller; its verbs are not called any more. Fine on one never added. */
OB_PUBLIC void ob_poller_remove(struct ob_poller *poller);

/** A thread with a loop of its own. */
struct ob_worker;

/** Options of a worker; zero-initialise for the defaults, but for cpu. */
struct ob_worker_options {
    const char *name; /**< of the thread; 15 characters are kept; NULL: "outboard" */
    int cpu;          /**< the CPU to run on, or -1 for any */
    struct ob_loop_options loop;
};

/** Creates the loop and starts the thread, with all signals but SIGBUS blocked.
 *  @return 0, -EINVAL (no such CPU), or as ob_loop_new(). */
OB_PUBLIC int ob_worker_new(const struct ob_worker_options *options, struct ob_worker **ret);

/** The worker's loop, for ob_loop_post(). Any thread. */
OB_PUBLIC struct ob_loop *ob_worker_loop(struct ob_worker *worker);

/** Stops the loop, joins the thread, frees. Not on the worker's own thread. NULL is fine. */
OB_PUBLIC void ob_worker_free(struct ob_worker *worker);

#ifdef __cplusplus
}
#endif

#endif
