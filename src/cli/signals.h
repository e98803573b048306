/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <outboard/loop.h>

/* The signals that the program understands, delivered on a loop's thread. */
struct signals {
    struct ob_watch watch;
    void (*arrived)(void *ctx, int signal);
    void *ctx;
};

/* Blocks them, which threads started later inherit, and has SIGBUS answered. Before threads. */
void signals_block(void);

/* Starts to deliver SIGTERM, SIGINT, SIGHUP and SIGUSR1. 0 or -errno. */
int signals_watch(struct signals *signals, struct ob_loop *loop,
                  void (*arrived)(void *ctx, int signal), void *ctx);

/* Stops to; fine if it never started. */
void signals_done(struct signals *signals);

#endif
