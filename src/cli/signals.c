/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals: one descriptor in the control loop for those that ask for something, so that nothing
 * ever runs in a handler, but for SIGBUS.
 *
 * SIGBUS comes to the thread that touched a page which is not there: a peer has cut its memory
 * file short. If the address is in guest memory, the library puts pages there and the access
 * goes on; if not, the fault is ours and takes its usual course.
 */

#include "cli/signals.h"

#include "base/fd.h"
#include "base/util.h"

#include <errno.h>
#include <outboard/memory.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void understood(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
    sigaddset(ret, SIGUSR1);
}

static void bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    /* An access that is not aligned would only fault again. */
    if (info->si_code == BUS_ADRALN || !ob_memory_fault(info->si_addr))
        signal(SIGBUS, SIG_DFL); /* the access is repeated, and ends the program */
    errno = saved;
}

void signals_block(void)
{
    struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigset_t set;

    understood(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGBUS, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* whoever read our output may go */
}

static void ready(struct ob_watch *watch, uint32_t events)
{
    struct signals *signals = container_of(watch, struct signals, watch);
    struct signalfd_siginfo info;

    while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
        signals->arrived(signals->ctx, (int)info.ssi_signo);
}

int signals_watch(struct signals *signals, struct ob_loop *loop,
                  void (*arrived)(void *ctx, int signal), void *ctx)
{
    sigset_t set;

    understood(&set);
    *signals = (struct signals){.arrived = arrived, .ctx = ctx};
    signals->watch = (struct ob_watch){
        .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
        .events = EPOLLIN,
        .ready = ready,
    };
    if (signals->watch.fd < 0)
        return -errno;
    int error = ob_watch_add(loop, &signals->watch);
    if (error)
        fd_close(&signals->watch.fd);
    return error;
}

void signals_done(struct signals *signals)
{
    if (!signals->arrived)
        return;
    ob_watch_remove(&signals->watch);
    fd_close(&signals->watch.fd);
}
