/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log hook
 *
 * The library never prints. Each object carries the hook that its creator gave it, and all
 * messages pass here, on any thread. Formatting is skipped for levels that nobody reads, so
 * debug messages may stand in control paths; data paths do not log, they count.
 */

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define LOG_TEXT_MAX 512 /* a line that a person reads; longer is a peer's doing */

void log_write(const struct ob_log *log, enum ob_log_level level, const char *format, ...)
{
    int saved_errno = errno;
    char text[LOG_TEXT_MAX];
    va_list args;

    if (!log || !log->write || level > log->level)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log->write(log->ctx, level, text);
    errno = saved_errno;
}
