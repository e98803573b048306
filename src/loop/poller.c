/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pollers: when to spin and when to sleep
 *
 * A poller finds its work by looking. As long as it finds some it stays active. What happens
 * when it finds none is the loop's poll mode:
 *
 *   off     it falls asleep at once;
 *   always  it never does;
 *   auto    it spins for a bounded time, but only while that is likely to pay: a running mean
 *           of the gaps between work is kept, and where it does not fit the bound, spinning
 *           costs CPU and gains nothing, so the poller sleeps at once.
 *
 * A gap begins with the first empty look after work and ends with the next work, whether the
 * poller slept in between or not. A single long gap counts for little more than the bound, so
 * that an idle hour does not spoil the next burst. The clock is read at the ends of gaps and
 * at every few empty looks, never for each request.
 *
 * Falling asleep is asking for the wake-up (sleep() turns notifications on), and only then
 * looking for the last time; sleep() says so if there was something after all.
 */

#include "loop/loop.h"

#include <time.h>

#define SPIN_DEFAULT_US 50 /* longer spins save nothing: waking costs less than their CPU time */
#define BUDGET 64          /* units of work until the next poller, or posted work, has its turn */
#define CLOCK_SKIP 8       /* empty looks between two of the clock */
#define GAP_CAP 4          /* a gap counts at most this many times the bound */
#define GAP_WEIGHT 8       /* the mean follows one eighth of each gap */

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void loop_pollers_init(struct loop_pollers *pollers, const struct ob_loop_options *options)
{
    pollers->poll = options->poll;
    pollers->spin_ns = 1000ull * (options->spin_us ? options->spin_us : SPIN_DEFAULT_US);
}

static void list_add(struct loop_pollers *pollers, struct ob_poller *poller)
{
    poller->prev = NULL;
    poller->next = pollers->active;
    if (pollers->active)
        pollers->active->prev = poller;
    pollers->active = poller;
    poller->active = true;
}

static void list_remove(struct loop_pollers *pollers, struct ob_poller *poller)
{
    if (pollers->next == poller)
        pollers->next = poller->next;
    if (poller->next)
        poller->next->prev = poller->prev;
    if (poller->prev)
        poller->prev->next = poller->next;
    else
        pollers->active = poller->next;
    poller->active = false;
}

void ob_poller_add(struct ob_loop *loop, struct ob_poller *poller)
{
    poller->loop = loop;
    poller->idle_since = 0;
    poller->mean_gap = 0;
    list_add(&loop->pollers, poller);
}

void ob_poller_wake(struct ob_poller *poller)
{
    if (!poller->loop)
        return;
    poller->again = true;
    if (poller->active)
        return;
    poller->loop->pollers.asleep--;
    list_add(&poller->loop->pollers, poller);
}

void ob_poller_remove(struct ob_poller *poller)
{
    if (!poller->loop)
        return;
    if (poller->loop->pollers.running == poller)
        poller->loop->pollers.running = NULL;
    if (poller->active)
        list_remove(&poller->loop->pollers, poller);
    else
        poller->loop->pollers.asleep--;
    poller->loop = NULL;
}

static void gap_ended(const struct loop_pollers *pollers, struct ob_poller *poller)
{
    uint64_t gap = clock_ns() - poller->idle_since;

    gap = min_u64(gap, GAP_CAP * pollers->spin_ns);
    poller->mean_gap = poller->mean_gap - poller->mean_gap / GAP_WEIGHT + gap / GAP_WEIGHT;
    poller->idle_since = 0;
}

/* True if a poller without work should stop spinning. */
static bool should_sleep(struct loop_pollers *pollers, struct ob_poller *poller)
{
    if (pollers->poll == OB_POLL_ALWAYS)
        return false;
    if (!poller->idle_since) {
        if (pollers->poll == OB_POLL_OFF)
            return true;
        poller->idle_since = clock_ns();
        return poller->mean_gap > pollers->spin_ns;
    }
    if (pollers->poll == OB_POLL_OFF || poller->mean_gap > pollers->spin_ns)
        return true;
    if (++pollers->clock_skip < CLOCK_SKIP)
        return false;
    pollers->clock_skip = 0;
    return clock_ns() - poller->idle_since > pollers->spin_ns;
}

/* A verb of a poller may remove it, and free it: after each, see if it is still there. */
static unsigned run_one(struct loop_pollers *pollers, struct ob_poller *poller)
{
    unsigned done;

    pollers->running = poller;
    poller->again = false;
    done = poller->run(poller, BUDGET);
    if (!pollers->running)
        return done;
    if (done) {
        if (poller->idle_since)
            gap_ended(pollers, poller);
        return done;
    }
    if (!poller->again && should_sleep(pollers, poller) && poller->sleep(poller) &&
        pollers->running && !poller->again) {
        list_remove(pollers, poller);
        pollers->asleep++;
    }
    return done;
}

unsigned loop_pollers_run(struct loop_pollers *pollers)
{
    unsigned done = 0;

    pollers->next = pollers->active;
    while (pollers->next) {
        struct ob_poller *poller = pollers->next;

        pollers->next = poller->next;
        done += run_one(pollers, poller);
    }
    pollers->running = NULL;
    return done;
}
