/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_COUNTERS_H
#define CLI_COUNTERS_H

#include <outboard/device.h>
#include <stdbool.h>

/* Prints a table of the counters of each queue that was used, on stderr. */
void counters_print(const struct ob_device *device);

/* True if some queue has served a request. */
bool counters_any(const struct ob_device *device);

#endif
