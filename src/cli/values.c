/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading what is written after an option. Whatever is wrong is said in one line, with the
 * option, the value, and what would be right.
 */

#include "cli/cli.h"

#include "base/util.h"
#include "device/store.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cli_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end = NULL;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || !isdigit((unsigned char)text[0]) || *end || value < min || value > max) {
        cli_complain("--%s takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'", name, min,
                     max, text);
        return false;
    }
    *ret = value;
    return true;
}

bool cli_size(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t value;

    if (store_parse_size(text, &value) || value < min || value > max) {
        cli_complain("--%s takes a size from %" PRIu64 " to %" PRIu64
                     " bytes, such as 4096 or 4k, not '%s'",
                     name, min, max, text);
        return false;
    }
    *ret = value;
    return true;
}

int cli_word(const char *name, const char *text, const char *const *words)
{
    char list[256] = "";
    size_t len = 0;

    for (int i = 0; words[i]; i++)
        if (!strcmp(words[i], text))
            return i;
    for (int i = 0; words[i] && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", words[i]);
    cli_complain("--%s takes one of %s, not '%s'", name, list, text);
    return -1;
}

/* A CPU at the start of *text, which moves behind it; -1 if there is none. */
static int take_cpu(const char **text)
{
    char *end = NULL;

    if (!isdigit((unsigned char)**text))
        return -1;
    unsigned long cpu = strtoul(*text, &end, 10);
    *text = end;
    return cpu < CPU_SETSIZE ? (int)cpu : -1;
}

/* Adds a CPU. False if the list is full or it is there already. */
static bool add_cpu(int *cpus, unsigned *n, unsigned max, int cpu)
{
    for (unsigned i = 0; i < *n; i++)
        if (cpus[i] == cpu)
            return false;
    if (*n == max)
        return false;
    cpus[(*n)++] = cpu;
    return true;
}

/* Reads one "2" or "2-5" at the start of *text. */
static bool take_range(const char **text, int *cpus, unsigned *n, unsigned max)
{
    int first = take_cpu(text);
    int last = first;

    if (first < 0)
        return false;
    if (**text == '-') {
        ++*text;
        last = take_cpu(text);
    }
    if (last < first)
        return false;
    for (int cpu = first; cpu <= last; cpu++)
        if (!add_cpu(cpus, n, max, cpu))
            return false;
    return true;
}

unsigned cli_cpus(const char *name, const char *text, int *cpus, unsigned max)
{
    const char *at = text;
    unsigned n = 0;

    while (take_range(&at, cpus, &n, max)) {
        if (!*at)
            return n;
        if (*at++ != ',')
            break;
    }
    cli_complain("--%s takes a list of at most %u CPUs, each once, such as 2 or 0,4-7, not '%s'",
                 name, max, text);
    return 0;
}
