/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options of subcommands. Each is a row of a table, from which both the reading and the help
 * text are made. A subcommand gives several tables: its own and those that it shares.
 */

#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options of one subcommand, those that it shares included. */
#define OPTIONS_MAX 64

/* Where the help of an option begins. */
#define HELP_COLUMN 26

/* An option with the target of its table. */
struct row {
    const struct cli_option *option;
    void *target;
};

static int collect(const struct cli_options *tables, struct option *ret_long, struct row *ret_rows)
{
    int n = 0;

    for (; tables->options; tables++) {
        for (const struct cli_option *option = tables->options; option->name; option++) {
            if (n == OPTIONS_MAX)
                abort(); /* a table of ours has grown */
            ret_long[n] = (struct option){
                .name = option->name,
                .has_arg = option->argument ? required_argument : no_argument,
            };
            ret_rows[n++] = (struct row){.option = option, .target = tables->target};
        }
    }
    ret_long[n] = (struct option){0};
    return n;
}

int cli_parse(const char *command, const struct cli_options *tables, int argc, char **argv)
{
    struct option long_options[OPTIONS_MAX + 1];
    struct row rows[OPTIONS_MAX];

    collect(tables, long_options, rows);
    optind = 1;
    opterr = 0;
    for (;;) {
        int index = -1;
        int found = getopt_long(argc, argv, ":", long_options, &index);
        if (found < 0)
            return optind;
        if (found == ':' || found == '?') {
            cli_complain("%s '%s': 'outboard %s --help' lists the options",
                         found == ':' ? "a value is missing after" : "there is no option",
                         argv[optind - 1], command);
            return -1;
        }
        const struct row *row = &rows[index];
        if (!row->option->set(row->target, row->option->name, optarg))
            return -1;
    }
}

static void print_option(const struct cli_option *option)
{
    const char *line = option->help;
    int column = printf("  --%s%s%s", option->name, option->argument ? " " : "",
                        option->argument ? option->argument : "");

    if (column >= HELP_COLUMN) {
        printf("\n");
        column = 0;
    }
    while (line) {
        const char *end = strchrnul(line, '\n');
        printf("%*s%.*s\n", HELP_COLUMN - column, "", (int)(end - line), line);
        column = 0;
        line = *end ? end + 1 : NULL;
    }
}

void cli_print_options(const struct cli_options *tables)
{
    for (; tables->options; tables++)
        for (const struct cli_option *option = tables->options; option->name; option++)
            print_option(option);
}
