/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: features, status, reset
 *
 * Virtio features are the device's own, and bit 30, which says that protocol features exist.
 * Accepting features never stops a ring: front-ends do so with running rings (logging is
 * switched that way), and what is accepted counts from the next start of a ring on. Accepting
 * without bit 30 enables all rings at once ("Ring states"), as front-ends that know nothing of
 * protocol features never send SET_VRING_ENABLE.
 *
 * Bits of either kind that were not offered are refused: the known front-ends mask what they
 * accept by what was offered, and one that does not would go on to rely on what is not there.
 * A front-end may, however, accept what it does not implement, so nothing is ever done for the
 * sake of an accepted bit alone.
 *
 * A reset, by RESET_DEVICE or by writing status 0, is the device's, not the connection's:
 * rings, virtio features and status go back; memory, protocol features, call and error
 * descriptors and the back-end channel stay. Front-ends send memory as changes to what they
 * believe that we have, so forgetting it would leave the next driver without.
 */

#include "transport/vhost_user_session.h"

#include "base/log.h"
#include "base/util.h"
#include "wire/virtio.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define STATUS_MASK 0xffu /* device status is one byte (virtio 1.3, 2.1) */

uint64_t vhost_user_protocol_features(const struct vhost_user_session *session)
{
    uint64_t features =
        feature_bit(VHOST_USER_PROTOCOL_F_MQ) | feature_bit(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
        feature_bit(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
        feature_bit(VHOST_USER_PROTOCOL_F_RESET_DEVICE) | feature_bit(VHOST_USER_PROTOCOL_F_STATUS);

    if (ob_device_type(session->device)->config_size)
        features |= feature_bit(VHOST_USER_PROTOCOL_F_CONFIG);
    if (session->channel->ops->back_channel)
        features |= feature_bit(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
    return features;
}

int vhost_user_get_features(struct vhost_user_session *session)
{
    vhost_user_reply_u64(session, ob_device_features(session->device) |
                                      feature_bit(VHOST_USER_F_PROTOCOL_FEATURES));
    return 0;
}

int vhost_user_set_features(struct vhost_user_session *session)
{
    const uint64_t offered = ob_device_features(session->device);
    uint64_t features = session->payload.u64;
    bool speaks_protocol = features & feature_bit(VHOST_USER_F_PROTOCOL_FEATURES);
    int result;

    features &= ~feature_bit(VHOST_USER_F_PROTOCOL_FEATURES);
    result = ob_device_set_features(session->device, features);
    session->features_refused = result < 0;
    if (result < 0) {
        vhost_user_complain(
            session, "features 0x%" PRIx64 " refused: of them 0x%" PRIx64 " were not offered",
            features, features & ~offered);
        return result;
    }
    session->features = features;
    if (!speaks_protocol)
        vhost_user_vrings_enable(session);
    return 0;
}

int vhost_user_get_protocol_features(struct vhost_user_session *session)
{
    vhost_user_reply_u64(session, vhost_user_protocol_features(session));
    return 0;
}

int vhost_user_set_protocol_features(struct vhost_user_session *session)
{
    uint64_t features = session->payload.u64;
    uint64_t surplus = features & ~vhost_user_protocol_features(session);

    if (surplus) {
        vhost_user_complain(session,
                            "protocol features 0x%" PRIx64 " refused: of them 0x%" PRIx64
                            " were not offered",
                            features, surplus);
        return -EINVAL;
    }
    session->protocol_features = features;
    vhost_user_config_tell(session);
    return 0;
}

int vhost_user_set_owner(struct vhost_user_session *session)
{
    return 0; /* the connection is what makes a session */
}

int vhost_user_reset_owner(struct vhost_user_session *session)
{
    return 0; /* deprecated; the document advises to ignore it */
}

int vhost_user_get_queue_num(struct vhost_user_session *session)
{
    vhost_user_reply_u64(session, session->n_vrings);
    return 0;
}

static void reset_done(void *ctx, int result)
{
    struct vhost_user_session *session = ctx;

    if (vhost_user_arrived(session))
        vhost_user_release(session, 0);
}

/* Answered when no request of the old driver is out any more. */
static int reset(struct vhost_user_session *session)
{
    int result;

    vhost_user_hold(session);
    vhost_user_expect(session);
    result = ob_device_reset(session->device, reset_done, session);
    if (result < 0) {
        vhost_user_unexpect(session);
        vhost_user_release(session, result);
        vhost_user_complain(session, "the device could not be reset: %s", strerror(-result));
        return result;
    }
    session->features = 0;
    session->features_refused = false;
    session->status = 0;
    vhost_user_vrings_reset(session);
    vhost_user_memory_give(session);
    return 0;
}

int vhost_user_reset_device(struct vhost_user_session *session)
{
    return reset(session);
}

int vhost_user_set_status(struct vhost_user_session *session)
{
    uint64_t status = session->payload.u64;

    if (status & ~(uint64_t)STATUS_MASK) {
        vhost_user_complain(session, "device status 0x%" PRIx64 " refused: one byte only", status);
        return -EINVAL;
    }
    if (!status)
        return reset(session);
    /* The driver learns by reading it back that its features are not acceptable. */
    if (session->features_refused)
        status &= ~(uint64_t)VIRTIO_CONFIG_S_FEATURES_OK;
    session->status = (uint8_t)status;
    return 0;
}

int vhost_user_get_status(struct vhost_user_session *session)
{
    vhost_user_reply_u64(session, session->status);
    return 0;
}
