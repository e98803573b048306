/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <outboard/log.h>

/* Formats a message for the hook. log may be NULL. Text that a peer chose must be bounded by
 * a precision; the whole is cut at 512 bytes. */
void log_write(const struct ob_log *log, enum ob_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(log, ...) log_write((log), OB_LOG_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_write((log), OB_LOG_WARNING, __VA_ARGS__)
#define log_info(log, ...) log_write((log), OB_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_write((log), OB_LOG_DEBUG, __VA_ARGS__)

#endif
