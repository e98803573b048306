/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "outboard blk": a disk. It also follows the conventions that management software has for
 * back-end programs (QEMU's vhost-user.rst): --socket-path, --fd, --print-capabilities,
 * --blk-file, --read-only.
 */

#include "device/blk.h"
#include "cli/cli.h"
#include "cli/qemu.h"
#include "cli/serve.h"
#include "device/store.h"

#include <inttypes.h>
#include <outboard/blk.h>
#include <stdio.h>
#include <string.h>

/* Suggested for QEMU, whose own default of 128 is small for a fast disk. */
#define QUEUE_SIZE_SUGGESTED 256

struct blk_command {
    struct serve_options serve;
    struct ob_blk_options options;
    const char *file; /* --blk-file */
};

static bool set_read_only(void *target, const char *name, const char *argument)
{
    ((struct blk_command *)target)->options.read_only = true;
    return true;
}

static bool set_serial(void *target, const char *name, const char *argument)
{
    if (strlen(argument) > VIRTIO_BLK_ID_BYTES) {
        cli_complain("--%s takes at most %d characters, not the %zu of '%s'", name,
                     VIRTIO_BLK_ID_BYTES, strlen(argument), argument);
        return false;
    }
    ((struct blk_command *)target)->options.serial = argument;
    return true;
}

static bool set_block_size(void *target, const char *name, const char *argument)
{
    uint64_t size;

    if (!cli_size(name, argument, STORE_BLOCK_MIN, STORE_BLOCK_MAX, &size))
        return false;
    if (size & (size - 1)) {
        cli_complain("--%s takes a power of two, such as 512 or 4096, not '%s'", name, argument);
        return false;
    }
    ((struct blk_command *)target)->options.block_size = (uint32_t)size;
    return true;
}

static bool set_file(void *target, const char *name, const char *argument)
{
    ((struct blk_command *)target)->file = argument;
    return true;
}

static bool set_nothing(void *target, const char *name, const char *argument)
{
    return true;
}

static const struct cli_option blk_option_table[] = {
    {"read-only", NULL, "the guest cannot write", set_read_only},
    {"serial", "TEXT", "what the guest sees as serial number, up to 20\ncharacters", set_serial},
    {"block-size", "SIZE", "logical block size, 512 to 64k (the source's own)", set_block_size},
    {"blk-file", "PATH", "the same as the source file:PATH", set_file},
    {"print-capabilities", NULL, "print them in JSON, for management software", set_nothing},
    {0},
};

/* What the conventions call capabilities. All other arguments are ignored then. */
static bool print_capabilities(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--print-capabilities")) {
            puts("{\n"
                 "  \"type\": \"block\",\n"
                 "  \"features\": [\n"
                 "    \"read-only\",\n"
                 "    \"blk-file\"\n"
                 "  ]\n"
                 "}");
            return true;
        }
    }
    return false;
}

static int help(const struct cli_options *tables)
{
    printf("Usage: outboard blk SOURCE --on TRANSPORT:ADDRESS [OPTION...]\n"
           "Serves a disk, virtio-blk, to a virtual machine.\n"
           "\n"
           "Sources:\n");
    for (unsigned i = 0; cli_stores[i]; i++) {
        char form[64];
        snprintf(form, sizeof(form), i ? "%s:%s" : "[%s:]%s", cli_stores[i]->name,
                 cli_stores[i]->address);
        printf("  %-22s  %s\n", form, cli_stores[i]->help);
    }
    printf("\nOptions:\n");
    cli_print_options(tables);
    printf("\n"
           "Signals: SIGTERM ends it when all is written, SIGHUP has it look for a new size\n"
           "of the source, SIGUSR1 prints counters.\n");
    return 0;
}

static int create(void *ctx, const struct ob_device_options *options, struct ob_device **ret)
{
    struct blk_command *command = ctx;

    command->options.device = *options;
    return blk_new(&command->options, cli_stores, ret);
}

static void announce(void *ctx, const struct ob_device *device, const struct serve_place *place)
{
    const struct blk_command *command = ctx;
    uint64_t kib = ob_blk_capacity(device) >> 10;
    bool small = kib < 10 << 10;
    struct qemu_device qemu = {
        .driver = "vhost-user-blk-pci",
        .name = "disk0",
        .address = place->address,
        .n_queues = command->serve.n_queues_given ? command->serve.n_queues : 0,
        .queue_size = command->serve.queue_size ? command->serve.queue_size : QUEUE_SIZE_SUGGESTED,
    };

    printf("Serving %s (%" PRIu64 " %s%s) on %s:%s\n", command->options.source,
           small ? kib : kib >> 10, small ? "KiB" : "MiB",
           command->options.read_only ? ", read-only" : "", place->transport, place->address);
    qemu_print_arguments(&qemu);
}

static const struct serve_type blk_type = {
    .create = create,
    .announce = announce,
    .refresh = ob_blk_resize,
};

/* Finds the one source among the arguments and --blk-file. */
static bool find_source(struct blk_command *command, int n, char **arguments)
{
    if (n > 1) {
        cli_complain("one source at a time: '%s' is a second one", arguments[1]);
        return false;
    }
    if (n && command->file) {
        cli_complain("one source at a time: give either '%s' or --blk-file", arguments[0]);
        return false;
    }
    if (!n && !command->file) {
        cli_complain("what is to be served? give a source, a path or memory:1G for instance");
        return false;
    }
    command->options.source = n ? arguments[0] : command->file;
    return true;
}

int cli_blk(int argc, char **argv)
{
    struct blk_command command = {.serve = SERVE_OPTIONS_INIT};
    const struct cli_options tables[] = {
        {blk_option_table, &command},
        {serve_option_table, &command.serve},
        {NULL, NULL},
    };

    if (print_capabilities(argc, argv))
        return 0;
    int first = cli_parse("blk", tables, argc, argv);
    if (first < 0)
        return CLI_USAGE;
    if (command.serve.help)
        return help(tables);
    if (!find_source(&command, argc - first, argv + first))
        return CLI_USAGE;
    return serve(&command.serve, &blk_type, &command);
}
