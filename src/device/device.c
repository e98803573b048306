/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices
 *
 * What all device types share: the part between a transport, which speaks of features,
 * configuration and queues, and a type's table of verbs. Ranges are checked here, so that no
 * type has to. All of it runs on the control thread; how queues are reached on their workers is
 * device/device_queue.c.
 */

#include "device/device.h"

#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ob_device_new(const struct ob_device_ops *ops, void *dev,
                  const struct ob_device_options *options, struct ob_device **ret)
{
    struct ob_device *device;

    if (ops->size < sizeof(*ops) || !options->n_workers || !options->n_queues ||
        options->n_queues > OB_DEVICE_QUEUES_MAX || options->queue_size_max > OB_QUEUE_SIZE_MAX ||
        ops->request_size < sizeof(struct ob_chain))
        return -EINVAL;
    device = calloc(1, sizeof(*device));
    if (!device)
        return -ENOMEM;
    device->queues = calloc(options->n_queues, sizeof(*device->queues));
    if (!device->queues) {
        free(device);
        return -ENOMEM;
    }
    device->ops = ops;
    device->dev = dev;
    device->options = *options;
    if (!device->options.queue_size_max)
        device->options.queue_size_max = OB_QUEUE_SIZE_MAX;
    for (unsigned i = 0; i < options->n_queues; i++)
        device_queue_init(device, i);
    *ret = device;
    return 0;
}

int ob_device_free(struct ob_device *device)
{
    int result;

    if (!device)
        return 0;
    for (unsigned i = 0; i < device->options.n_queues; i++)
        device_queue_done(&device->queues[i]);
    ob_map_unref(device->map);
    result = device->ops->free(device->dev);
    free(device->queues);
    free(device);
    return result;
}

const struct ob_device_ops *ob_device_type(const struct ob_device *device)
{
    return device->ops;
}

void *ob_device_part(const struct ob_device *device)
{
    return device->dev;
}

unsigned ob_device_queues(const struct ob_device *device)
{
    return device->options.n_queues;
}

unsigned ob_device_queue_size_max(const struct ob_device *device)
{
    return device->options.queue_size_max;
}

uint64_t ob_device_features(const struct ob_device *device)
{
    return device->ops->features(device->dev) | ob_ring_features();
}

int ob_device_set_features(struct ob_device *device, uint64_t features)
{
    if (features & ~ob_device_features(device))
        return -EINVAL;
    device->features = features;
    if (device->ops->set_features)
        device->ops->set_features(device->dev, features);
    return 0;
}

int ob_device_config_read(struct ob_device *device, size_t offset, void *buf, size_t len)
{
    if (!range_inside(offset, len, device->ops->config_size))
        return -EINVAL;
    device->ops->config_read(device->dev, offset, buf, len);
    return 0;
}

int ob_device_config_write(struct ob_device *device, size_t offset, const void *buf, size_t len)
{
    if (!range_inside(offset, len, device->ops->config_size) || !device->ops->config_write)
        return -EINVAL;
    return device->ops->config_write(device->dev, offset, buf, len);
}

void ob_device_listen(struct ob_device *device, const struct ob_device_listener *listener)
{
    device->listener = listener ? *listener : (struct ob_device_listener){0};
    if (!listener && device->ops->left)
        device->ops->left(device->dev);
}

void ob_device_config_changed(struct ob_device *device)
{
    if (device->listener.config_changed)
        device->listener.config_changed(device->listener.ctx);
}
