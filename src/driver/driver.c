/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers
 *
 * The driver side, put together: a front-end of any kind, shared memory, and queues of prepared
 * requests. It mirrors src/device: a front-end never touches a descriptor, and a client never
 * sees a message.
 *
 * Connecting, starting and stopping wait for the other side and belong to one thread; after
 * that a queue touches nothing but its own ring and its own two eventfds.
 */

#include "driver/driver.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUEUE_SIZE_DEFAULT 256
#define REQUEST_RANGES_DEFAULT 8
#define RANGES_MAX 1024

static const struct ob_frontend_ops *const frontends[] = {&ob_frontend_vhost_user};

static bool is_of_kind(const char *endpoint, const struct ob_frontend_ops *ops)
{
    size_t len = strlen(ops->name);

    return endpoint && !strncmp(endpoint, ops->name, len) && endpoint[len] == ':';
}

static int open_frontend(struct ob_driver *driver)
{
    const char *endpoint = driver->options.endpoint;
    const struct ob_frontend_ops *ops = driver->options.frontend;
    struct ob_frontend_options options = {
        .log = driver->log,
        .timeout_ms = driver->options.timeout_ms,
    };

    for (unsigned i = 0; i < array_size(frontends) && !ops; i++)
        if (is_of_kind(endpoint, frontends[i]))
            ops = frontends[i];
    if (!ops || !is_of_kind(endpoint, ops)) {
        log_error(driver->log, "'%.200s' is no endpoint: write vhost-user:PATH",
                  endpoint ? endpoint : "");
        return -EINVAL;
    }
    options.address = endpoint + strlen(ops->name) + 1;
    return ops->open(&options, &driver->frontend);
}

static int negotiate(struct ob_driver *driver)
{
    uint64_t offered, needed = feature_bit(VIRTIO_F_VERSION_1);
    unsigned queues;
    int result = driver->frontend->ops->features(driver->frontend, &offered);

    if (!result)
        result = driver->frontend->ops->queues(driver->frontend, &queues);
    if (result < 0)
        return result;
    if (needed & ~offered) {
        log_error(driver->log, "the device does not offer virtio 1 (features 0x%llx)",
                  (unsigned long long)offered);
        return -ENOTSUP;
    }
    if (driver->options.n_queues > queues) {
        log_error(driver->log, "%u queues were asked for, but the device has %u",
                  driver->options.n_queues, queues);
        return -EINVAL;
    }
    driver->features = offered & (driver->options.features | needed);
    /* Prepared requests own their descriptors of a split ring, so these cannot go round. */
    if (!(driver->features & feature_bit(VIRTIO_F_RING_PACKED)))
        driver->features &= ~feature_bit(VIRTIO_F_IN_ORDER);
    return driver->frontend->ops->set_features(driver->frontend, driver->features);
}

static int queue_init(struct ob_driver *driver, unsigned index)
{
    struct ob_driver_queue *queue = &driver->queues[index];
    uint8_t *part = shared_queue(&driver->shared, index);
    struct ring_driver_setup setup = {
        .features = driver->features,
        .size = driver->options.queue_size,
        .desc = part,
        .driver = part + driver->shared.driver,
        .device = part + driver->shared.device,
        .tables = (struct vring_desc *)(part + driver->shared.tables),
        .table_entries = driver->options.request_ranges,
    };
    int result = shared_addr(&driver->shared, setup.tables, 0, &setup.tables_addr);

    if (!result)
        result = prepared_init(&queue->ring, &setup, driver->options.request_ranges);
    if (result < 0) {
        log_error(driver->log, "a queue of %u descriptors cannot take requests of %u ranges",
                  setup.size, driver->options.request_ranges);
        return result;
    }
    queue->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->kick < 0)
        return -errno;
    /* Given also to a device that is never asked to call: some fail without one. */
    queue->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    prepared_no_call(&queue->ring);
    return queue->call < 0 ? -errno : 0;
}

static int allocate(struct ob_driver *driver)
{
    struct ob_region_info region;
    int result = shared_init(&driver->shared, &driver->options, driver->features);

    if (result < 0)
        return result;
    for (unsigned i = 0; i < driver->options.n_queues && !result; i++)
        result = queue_init(driver, i);
    if (result < 0)
        return result;
    region = shared_region(&driver->shared);
    return driver->frontend->ops->set_memory(driver->frontend, &region, &driver->shared.fd, 1);
}

int ob_driver_new(const struct ob_driver_options *options, struct ob_driver **ret)
{
    unsigned n_queues = options->n_queues ? options->n_queues : 1;
    struct ob_driver *driver = calloc(1, sizeof(*driver) + n_queues * sizeof(driver->queues[0]));
    int result;

    if (!driver)
        return -ENOMEM;
    driver->log = options->log;
    driver->options = *options;
    driver->options.n_queues = n_queues;
    if (!driver->options.queue_size)
        driver->options.queue_size = QUEUE_SIZE_DEFAULT;
    if (!driver->options.request_ranges)
        driver->options.request_ranges = REQUEST_RANGES_DEFAULT;
    driver->shared.fd = -1;
    for (unsigned i = 0; i < n_queues; i++)
        driver->queues[i] = (struct ob_driver_queue){
            .driver = driver, .index = i, .kick = -1, .call = -1};
    if (driver->options.queue_size > OB_QUEUE_SIZE_MAX ||
        driver->options.request_ranges > RANGES_MAX)
        result = -EINVAL;
    else
        result = open_frontend(driver);
    if (!result)
        result = negotiate(driver);
    if (!result)
        result = allocate(driver);
    driver->options.endpoint = NULL; /* the caller's */
    if (result < 0) {
        ob_driver_free(driver);
        return result;
    }
    *ret = driver;
    return 0;
}

