/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outboard bench: drives a device that somebody serves, and measures it.
 *
 *   outboard bench blk vhost-user:PATH   any vhost-user-blk back-end, ours or another's
 *   outboard bench blk bare:CPU          a loop that moves rings and does nothing: the ceiling
 *   outboard bench copy                  a plain loop of copies, beside a disk in memory
 *   outboard bench line A B              a cache line's round trip between two CPUs
 */

#include "cli/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32768
#define QUEUES_MAX 64
#define SIZE_LIMIT (16u << 20)
#define COPY_SPAN (1ull << 30) /* larger than any cache */

const char *const bench_patterns[] = {"read", "write", "randread", "randwrite", "mixed", NULL};

static struct bench_options *of(void *target)
{
    return target;
}

static bool set_pattern(void *target, const char *name, const char *argument)
{
    int pattern = cli_word(name, argument, bench_patterns);

    of(target)->pattern = pattern < 0 ? 0 : (unsigned)pattern;
    return pattern >= 0;
}

static bool set_size(void *target, const char *name, const char *argument)
{
    if (!cli_size(name, argument, 512, SIZE_LIMIT, &of(target)->size))
        return false;
    if (!(of(target)->size % 512))
        return true;
    cli_complain("--%s takes a multiple of 512, not '%s'", name, argument);
    return false;
}

static bool set_depth(void *target, const char *name, const char *argument)
{
    return cli_number(name, argument, 1, DEPTH_MAX, &of(target)->depth);
}

static bool set_queues(void *target, const char *name, const char *argument)
{
    return cli_number(name, argument, 1, QUEUES_MAX, &of(target)->queues);
}

static bool set_queue_size(void *target, const char *name, const char *argument)
{
    return cli_number(name, argument, 1, OB_QUEUE_SIZE_MAX, &of(target)->queue_size);
}

static bool set_rate(void *target, const char *name, const char *argument)
{
    return cli_number(name, argument, 1, 1000000000, &of(target)->rate);
}

static bool set_seconds(const char *name, const char *argument, double *ret)
{
    char *end;
    double value = strtod(argument, &end);

    if (end == argument || *end || !(value >= 0 && value <= 86400)) {
        cli_complain("--%s takes seconds from 0 to 86400, not '%s'", name, argument);
        return false;
    }
    *ret = value;
    return true;
}

static bool set_time(void *target, const char *name, const char *argument)
{
    if (!set_seconds(name, argument, &of(target)->seconds))
        return false;
    if (of(target)->seconds > 0)
        return true;
    cli_complain("--%s takes more than 0 seconds", name);
    return false;
}

static bool set_warm_up(void *target, const char *name, const char *argument)
{
    return set_seconds(name, argument, &of(target)->warm_up);
}

static bool set_span(void *target, const char *name, const char *argument)
{
    return cli_size(name, argument, 512, INT64_MAX, &of(target)->span);
}

static bool set_cpu(void *target, const char *name, const char *argument)
{
    of(target)->n_cpus = cli_cpus(name, argument, of(target)->cpus, BENCH_CPUS_MAX);
    return of(target)->n_cpus;
}

static bool set_line(void *target, const char *name, const char *argument)
{
    uint64_t cpu;

    if (!cli_number(name, argument, 0, 1023, &cpu))
        return false;
    of(target)->line_cpu = (int)cpu;
    return true;
}

/* PATH[,offset=N] */
static bool set_memory_file(void *target, const char *name, const char *argument)
{
    static const char word[] = ",offset=";
    const char *offset = strstr(argument, word);
    size_t len = offset ? (size_t)(offset - argument) : strlen(argument);

    if (!len || len >= sizeof(of(target)->memory_file)) {
        cli_complain("--%s takes a path, not '%.100s'", name, argument);
        return false;
    }
    memcpy(of(target)->memory_file, argument, len);
    of(target)->memory_file[len] = '\0';
    return !offset || cli_size(name, offset + sizeof(word) - 1, 0, INT64_MAX,
                               &of(target)->memory_offset);
}

static bool set_plot(void *target, const char *name, const char *argument)
{
    of(target)->plot = argument;
    return true;
}

static bool set_log_level(void *target, const char *name, const char *argument)
{
    int level = cli_word(name, argument, cli_log_levels);

    of(target)->log_level = level < 0 ? 0 : (unsigned)level;
    return level >= 0;
}

#define FLAG(field)                                                               \
    static bool set_##field(void *target, const char *name, const char *argument) \
    {                                                                             \
        of(target)->field = true;                                                 \
        return true;                                                              \
    }

FLAG(packed)
FLAG(in_order)
FLAG(direct)
FLAG(poll)
FLAG(verify)
FLAG(hugepages)
FLAG(json)
FLAG(help)

