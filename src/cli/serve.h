/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

/*
 * Serving a device: what the subcommands of all devices have in common. Each brings its own
 * options and a struct serve_type.
 */

#include "cli/cli.h"

#include <outboard/transport.h>

/* Most CPUs of --cpu, so most workers: more than any machine should spend on one device. */
#define SERVE_WORKERS_MAX 64

struct serve_options {
    const char *on;          /* TRANSPORT:ADDRESS, or NULL */
    const char *socket_path; /* a vhost-user socket, or NULL */
    int fd;                  /* a vhost-user socket, or -1 */
    unsigned n_queues;
    bool n_queues_given;
    unsigned queue_size; /* 0: any */
    enum ob_poll poll;
    int cpus[SERVE_WORKERS_MAX];
    unsigned n_cpus; /* 0: one worker, on any CPU */
    enum ob_log_level log_level;
    bool help;
};

/* With their defaults. */
#define SERVE_OPTIONS_INIT                                 \
    {                                                      \
        .fd = -1, .n_queues = 64, .log_level = OB_LOG_INFO \
    }

/* The options, whose target is a struct serve_options. */
extern const struct cli_option serve_option_table[];

/* Where a device is served, for those who tell the user how to reach it. */
struct serve_place {
    const char *transport;
    const char *address;
};

struct serve_type {
    /* Creates the device. 0, or -errno with the cause in the log. */
    int (*create)(void *ctx, const struct ob_device_options *options, struct ob_device **ret);
    /* Tells how to connect to it, on stdout. */
    void (*announce)(void *ctx, const struct ob_device *device, const struct serve_place *place);
    /* SIGHUP: looks at its source again. NULL: nothing to look at. */
    int (*refresh)(struct ob_device *device);
};

/* Serves a device until a signal or the peer ends it. @return an exit status. */
int serve(const struct serve_options *options, const struct serve_type *type, void *ctx);

#endif
