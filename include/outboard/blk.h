/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_BLK_H
#define OUTBOARD_BLK_H

#include <outboard/device.h>
#include <outboard/export.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Options of a block device; zero-initialise for the defaults. */
struct ob_blk_options {
    struct ob_device_options device;
    const char *source;      /**< a path, "memory:SIZE" or "null:SIZE" */
    bool read_only;          /**< offer the disk read-only */
    const char *serial;      /**< at most 20 bytes are kept (virtio 1.3, 5.2.6); NULL: none */
    uint32_t block_size;     /**< logical block size, a power of two, 512 to 65536; 0: the
                                  source's own, at least 512 */
    uint32_t seg_max;        /**< data ranges a request; 0: the default, 126 */
};

/**
 * Opens the source and creates a virtio-blk device (virtio 1.3, 5.2) on it.
 * @return 0; -EINVAL, -ENOENT, -EACCES, -EROFS and so on, with the cause in the log.
 */
OB_PUBLIC int ob_blk_new(const struct ob_blk_options *options, struct ob_device **ret);

/**
 * Reads the size of the source again, and tells the driver if it changed.
 * @return 0, or -errno with the cause in the log. Control thread.
 */
OB_PUBLIC int ob_blk_resize(struct ob_device *device);

/** The capacity in bytes. Control thread. */
OB_PUBLIC uint64_t ob_blk_capacity(const struct ob_device *device);

#ifdef __cplusplus
}
#endif

#endif
