/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/*
 * What subcommands share: options, messages, numbers. What devices share beyond that is in
 * cli/serve.h.
 */

#include <outboard/log.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses, besides 0. */
#define CLI_FAILED 1
#define CLI_USAGE 2

struct store_ops;

/* The program's stores, the last NULL; src/cli/stores.c, or a test's own. */
extern const struct store_ops *const cli_stores[];

/* The subcommands; argv[0] is the subcommand's name. They return an exit status. */
int cli_bench(int argc, char **argv);
int cli_blk(int argc, char **argv);

/* One option. */
struct cli_option {
    const char *name;     /* without the dashes */
    const char *argument; /* its name in the help text; NULL: takes none */
    const char *help;     /* lines of up to 50 characters */
    /* Sets it in target. @return false if the argument is wrong, which was said. */
    bool (*set)(void *target, const char *name, const char *argument);
};

/* Options that belong together; an entry without a name ends them. */
struct cli_options {
    const struct cli_option *options;
    void *target;
};

/*
 * Reads the options of a command line from argv[1] on, and moves the other arguments to the
 * end. @return the index of the first of these, or -1 if something was wrong, which was said.
 * tables: ended by an entry without options.
 */
int cli_parse(const char *command, const struct cli_options *tables, int argc, char **argv);

/* Prints the help lines of options. */
void cli_print_options(const struct cli_options *tables);

/* Prints a message of one line, "outboard: ...", on stderr. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Reads a decimal number. @return false if it is none from min to max, which was said. */
bool cli_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* Reads a size with a suffix, as cli_number(). */
bool cli_size(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* Finds a word. @return its index, or -1 if it is none of the words, which was said. */
int cli_word(const char *name, const char *text, const char *const *words);

/*
 * Reads a list of CPUs such as 0,2-3 into cpus, at most max, each once.
 * @return how many, 0 if something is wrong, which was said.
 */
unsigned cli_cpus(const char *name, const char *text, int *cpus, unsigned max);

/* Names of log levels, in their order, the last NULL. */
extern const char *const cli_log_levels[];

/* Writes a line to stderr: an ob_log's write verb. */
void cli_log_write(void *ctx, enum ob_log_level level, const char *text);

#endif
