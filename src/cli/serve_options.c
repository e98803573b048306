/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options that all devices share: where they are served, by which queues and CPUs.
 */

#include "cli/serve.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>

static bool set_on(void *target, const char *name, const char *argument)
{
    ((struct serve_options *)target)->on = argument;
    return true;
}

static bool set_socket_path(void *target, const char *name, const char *argument)
{
    ((struct serve_options *)target)->socket_path = argument;
    return true;
}

static bool set_fd(void *target, const char *name, const char *argument)
{
    uint64_t fd;

    if (!cli_number(name, argument, 0, INT_MAX, &fd))
        return false;
    if (fcntl((int)fd, F_GETFD) < 0) {
        cli_complain("--%s %s: there is no open descriptor of that number", name, argument);
        return false;
    }
    ((struct serve_options *)target)->fd = (int)fd;
    return true;
}

static bool set_queues(void *target, const char *name, const char *argument)
{
    struct serve_options *options = target;
    uint64_t n;

    if (!cli_number(name, argument, 1, OB_DEVICE_QUEUES_MAX, &n))
        return false;
    options->n_queues = (unsigned)n;
    options->n_queues_given = true;
    return true;
}

static bool set_queue_size(void *target, const char *name, const char *argument)
{
    uint64_t size;

    if (!cli_number(name, argument, 4, OB_QUEUE_SIZE_MAX, &size))
        return false;
    ((struct serve_options *)target)->queue_size = (unsigned)size;
    return true;
}

static bool set_poll(void *target, const char *name, const char *argument)
{
    static const char *const words[] = {"off", "auto", "always", NULL};
    static const enum ob_poll values[] = {OB_POLL_OFF, OB_POLL_AUTO, OB_POLL_ALWAYS};
    int word = cli_word(name, argument, words);

    if (word < 0)
        return false;
    ((struct serve_options *)target)->poll = values[word];
    return true;
}

static bool set_cpu(void *target, const char *name, const char *argument)
{
    struct serve_options *options = target;

    options->n_cpus = cli_cpus(name, argument, options->cpus, SERVE_WORKERS_MAX);
    return options->n_cpus > 0;
}

static bool set_log_level(void *target, const char *name, const char *argument)
{
    int word = cli_word(name, argument, cli_log_levels);

    if (word < 0)
        return false;
    ((struct serve_options *)target)->log_level = (enum ob_log_level)word;
    return true;
}

static bool set_help(void *target, const char *name, const char *argument)
{
    ((struct serve_options *)target)->help = true;
    return true;
}

const struct cli_option serve_option_table[] = {
    {"on", "TRANSPORT:ADDRESS",
     "where to serve it: vhost-user:PATH listens on\n"
     "a socket, vhost-user:PATH,client connects to one",
     set_on},
    {"socket-path", "PATH", "the same as --on vhost-user:PATH", set_socket_path},
    {"fd", "NUMBER", "serve on an inherited vhost-user socket", set_fd},
    {"queues", "N", "most queues (64); QEMU wants one per virtual CPU", set_queues},
    {"queue-size", "N", "largest ring that is accepted (32768)", set_queue_size},
    {"poll", "MODE",
     "off: sleep when there is no work; always: never;\n"
     "auto (default): spin a little where that pays",
     set_poll},
    {"cpu", "LIST",
     "one worker on each of these CPUs, as 2 or 0,4-7;\n"
     "else one worker on any CPU",
     set_cpu},
    {"log-level", "LEVEL", "error, warning, info (default) or debug", set_log_level},
    {"help", NULL, "print this", set_help},
    {0},
};
