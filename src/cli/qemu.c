/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's arguments, ready to be pasted. The guest's memory must be shared with us, by a memory
 * backend; its size is the one thing that the user has to adapt.
 */

#include "cli/qemu.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* QEMU's largest ring. */
#define QUEUE_SIZE_MAX 1024

/* What follows a path in our address when we are the client. */
static const char client_suffix[] = ",client";

/* True if a shell takes it as it stands. */
static bool is_plain(const char *text, size_t len)
{
    for (; len; len--, text++)
        if (!isalnum((unsigned char)*text) && !strchr("/._-+:@=,", *text))
            return false;
    return true;
}

/* Prints a path inside an argument that is quoted if quote: QEMU wants commas twice, and the
 * shell a single quote outside of quotes. */
static void print_path(const char *path, size_t len, bool quote)
{
    for (; len; len--, path++)
        if (*path == ',')
            fputs(",,", stdout);
        else if (*path == '\'' && quote)
            fputs("'\\''", stdout);
        else
            putchar(*path);
}

static void print_chardev(const struct qemu_device *device)
{
    size_t len = strlen(device->address);
    size_t suffix = sizeof(client_suffix) - 1;
    bool client = len > suffix && !strcmp(device->address + len - suffix, client_suffix);
    if (client)
        len -= suffix;
    bool quote = !is_plain(device->address, len);
    printf("  -chardev %ssocket,id=%s,path=", quote ? "'" : "", device->name);
    print_path(device->address, len, quote);
    printf("%s%s \\\n", client ? ",server=on" : "", quote ? "'" : "");
}

/* What QEMU takes: a power of two that is not too large. */
static unsigned queue_size(const struct qemu_device *device)
{
    unsigned size = QUEUE_SIZE_MAX;

    while (size > device->queue_size)
        size /= 2;
    return size;
}

void qemu_print_arguments(const struct qemu_device *device)
{
    printf("QEMU connects to it with these arguments (the 4G is the guest's memory):\n"
           "\n"
           "  -m 4G -object memory-backend-memfd,id=mem0,size=4G,share=on \\\n"
           "  -machine memory-backend=mem0 \\\n");
    print_chardev(device);
    printf("  -device %s,chardev=%s,queue-size=%u", device->driver, device->name,
           queue_size(device));
    if (device->n_queues)
        printf(",num-queues=%u", device->n_queues);
    printf("\n"
           "\n"
           "or, with huge pages, in place of the first line:\n"
           "\n"
           "  -m 4G -object memory-backend-file,id=mem0,size=4G,share=on,"
           "mem-path=/dev/hugepages \\\n");
    fflush(stdout);
}
