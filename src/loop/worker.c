/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Workers
 *
 * A worker is a thread that runs a loop. It takes no signals but SIGBUS, which the kernel sends
 * to the thread whose access failed: the program's handlers and its signalfd are the main
 * thread's business.
 */

#include "loop/loop.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct ob_worker {
    struct ob_loop *loop;
    pthread_t thread;
};

static void *worker_main(void *arg)
{
    struct ob_worker *worker = arg;

    ob_loop_run(worker->loop);
    return NULL;
}

static int set_cpu(pthread_attr_t *attr, int cpu)
{
    cpu_set_t cpus;

    if (cpu < 0)
        return 0;
    if (cpu >= CPU_SETSIZE)
        return EINVAL;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    return pthread_attr_setaffinity_np(attr, sizeof(cpus), &cpus);
}

static int start_thread(struct ob_worker *worker, const struct ob_worker_options *options)
{
    char name[16];
    sigset_t all, before;
    pthread_attr_t attr;
    int result;

    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_attr_init(&attr);
    result = set_cpu(&attr, options->cpu);
    if (!result) {
        pthread_sigmask(SIG_SETMASK, &all, &before);
        result = pthread_create(&worker->thread, &attr, worker_main, worker);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attr);
    if (result) {
        if (options->cpu >= 0)
            log_error(options->loop.log, "cannot start a worker on CPU %d: errno %d (is it online?)",
                      options->cpu, result);
        else
            log_error(options->loop.log, "cannot start a worker: errno %d", result);
        return -result;
    }
    snprintf(name, sizeof(name), "%s", options->name ? options->name : "outboard");
    pthread_setname_np(worker->thread, name);
    return 0;
}

int ob_worker_new(const struct ob_worker_options *options, struct ob_worker **ret)
{
    struct ob_worker *worker = calloc(1, sizeof(*worker));
    int result;

    if (!worker)
        return -ENOMEM;
    result = ob_loop_new(&options->loop, &worker->loop);
    if (!result)
        result = start_thread(worker, options);
    if (result < 0) {
        ob_loop_free(worker->loop);
        free(worker);
        return result;
    }
    *ret = worker;
    return 0;
}

struct ob_loop *ob_worker_loop(struct ob_worker *worker)
{
    return worker->loop;
}

void ob_worker_free(struct ob_worker *worker)
{
    if (!worker)
        return;
    ob_loop_stop(worker->loop);
    pthread_join(worker->thread, NULL);
    ob_loop_free(worker->loop);
    free(worker);
}
