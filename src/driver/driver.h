/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_DRIVER_H
#define DRIVER_DRIVER_H

#include "driver/shared.h"
#include "ring/prepared.h"

#include <outboard/driver.h>

struct ob_driver_queue {
    struct ob_driver *driver;
    unsigned index;
    struct prepared ring;
    int kick, call; /* eventfds, or -1 */
    bool started;
};

struct ob_driver {
    const struct ob_log *log;
    struct ob_driver_options options;
    struct ob_frontend *frontend;
    uint64_t features;
    struct shared shared;
    struct ob_driver_queue queues[];
};

#endif
