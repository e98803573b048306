/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program: a table of subcommands. Called by a name such as "outboard-blk", it is that
 * subcommand: management software starts back-ends without arguments of ours.
 */

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"bench", cli_bench, "measures a device that somebody serves"},
    {"blk", cli_blk, "a disk: a file, a block device or memory as virtio-blk"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int help(void)
{
    printf("Usage: outboard COMMAND [OPTION...]\n"
           "Serves virtio devices to virtual machines.\n"
           "\n"
           "Commands:\n");
    for (unsigned i = 0; i < N_COMMANDS; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\n"
           "'outboard COMMAND --help' says more; so does 'man outboard'.\n");
    return 0;
}

static int run(const char *name, int argc, char **argv)
{
    for (unsigned i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, name))
            return commands[i].run(argc, argv);
    cli_complain("there is no command '%s': 'outboard --help' lists them", name);
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    static const char prefix[] = "outboard-";
    const char *name = argc ? strrchr(argv[0], '/') : NULL;

    if (!argc)
        return CLI_USAGE;
    name = name ? name + 1 : argv[0];
    if (!strncmp(name, prefix, sizeof(prefix) - 1)) {
        for (unsigned i = 0; i < N_COMMANDS; i++)
            if (!strcmp(commands[i].name, name + sizeof(prefix) - 1))
                return commands[i].run(argc, argv);
    }
    if (argc < 2) {
        help();
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return help();
    if (!strcmp(argv[1], "--version")) {
        printf("outboard %s\n", OB_BUILD_VERSION);
        return 0;
    }
    return run(argv[1], argc - 1, argv + 1);
}
