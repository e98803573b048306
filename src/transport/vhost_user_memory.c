/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: guest memory
 *
 * Messages edit the session's memory; queues see the result when it is published and given to
 * the device. A message that takes memory away is answered only when that memory is in use
 * nowhere, the kernel included: the front-end may give it to something else then. One that
 * only adds is answered when all queues have the new map, so that a descriptor that points
 * into the new region, which the driver may now write, is not taken for an error.
 *
 * A table that is refused half way leaves nothing: what the front-end believes is there is
 * not, and a session in such a state must not serve.
 */

#include "transport/vhost_user_session.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void map_taken(void *ctx, int result)
{
    struct vhost_user_session *session = ctx;

    if (vhost_user_arrived(session))
        vhost_user_release(session, result);
}

static void map_released(void *ctx)
{
    map_taken(ctx, 0);
}

static void map_given(void *ctx, int result)
{
    vhost_user_arrived(ctx);
}

void vhost_user_memory_give(struct vhost_user_session *session)
{
    int result;

    vhost_user_expect(session);
    result = ob_device_set_map(session->device, ob_memory_map(session->memory), map_given, session);
    if (result < 0) {
        vhost_user_unexpect(session);
        vhost_user_end(session, OB_LOG_ERROR, "connection dropped: no memory map: %s",
                       strerror(-result));
    }
}

/* Makes the edited memory what the queues use, and holds the message until they do; with
 * until_released also until nothing uses what was before. */
static int publish(struct vhost_user_session *session, bool until_released)
{
    int result;

    if (until_released) {
        vhost_user_hold(session);
        vhost_user_expect(session);
    }
    result = ob_memory_publish(session->memory, until_released ? map_released : NULL, session);
    if (result < 0) {
        if (until_released) {
            vhost_user_unexpect(session);
            vhost_user_release(session, result);
        }
        return result;
    }
    vhost_user_hold(session);
    vhost_user_expect(session);
    result = ob_device_set_map(session->device, ob_memory_map(session->memory), map_taken, session);
    if (result < 0) {
        vhost_user_unexpect(session);
        vhost_user_release(session, result);
    }
    return result;
}

static struct ob_region_info region_info(const struct vhost_user_region *region)
{
    return (struct ob_region_info){
        .driver_addr = region->guest_addr,
        .ring_addr = region->user_addr,
        .size = region->size,
        .file_offset = region->mmap_offset,
        .access = OB_ACCESS_BOTH,
    };
}

/* The memory logs why it refuses one. */
static int add_region(struct vhost_user_session *session, const struct vhost_user_region *region,
                      int fd)
{
    const struct channel_ops *ops = session->channel->ops;
    const struct ob_region_info info = region_info(region);

    if (ops->add_region)
        return ops->add_region(session->channel, session->memory, &info, fd);
    return ob_memory_add(session->memory, &info, fd);
}

int vhost_user_set_mem_table(struct vhost_user_session *session)
{
    struct vhost_user_table table;
    int result = vhost_user_decode_table(&session->payload, session->header.size, &table);

    if (!result && session->channel->ops->carries_fds && session->fds.count != table.count)
        result = -EBADMSG;
    if (result < 0) {
        vhost_user_complain(session,
                            "SET_MEM_TABLE refused: its regions, size (%u bytes) and "
                            "descriptors (%u) do not fit together",
                            session->header.size, session->fds.count);
        return result;
    }
    ob_memory_clear(session->memory);
    for (unsigned i = 0; i < table.count && !result; i++)
        result = add_region(session, &table.regions[i],
                            i < session->fds.count ? session->fds.fd[i] : -1);
    if (result < 0)
        ob_memory_clear(session->memory);
    /* Published in any case: what was before is gone for the front-end, too. */
    int published = publish(session, true);
    return result ? result : published;
}

int vhost_user_get_max_mem_slots(struct vhost_user_session *session)
{
    vhost_user_reply_u64(session, OB_MEMORY_SLOTS);
    return 0;
}

int vhost_user_add_mem_reg(struct vhost_user_session *session)
{
    struct vhost_user_slot slot;
    struct ob_region_info info;
    int result = vhost_user_decode_slot(&session->payload, &slot);

    if (result < 0) {
        vhost_user_complain(session, "ADD_MEM_REG refused: an impossible region");
        return result;
    }
    result = add_region(session, &slot.region, session->fds.count ? session->fds.fd[0] : -1);
    if (result < 0)
        return result;
    result = publish(session, false);
    if (result < 0) {
        info = region_info(&slot.region);
        ob_memory_remove(session->memory, &info);
    }
    return result;
}

int vhost_user_rem_mem_reg(struct vhost_user_session *session)
{
    struct vhost_user_slot slot;
    struct ob_region_info info;
    int result = vhost_user_decode_slot(&session->payload, &slot);

    if (result < 0) {
        vhost_user_complain(session, "REM_MEM_REG refused: an impossible region");
        return result;
    }
    info = region_info(&slot.region);
    result = ob_memory_remove(session->memory, &info);
    if (result < 0) {
        vhost_user_complain(session,
                            "REM_MEM_REG refused: no region of 0x%" PRIx64
                            " bytes at guest address 0x%" PRIx64,
                            info.size, info.driver_addr);
        return result;
    }
    return publish(session, true);
}
