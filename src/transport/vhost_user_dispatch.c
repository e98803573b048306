/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: which message goes where
 *
 * A message is handled if it is one of ours, if the protocol feature that it belongs to is
 * offered (front-ends send some before they accept anything), and if its size and the number
 * of its descriptors are as the wire's table says. All else is refused by name.
 */

#include "transport/vhost_user_session.h"

#include "base/log.h"

#include <errno.h>

#define NO_FEATURE (-1)

/* How a message is handled; wire/vhost_user.c has the rest. */
struct handler {
    int (*handle)(struct vhost_user_session *session);
    int feature; /* protocol feature that it belongs to, or NO_FEATURE */
};

#define HANDLED(request, handler) \
    [VHOST_USER_##request] = {.handle = handler, .feature = NO_FEATURE}
#define OFFERED(request, handler, bit) \
    [VHOST_USER_##request] = {.handle = handler, .feature = VHOST_USER_PROTOCOL_F_##bit}

static const struct handler handlers[VHOST_USER_REQUESTS] = {
    HANDLED(GET_FEATURES, vhost_user_get_features),
    HANDLED(SET_FEATURES, vhost_user_set_features),
    HANDLED(SET_OWNER, vhost_user_set_owner),
    HANDLED(RESET_OWNER, vhost_user_reset_owner),
    HANDLED(SET_MEM_TABLE, vhost_user_set_mem_table),
    HANDLED(SET_VRING_NUM, vhost_user_set_vring_num),
    HANDLED(SET_VRING_ADDR, vhost_user_set_vring_addr),
    HANDLED(SET_VRING_BASE, vhost_user_set_vring_base),
    HANDLED(GET_VRING_BASE, vhost_user_get_vring_base),
    HANDLED(SET_VRING_KICK, vhost_user_set_vring_kick),
    HANDLED(SET_VRING_CALL, vhost_user_set_vring_call),
    HANDLED(SET_VRING_ERR, vhost_user_set_vring_err),
    HANDLED(GET_PROTOCOL_FEATURES, vhost_user_get_protocol_features),
    HANDLED(SET_PROTOCOL_FEATURES, vhost_user_set_protocol_features),
    HANDLED(SET_VRING_ENABLE, vhost_user_set_vring_enable),
    OFFERED(GET_QUEUE_NUM, vhost_user_get_queue_num, MQ),
    OFFERED(SET_BACKEND_REQ_FD, vhost_user_set_backend_req_fd, BACKEND_REQ),
    OFFERED(GET_CONFIG, vhost_user_get_config, CONFIG),
    OFFERED(SET_CONFIG, vhost_user_set_config, CONFIG),
    OFFERED(RESET_DEVICE, vhost_user_reset_device, RESET_DEVICE),
    OFFERED(GET_MAX_MEM_SLOTS, vhost_user_get_max_mem_slots, CONFIGURE_MEM_SLOTS),
    OFFERED(ADD_MEM_REG, vhost_user_add_mem_reg, CONFIGURE_MEM_SLOTS),
    OFFERED(REM_MEM_REG, vhost_user_rem_mem_reg, CONFIGURE_MEM_SLOTS),
    OFFERED(SET_STATUS, vhost_user_set_status, STATUS),
    OFFERED(GET_STATUS, vhost_user_get_status, STATUS),
};

static int check_fds(struct vhost_user_session *session, const struct vhost_user_message *message)
{
    if (!session->channel->ops->carries_fds)
        return 0;
    if (!session->fds.excess && session->fds.count >= message->fds_min &&
        session->fds.count <= message->fds_max)
        return 0;
    vhost_user_complain(session, "%s came with %s%u descriptors instead of %u to %u", message->name,
                        session->fds.excess ? "more than " : "", session->fds.count,
                        message->fds_min, message->fds_max);
    return -EBADMSG;
}

int vhost_user_handle(struct vhost_user_session *session)
{
    const uint32_t request = session->header.request;
    const struct vhost_user_message *message = vhost_user_message(request);
    const struct handler *handler = message ? &handlers[request] : NULL;
    int result;

    if (!handler || !handler->handle ||
        (handler->feature != NO_FEATURE &&
         !(vhost_user_protocol_features(session) >> handler->feature & 1))) {
        vhost_user_complain(session, "%s (%u) refused: not offered",
                            vhost_user_message_name(request), request);
        return -EOPNOTSUPP;
    }
    log_debug(session->log, "vhost-user: %s", message->name);
    session->known = true;
    if (vhost_user_message_check(message, session->header.size) < 0) {
        vhost_user_complain(session, "%s has %u bytes of payload instead of %u to %u",
                            message->name, session->header.size, message->size_min,
                            message->size_max);
        return -EMSGSIZE;
    }
    result = check_fds(session, message);
    return result ? result : handler->handle(session);
}
