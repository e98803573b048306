/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLI_QEMU_H
#define CLI_QEMU_H

/* A vhost-user device, as QEMU is to be told of it. */
struct qemu_device {
    const char *driver;
    const char *name;    /* of its character device */
    const char *address; /* PATH or PATH,client, as after --on vhost-user: */
    unsigned n_queues;   /* 0: QEMU's own choice, one per virtual CPU */
    unsigned queue_size; /* the largest that the device takes; QEMU may take less */
};

/* Prints the arguments that connect QEMU to a device, ready to be pasted into a shell. */
void qemu_print_arguments(const struct qemu_device *device);

#endif
