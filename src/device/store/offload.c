/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads for system calls that block.
 *
 * io_uring has such threads too, but each that was ever needed wakes every five seconds for as
 * long as its process lives (io-wq keeps one and times it out), and an idle disk must not
 * wake anything. Ours start when needed, sleep on a condition until there is work, and
 * end with the pool.
 *
 * This is the one place of a store where threads meet at a lock: several workers feed several
 * threads, and whichever thread is free should take the next request, behind no other's. The
 * lock is held for a list operation, or rarely to start a thread.
 */

#include "device/store/offload.h"

#include "base/util.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Room for a few calls deep and no more: what a request needs is in the scratch. */
#define STACK_SIZE (256u << 10)

struct offload_thread {
    struct offload *offload;
    pthread_t id;
    struct offload_scratch scratch;
};

struct offload {
    offload_serve_fn serve;
    cpu_set_t cpus; /* where the program may run: workers, which start threads, are pinned */
    unsigned max_threads;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t work;
    struct store_io *first;
    struct store_io **end;
    unsigned queued;
    unsigned idle;
    bool closing;
    unsigned n_threads;
    struct offload_thread *threads[];
};

static void thread_free(struct offload_thread *thread)
{
    munmap(thread->scratch.bounce, OFFLOAD_BOUNCE_SIZE);
    free(thread);
}

void offload_free(struct offload *offload)
{
    if (!offload)
        return;
    pthread_mutex_lock(&offload->lock);
    offload->closing = true;
    pthread_cond_broadcast(&offload->work);
    pthread_mutex_unlock(&offload->lock);
    for (unsigned i = 0; i < offload->n_threads; i++) {
        pthread_join(offload->threads[i]->id, NULL);
        thread_free(offload->threads[i]);
    }
    pthread_cond_destroy(&offload->work);
    pthread_mutex_destroy(&offload->lock);
    free(offload);
}

/* Takes the next request, sleeping until there is one; NULL when the pool closes. */
static struct store_io *next(struct offload *offload)
{
    pthread_mutex_lock(&offload->lock);
    offload->idle++;
    while (!offload->first && !offload->closing)
        pthread_cond_wait(&offload->work, &offload->lock);
    offload->idle--;
    struct store_io *io = offload->first;
    if (io) {
        offload->first = io->next;
        offload->end = offload->first ? offload->end : &offload->first;
        offload->queued--;
    }
    pthread_mutex_unlock(&offload->lock);
    return io;
}

static void *run(void *arg)
{
    struct offload_thread *thread = arg;
    struct store_io *io;

    pthread_setname_np(pthread_self(), "outboard-io");
    while ((io = next(thread->offload)))
        thread->offload->serve(io, &thread->scratch);
    return NULL;
}

static int start(struct offload *offload, struct offload_thread *thread)
{
    pthread_attr_t attr;
    sigset_t blocked, before;

    sigfillset(&blocked);
    sigdelset(&blocked, SIGBUS); /* a peer may cut its memory short under a copy of ours */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (CPU_COUNT(&offload->cpus))
        pthread_attr_setaffinity_np(&attr, sizeof(offload->cpus), &offload->cpus);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&thread->id, &attr, run, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -error;
}

/* One more thread. The lock is held, or nobody else knows the pool. 0 or -errno. */
static int add_thread(struct offload *offload)
{
    struct offload_thread *thread = calloc(1, sizeof(*thread));

    if (!thread)
        return -ENOMEM;
    thread->offload = offload;
    thread->scratch.bounce =
        mmap(NULL, OFFLOAD_BOUNCE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (thread->scratch.bounce == MAP_FAILED) {
        free(thread);
        return -ENOMEM;
    }
    int error = start(offload, thread);
    if (error) {
        thread_free(thread);
        return error;
    }
    offload->threads[offload->n_threads++] = thread;
    return 0;
}

int offload_new(unsigned max_threads, offload_serve_fn serve, struct offload **ret)
{
    struct offload *offload =
        calloc(1, sizeof(*offload) + max_threads * sizeof(offload->threads[0]));

    if (!offload)
        return -ENOMEM;
    offload->serve = serve;
    offload->max_threads = max_threads;
    offload->end = &offload->first;
    if (sched_getaffinity(0, sizeof(offload->cpus), &offload->cpus) < 0)
        CPU_ZERO(&offload->cpus); /* more CPUs than the set can tell */
    pthread_mutex_init(&offload->lock, NULL);
    pthread_cond_init(&offload->work, NULL);
    /* One at once, so that there is one whatever comes later. */
    int error = add_thread(offload);
    if (error) {
        offload_free(offload);
        return error;
    }
    *ret = offload;
    return 0;
}

void offload_submit(struct offload *offload, struct store_io *io)
{
    io->next = NULL;
    pthread_mutex_lock(&offload->lock);
    if (offload->idle <= offload->queued && offload->n_threads < offload->max_threads)
        add_thread(offload); /* if it fails, those that there are take longer */
    *offload->end = io;
    offload->end = &io->next;
    offload->queued++;
    pthread_cond_signal(&offload->work);
    pthread_mutex_unlock(&offload->lock);
}
