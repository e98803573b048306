/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stores of the program. A file of its own, for a test program that is the same but for its
 * stores.
 */

#include "cli/cli.h"

#include "device/store.h"

const struct store_ops *const cli_stores[] = {&store_file, &store_memory, &store_null, NULL};