void ob_driver_free(struct ob_driver *driver)
{
    if (!driver)
        return;
    ob_driver_stop(driver);
    if (driver->frontend)
        driver->frontend->ops->close(driver->frontend);
    for (unsigned i = 0; i < driver->options.n_queues; i++) {
        prepared_done(&driver->queues[i].ring);
        fd_close(&driver->queues[i].kick);
        fd_close(&driver->queues[i].call);
    }
    shared_done(&driver->shared);
    free(driver);
}

uint64_t ob_driver_features(const struct ob_driver *driver)
{
    return driver->features;
}

struct ob_frontend *ob_driver_frontend(struct ob_driver *driver)
{
    return driver->frontend;
}

void *ob_driver_buffers(struct ob_driver *driver)
{
    return driver->shared.base + driver->shared.buffers;
}

struct ob_driver_queue *ob_driver_queue(struct ob_driver *driver, unsigned index)
{
    return &driver->queues[index];
}

static int queue_start(struct ob_driver *driver, struct ob_driver_queue *queue)
{
    struct prepared_base base = prepared_base(&queue->ring);
    uint64_t part = (uintptr_t)shared_queue(&driver->shared, queue->index);
    struct ob_frontend_queue setup = {
        .setup = {
            .size = driver->options.queue_size,
            .features = driver->features,
            .space = OB_SPACE_RING,
            .desc = part,
            .driver = part + driver->shared.driver,
            .device = part + driver->shared.device,
            .base = {base.avail_idx, base.used_idx, base.avail_wrap, base.used_wrap},
        },
        .kick = queue->kick,
        .call = queue->call,
    };
    int result = driver->frontend->ops->queue_start(driver->frontend, queue->index, &setup);

    queue->started = !result;
    return result;
}

int ob_driver_start(struct ob_driver *driver)
{
    int result = 0;

    for (unsigned i = 0; i < driver->options.n_queues && !result; i++)
        if (!driver->queues[i].started)
            result = queue_start(driver, &driver->queues[i]);
    return result;
}

int ob_driver_stop(struct ob_driver *driver)
{
    int result = 0;

    for (unsigned i = 0; i < driver->options.n_queues; i++) {
        struct ob_driver_queue *queue = &driver->queues[i];
        struct ob_queue_base base;
        int stopped;

        if (!queue->started)
            continue;
        stopped = driver->frontend->ops->queue_stop(driver->frontend, i, &base);
        queue->started = false;
        if (!result)
            result = stopped;
    }
    return result;
}

unsigned ob_driver_requests(const struct ob_driver_queue *queue)
{
    return queue->ring.count;
}

int ob_driver_lay_out(struct ob_driver_queue *queue, uint32_t request,
                      const struct ob_driver_range *ranges, unsigned n_out, unsigned n_in)
{
    struct ring_range translated[RANGES_MAX];
    unsigned count = n_out + n_in;

    if (!count || request >= queue->ring.count || queue->ring.requests[request].out)
        return -EINVAL;
    if (count > queue->ring.ranges_max)
        return -E2BIG;
    for (unsigned i = 0; i < count; i++) {
        if (!ranges[i].len || shared_addr(&queue->driver->shared, ranges[i].memory, ranges[i].len,
                                          &translated[i].addr) < 0)
            return -EINVAL;
        translated[i].len = ranges[i].len;
    }
    prepared_lay_out(&queue->ring, request, translated, n_out, n_in);
    return 0;
}

void ob_driver_submit(struct ob_driver_queue *queue, const uint32_t *requests, unsigned count)
{
    if (count && prepared_submit(&queue->ring, requests, count))
        fd_signal(queue->kick);
}

int ob_driver_reap(struct ob_driver_queue *queue, struct ob_driver_used *used, unsigned max)
{
    return prepared_reap(&queue->ring, used, max);
}

int ob_driver_wait(struct ob_driver_queue *queue, int timeout_ms)
{
    struct pollfd fd = {.fd = queue->call, .events = POLLIN};
    uint64_t value;
    int result = 0;

    while (!prepared_ask_call(&queue->ring)) {
        int count = poll(&fd, 1, timeout_ms);

        if (count < 0 && errno == EINTR)
            continue;
        result = count < 0 ? -errno : count ? 0 : -ETIMEDOUT;
        if (result < 0)
            break;
        if (read(queue->call, &value, sizeof(value)) < 0 && errno != EAGAIN) {
            result = -errno;
            break;
        }
    }
    prepared_no_call(&queue->ring);
    return result;
}
