/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding and opening stores.
 *
 * A source is "NAME:ADDRESS", and the table says which names there are. What has no known name
 * in front is for the first store of the table, whole: with the usual table, a path. So a file
 * called "memory:x" is written "./memory:x". Control thread only.
 */

#include "device/store.h"

#include "base/log.h"
#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct store_ops *const store_table[] = {&store_file, &store_memory, &store_null, NULL};

/* The store that a source names, and its address; the table's first if it names none. */
static const struct store_ops *find(const struct store_ops *const *table, const char *source,
                                    const char **ret_address)
{
    for (const struct store_ops *const *ops = table; *ops; ops++) {
        size_t len = strlen((*ops)->name);
        if (!strncmp(source, (*ops)->name, len) && source[len] == ':') {
            *ret_address = source + len + 1;
            return *ops;
        }
    }
    *ret_address = source;
    return table[0];
}

int store_open(const struct store_ops *const *table, const char *source,
               const struct store_options *options, struct store **ret)
{
    struct store_options own = *options;
    const struct store_ops *ops = find(table, source, &own.address);

    if (!own.address[0]) {
        log_error(options->log, "the source '%s' lacks an address: write %s:%s", source, ops->name,
                  ops->address);
        return -EINVAL;
    }
    return ops->open(&own, ret);
}

int store_close(struct store *store)
{
    return store ? store->ops->close(store) : 0;
}

/* How far a suffix shifts; -1 if it is none. */
static int suffix_shift(const char *suffix)
{
    static const char letters[] = "kmgtpe";

    if (!suffix[0] || !strcasecmp(suffix, "b"))
        return 0;
    const char *letter = strchr(letters, tolower((unsigned char)suffix[0]));
    if (!letter)
        return -1;
    if (suffix[1] && strcasecmp(suffix + 1, "b") && strcasecmp(suffix + 1, "ib"))
        return -1;
    return 10 * (int)(letter - letters + 1);
}

int store_parse_size(const char *text, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return -ERANGE;
    int shift = suffix_shift(end);
    if (shift < 0)
        return -EINVAL;
    if (number > UINT64_MAX >> shift)
        return -ERANGE;
    *ret = (uint64_t)number << shift;
    return 0;
}

int store_parse_capacity(const struct store_options *options, const char *name, uint64_t *ret)
{
    uint64_t capacity;
    int error = store_parse_size(options->address, &capacity);

    /* The kernel's offsets are signed. */
    if (error || !capacity || capacity > INT64_MAX) {
        log_error(options->log,
                  "'%s' in '%s:%s' is not a size: write digits and k, M, G or T, such as %s:1G",
                  options->address, name, options->address, name);
        return error ? error : -EINVAL;
    }
    if (capacity % STORE_BLOCK_MIN) {
        log_error(options->log, "the size %" PRIu64 " in '%s:%s' is not a multiple of %u bytes",
                  capacity, name, options->address, STORE_BLOCK_MIN);
        return -EINVAL;
    }
    *ret = capacity;
    return 0;
}
