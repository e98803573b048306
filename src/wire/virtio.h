/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VIRTIO_H
#define WIRE_VIRTIO_H

/*
 * Layouts and numbers of virtio 1.3 that every folder shares. The kernel's user-space headers
 * are the source; here stand only what they lack, and the split and packed ring layouts by
 * the specification's section numbers.
 */

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdint.h>

#define feature_bit(bit) (1ULL << (bit))

/* Bit 30: a vhost-user front-end and back-end speak protocol features (not a virtio bit). */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Split ring, 2.7.6 and 2.7.8: flags and idx, before the entries. */
#define SPLIT_AVAIL_HEADER 4
#define SPLIT_USED_HEADER 4

#endif
