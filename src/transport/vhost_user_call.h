/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_VHOST_USER_CALL_H
#define TRANSPORT_VHOST_USER_CALL_H

#include <outboard/device.h>

/*
 * A call sink that outlives a reset of the device: the session holds it, and lends it to the
 * device as often as needed. References may be dropped on any thread; the rest belongs to the
 * control thread.
 */
struct vhost_user_call;

/* sink: consumed on success. 0 or -ENOMEM. */
int vhost_user_call_new(const struct ob_call *sink, struct vhost_user_call **ret);

/* The same for an eventfd, already checked; consumed on success. 0 or -ENOMEM. */
int vhost_user_call_new_eventfd(int fd, struct vhost_user_call **ret);

/* A sink for the device, with a reference of its own; call may be NULL: nobody listens. */
struct ob_call vhost_user_call_lend(struct vhost_user_call *call);

/* Calls the driver. */
void vhost_user_call_now(struct vhost_user_call *call);

/* Drops the session's reference; NULL is fine. */
void vhost_user_call_unref(struct vhost_user_call *call);

#endif
