/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serving a device, from the first thread to the last:
 *
 *   start    workers, the device, its transport; then "announce" says how to connect
 *   serve    the control loop runs here, on the main thread
 *   close    on SIGTERM or SIGINT, or when the peer of an inherited socket is gone: the
 *            transport ends the requests out and then says so
 *   finish   counters, the device (which makes all durable), workers
 *
 * A second SIGTERM or SIGINT while closing ends the program at once: a disk that does not
 * answer must not make it unstoppable. The exit status then says that this was not clean.
 */

#include "cli/serve.h"

#include "cli/counters.h"
#include "cli/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct ob_transport_ops *const transports[] = {&ob_transport_vhost_user};

#define N_TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

/* The transport that --socket-path and --fd mean. */
#define DEFAULT_TRANSPORT 0

struct server {
    const struct serve_options *options;
    const struct serve_type *type;
    void *ctx;
    struct ob_log log;
    struct serve_place place;
    const struct ob_transport_ops *transport_ops;
    struct ob_loop *control;
    struct ob_worker *workers[SERVE_WORKERS_MAX];
    unsigned n_workers;
    struct signals signals;
    struct ob_device *device;
    struct ob_transport *transport;
    bool closing;
    bool told; /* by a signal, to close */
};

/* Understands where to serve. */
static int find_place(struct server *server)
{
    const struct serve_options *options = server->options;
    int given = !!options->on + !!options->socket_path + (options->fd >= 0);

    if (given != 1) {
        cli_complain("%s: one of --on vhost-user:PATH, --socket-path PATH and --fd NUMBER says",
                     given ? "it can be served in one place only"
                           : "where it is served is missing");
        return -EINVAL;
    }
    server->transport_ops = transports[DEFAULT_TRANSPORT];
    server->place.address = options->socket_path;
    if (!options->on)
        return 0;
    for (unsigned i = 0; i < N_TRANSPORTS; i++) {
        size_t len = strlen(transports[i]->name);
        if (!strncmp(options->on, transports[i]->name, len) && options->on[len] == ':' &&
            options->on[len + 1]) {
            server->transport_ops = transports[i];
            server->place.address = options->on + len + 1;
            return 0;
        }
    }
    cli_complain("--on takes TRANSPORT:ADDRESS, not '%s'; the transports are", options->on);
    for (unsigned i = 0; i < N_TRANSPORTS; i++)
        cli_complain("  %s: %s", transports[i]->name, transports[i]->help);
    return -EINVAL;
}

static void transport_closed(void *ctx, int result)
{
    struct server *server = ctx;

    server->transport = NULL;
    ob_loop_stop(server->control);
}

static void begin_close(void *ctx)
{
    struct server *server = ctx;

    if (server->closing)
        return;
    server->closing = true;
    server->transport_ops->close(server->transport, transport_closed, server);
}

static void signal_arrived(void *ctx, int number)
{
    struct server *server = ctx;

    switch (number) {
    case SIGUSR1: counters_print(server->device); return;
    case SIGHUP:
        if (server->type->refresh)
            server->type->refresh(server->device); /* it logs what goes wrong */
        return;
    default:
        if (server->told) {
            cli_complain("stopped at once, before everything was written");
            _exit(CLI_FAILED);
        }
        server->told = true;
        begin_close(server);
    }
}

/* Each queue takes a few descriptors, each region of a driver's memory may. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int start_workers(struct server *server)
{
    const struct serve_options *options = server->options;
    unsigned n = options->n_cpus ? options->n_cpus : 1;

    for (unsigned i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof(name), "outboard-%u", i);
        struct ob_worker_options worker = {
            .name = name,
            .cpu = options->n_cpus ? options->cpus[i] : -1,
            .loop = {.poll = options->poll, .log = &server->log},
        };
        int error = ob_worker_new(&worker, &server->workers[i]);
        if (error)
            return error; /* the log has it */
        server->n_workers++;
    }
    return 0;
}

static int start_device(struct server *server)
{
    struct ob_device_options options = {
        .control = server->control,
        .log = &server->log,
        .workers = server->workers,
        .n_workers = server->n_workers,
        .n_queues = server->options->n_queues,
        .queue_size_max = server->options->queue_size,
    };

    return server->type->create(server->ctx, &options, &server->device);
}

static int start_transport(struct server *server)
{
    struct ob_transport_options options = {
        .control = server->control,
        .log = &server->log,
        .device = server->device,
        .address = server->place.address,
        .fd = server->options->fd,
        .closed = begin_close,
        .ctx = server,
    };

    server->place.transport = server->transport_ops->name;
    return server->transport_ops->open(&options, &server->transport);
}

static int start(struct server *server)
{
    struct ob_loop_options loop = {.poll = OB_POLL_OFF, .log = &server->log};
    int error = ob_loop_new(&loop, &server->control);

    if (!error)
        error = signals_watch(&server->signals, server->control, signal_arrived, server);
    if (error) {
        cli_complain("cannot start: %s", strerror(-error));
        return error;
    }
    error = start_workers(server);
    if (!error)
        error = start_device(server);
    if (!error)
        error = start_transport(server);
    return error;
}

/* 0, or -errno if what was written may not be durable. */
static int finish(struct server *server)
{
    int error;

    if (server->device && counters_any(server->device))
        counters_print(server->device);
    error = ob_device_free(server->device);
    for (unsigned i = 0; i < server->n_workers; i++)
        ob_worker_free(server->workers[i]);
    signals_done(&server->signals);
    ob_loop_free(server->control);
    return error;
}

int serve(const struct serve_options *options, const struct serve_type *type, void *ctx)
{
    struct server server = {
        .options = options,
        .type = type,
        .ctx = ctx,
        .log = {.write = cli_log_write, .level = options->log_level},
    };

    if (find_place(&server))
        return CLI_USAGE;
    signals_block();
    raise_descriptor_limit();
    int error = start(&server);
    if (!error) {
        if (server.place.address)
            type->announce(ctx, server.device, &server.place);
        error = ob_loop_run(server.control);
        if (error)
            cli_complain("cannot wait for events: %s", strerror(-error));
    }
    return finish(&server) || error ? CLI_FAILED : 0;
}
