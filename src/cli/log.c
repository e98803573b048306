/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of the program: lines on stderr. Each is one write(), so that lines of different
 * threads, and of different programs on one terminal, do not mix.
 */

#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

const char *const cli_log_levels[] = {"error", "warning", "info", "debug", NULL};

static const char *const prefixes[] = {
    [OB_LOG_ERROR] = "outboard: error: ",
    [OB_LOG_WARNING] = "outboard: warning: ",
    [OB_LOG_INFO] = "outboard: ",
    [OB_LOG_DEBUG] = "outboard: debug: ",
};

void cli_log_write(void *ctx, enum ob_log_level level, const char *text)
{
    struct iovec line[] = {
        {.iov_base = (char *)prefixes[level], .iov_len = strlen(prefixes[level])},
        {.iov_base = (char *)text, .iov_len = strlen(text)},
        {.iov_base = (char *)"\n", .iov_len = 1},
    };
    ssize_t n = writev(STDERR_FILENO, line, 3);

    (void)n; /* there is nobody left to tell */
}

void cli_complain(const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cli_log_write(NULL, OB_LOG_ERROR, text);
}
