/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers
 *
 * One timerfd each. They serve reconnects and time-outs, of which a process has a handful, so
 * nothing cleverer is needed; an idle loop has none armed and is never woken.
 */

#include "loop/loop.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void timer_ready(struct ob_watch *watch, uint32_t events)
{
    struct ob_timer *timer = container_of(watch, struct ob_timer, watch);

    (void)events;
    ob_timer_clear(timer);
    timer->expired(timer);
}

int ob_timer_set(struct ob_loop *loop, struct ob_timer *timer, uint64_t milliseconds)
{
    struct itimerspec spec = {
        .it_value = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000},
    };
    int result;

    if (!milliseconds)
        spec.it_value.tv_nsec = 1; /* zero would disarm it */
    ob_timer_clear(timer);
    timer->watch.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer->watch.fd < 0)
        return -errno;
    timer->watch.events = EPOLLIN;
    timer->watch.ready = timer_ready;
    result = timerfd_settime(timer->watch.fd, 0, &spec, NULL) < 0 ? -errno : 0;
    if (!result)
        result = ob_watch_add(loop, &timer->watch);
    if (result)
        fd_close(&timer->watch.fd);
    return result;
}

void ob_timer_clear(struct ob_timer *timer)
{
    if (!timer->watch.loop)
        return;
    ob_watch_remove(&timer->watch);
    fd_close(&timer->watch.fd);
}
