/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sinks of a session
 *
 * A front-end gives the call descriptor once and expects it to be good for as long as it stays
 * connected, also when it resets the device; the device forgets its sinks then. So the session
 * keeps each sink and lends it out. The queue's worker drops what it was lent on its own
 * thread, hence the atomic count; the underlying sink ends with the last reference.
 */

#include "transport/vhost_user_call.h"

#include "base/fd.h"
#include "base/util.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

struct vhost_user_call {
    unsigned refs; /* atomic */
    struct ob_call sink;
};

static void eventfd_call(void *ctx)
{
    /* Full means that the driver has been called already. */
    (void)fd_signal((int)(intptr_t)ctx);
}

static void eventfd_release(void *ctx)
{
    int fd = (int)(intptr_t)ctx;

    fd_close(&fd);
}

int vhost_user_call_new(const struct ob_call *sink, struct vhost_user_call **ret)
{
    struct vhost_user_call *call = calloc(1, sizeof(*call));

    if (!call)
        return -ENOMEM;
    call->refs = 1;
    call->sink = *sink;
    *ret = call;
    return 0;
}

int vhost_user_call_new_eventfd(int fd, struct vhost_user_call **ret)
{
    const struct ob_call sink = {
        .call = eventfd_call,
        .release = eventfd_release,
        .ctx = (void *)(intptr_t)fd,
    };

    return vhost_user_call_new(&sink, ret);
}

void vhost_user_call_now(struct vhost_user_call *call)
{
    if (call->sink.call)
        call->sink.call(call->sink.ctx);
}

void vhost_user_call_unref(struct vhost_user_call *call)
{
    if (!call || __atomic_sub_fetch(&call->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (call->sink.release)
        call->sink.release(call->sink.ctx);
    free(call);
}

static void lent_call(void *ctx)
{
    vhost_user_call_now(ctx);
}

static void lent_release(void *ctx)
{
    vhost_user_call_unref(ctx);
}

struct ob_call vhost_user_call_lend(struct vhost_user_call *call)
{
    if (!call)
        return (struct ob_call){0};
    __atomic_add_fetch(&call->refs, 1, __ATOMIC_RELAXED);
    return (struct ob_call){.call = lent_call, .release = lent_release, .ctx = call};
}