static const struct cli_option option_table[] = {
    {"pattern", "WORD",
     "read, write, randread (default), randwrite, or\nmixed: seven random reads "
     "to three writes",
     set_pattern},
    {"size", "SIZE", "bytes of a request (4k)", set_size},
    {"depth", "N", "requests under way in each queue (64)", set_depth},
    {"queues", "N", "queues, each with a thread (1)", set_queues},
    {"queue-size", "N", "descriptors of a ring (256)", set_queue_size},
    {"packed", NULL, "use packed rings", set_packed},
    {"in-order", NULL, "use in-order rings (with --packed)", set_in_order},
    {"direct", NULL, "use no indirect descriptors", set_direct},
    {"rate", "N", "submit N requests a second, at random times,\ninstead of as many as possible",
     set_rate},
    {"time", "SECONDS", "how long to measure (5)", set_time},
    {"warm-up", "SECONDS", "how long to run before (1)", set_warm_up},
    {"span", "SIZE", "use only the beginning of the disk", set_span},
    {"poll", NULL, "look for completions, do not wait to be called", set_poll},
    {"verify", NULL, "check what is read against what was written", set_verify},
    {"cpu", "LIST", "run each queue's thread on one of these CPUs", set_cpu},
    {"line", "CPU", "measure a cache line's round trip to that CPU\nbefore and after", set_line},
    {"memory-file", "PATH[,offset=N]", "put the shared memory into that file", set_memory_file},
    {"hugepages", NULL, "put the shared memory into huge pages", set_hugepages},
    {"json", NULL, "print the result as JSON", set_json},
    {"plot", "FILE",
     "run at growing depths up to --depth, and write an\nSVG of throughput and "
     "latencies",
     set_plot},
    {"log-level", "LEVEL", "error, warning (default), info or debug", set_log_level},
    {"help", NULL, "print this", set_help},
    {0},
};

static int help(const struct cli_options *tables)
{
    printf("Usage: outboard bench blk ENDPOINT [OPTION...]\n"
           "       outboard bench copy [OPTION...]\n"
           "       outboard bench line CPU CPU\n"
           "Measures a block device that somebody serves; a plain loop of copies over --span;\n"
           "or a cache line's round trip.\n"
           "\n"
           "Endpoints:\n"
           "  vhost-user:PATH         a back-end that listens there\n"
           "  bare:[CPU]              a loop in this process that moves rings and does\n"
           "                          nothing else: what no device can exceed\n"
           "\n"
           "Options:\n");
    cli_print_options(tables);
    printf("\n"
           "Patterns that write destroy what is on the disk.\n");
    return 0;
}

static int bench_blk(struct bench_options *options, const char *endpoint)
{
    static struct bench_result result; /* large */
    int error;

    if (options->in_order && !options->packed) {
        cli_complain("--in-order needs --packed: a client with fixed requests cannot keep a split "
                     "ring in order");
        return CLI_USAGE;
    }
    if (options->rate && options->verify) {
        cli_complain("--rate and --verify do not go together: drop one");
        return CLI_USAGE;
    }
    options->endpoint = endpoint;
    if (options->plot)
        return bench_plot(options);
    error = strcmp(endpoint, "copy") ? bench_run(options, &result) : bench_copy(options, &result);
    if (error)
        return CLI_FAILED;
    if (options->json)
        bench_print_json(options, &result);
    else
        bench_print(options, &result);
    return result.errors ? CLI_FAILED : 0;
}

static int bench_line_command(int argc, char **argv)
{
    uint64_t a, b;
    double ns;

    if (argc != 2) {
        cli_complain("bench line takes two CPUs, as in: outboard bench line 0 1");
        return CLI_USAGE;
    }
    if (!cli_number("line", argv[0], 0, 1023, &a) || !cli_number("line", argv[1], 0, 1023, &b))
        return CLI_USAGE;
    ns = bench_line((int)a, (int)b);
    if (ns <= 0) {
        cli_complain("CPUs %s and %s did not both run", argv[0], argv[1]);
        return CLI_FAILED;
    }
    printf("%.1f ns\n", ns);
    return 0;
}

int cli_bench(int argc, char **argv)
{
    struct bench_options options = {
        .pattern = BENCH_RANDREAD,
        .size = 4096,
        .depth = 64,
        .queues = 1,
        .queue_size = 256,
        .seconds = 5,
        .warm_up = 1,
        .line_cpu = -1,
        .log_level = OB_LOG_WARNING,
    };
    const struct cli_options tables[] = {{option_table, &options}, {0}};
    int first = cli_parse("bench", tables, argc, argv);

    if (first < 0)
        return CLI_USAGE;
    if (options.help)
        return help(tables);
    if (first < argc && !strcmp(argv[first], "line"))
        return bench_line_command(argc - first - 1, argv + first + 1);
    if (first < argc && !strcmp(argv[first], "copy") && argc - first == 1) {
        if (!options.span)
            options.span = COPY_SPAN;
        return bench_blk(&options, "copy");
    }
    if (argc - first != 2 || strcmp(argv[first], "blk")) {
        cli_complain("write what to measure, as in: outboard bench blk vhost-user:PATH");
        return CLI_USAGE;
    }
    return bench_blk(&options, argv[first + 1]);
}
