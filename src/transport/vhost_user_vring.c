/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: rings
 *
 * A ring has two independent states ("Ring states" of the document):
 *
 *   stopped   size, addresses, base, kick, call, error and enable may be set. SET_VRING_KICK,
 *             with a descriptor or with the word that there is none, starts the ring as soon
 *             as its size and addresses are known, too.
 *   running   kick, call, error and enable may be set, and the addresses be repeated (with or
 *             without the log flag); another size, base or address is refused. GET_VRING_BASE
 *             stops it, and is answered when its requests have ended.
 *
 * Enabled or disabled is kept through both. A ring begins disabled, and SET_FEATURES without
 * bit 30 enables all.
 *
 * What decides whether a ring can run is checked when it starts, whatever was checked before:
 * other messages (features, memory) may have changed what it depends on. The addresses are
 * looked up here only for a clear and early refusal; the queue translates them itself. The
 * message that starts a ring is answered before the queue has done so: it may first have to
 * wait for the requests of an earlier front-end, and this one must not freeze meanwhile.
 */

#include "transport/vhost_user_session.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "wire/virtio.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Where a packed ring begins: at entry 0, both wrap counters set (virtio 1.3, 2.8.1). */
#define PACKED_BASE_NEW 0x80008000u

/* One of a ring's three areas: what to call it, where it is, and what it must fulfil. */
struct area {
    const char *name;
    uint64_t addr;
    uint64_t size;
    unsigned align;
    enum ob_access access;
};

static bool packed(uint64_t features)
{
    return features & feature_bit(VIRTIO_F_RING_PACKED);
}

/* The three areas (virtio 1.3, 2.7 and 2.8). */
static void vring_areas(const struct vhost_user_vring *vring, uint64_t features, struct area *ret)
{
    const uint64_t num = vring->num;
    const bool is_packed = packed(features);

    ret[0] = (struct area){"descriptor", vring->addr.desc, 16 * num, 16,
                           is_packed ? OB_ACCESS_BOTH : OB_ACCESS_READ};
    ret[1] = (struct area){"driver", vring->addr.avail, is_packed ? 4 : 4 + 2 * num,
                           is_packed ? 4 : 2, OB_ACCESS_READ};
    ret[2] =
        (struct area){"device", vring->addr.used, is_packed ? 4 : 4 + 8 * num, 4, OB_ACCESS_WRITE};
}

static bool in_memory(const struct ob_map *map, const struct area *area)
{
    void *host;

    for (uint64_t done = 0; done < area->size;) {
        int64_t run;

        if (range_wraps(area->addr, done))
            return false;
        run = ob_map_translate(map, OB_SPACE_RING, area->addr + done, area->size - done,
                               area->access, &host);
        if (run == -EAGAIN)
            return true; /* not known yet; the queue will see */
        if (run <= 0)
            return false;
        done += (uint64_t)run;
    }
    return true;
}

/* That the ring can run as it is described, or why not. */
static int vring_check(const struct vhost_user_vring *vring)
{
    struct vhost_user_session *session = vring->session;
    const struct ob_map *map = ob_memory_map(session->memory);
    struct area areas[3];

    if (!packed(session->features) && !is_power_of_two(vring->num)) {
        vhost_user_complain(session, "queue %u cannot start: %u is not a power of two",
                            vring->index, vring->num);
        return -EINVAL;
    }
    if (ob_memory_faulted(session->memory)) {
        vhost_user_complain(session, "queue %u cannot start: the front-end cut its memory short",
                            vring->index);
        return -EFAULT;
    }
    vring_areas(vring, session->features, areas);
    for (unsigned i = 0; i < array_size(areas); i++) {
        bool aligned = areas[i].addr % areas[i].align == 0;

        if (aligned && in_memory(map, &areas[i]))
            continue;
        vhost_user_complain(session,
                            "queue %u cannot start: its %s area, %" PRIu64 " bytes at 0x%" PRIx64
                            ", is not %s",
                            vring->index, areas[i].name, areas[i].size, areas[i].addr,
                            aligned ? "in the front-end's memory" : "aligned");
        return aligned ? -EFAULT : -EINVAL;
    }
    return 0;
}

static int vring_decode_base(const struct vhost_user_vring *vring, struct ob_queue_base *ret)
{
    uint32_t num = vring->base;
    struct vhost_user_packed_base base;

    if (!packed(vring->session->features)) {
        if (vring->base_set && num > UINT16_MAX)
            return -EINVAL;
        *ret = (struct ob_queue_base){.avail_idx = vring->base_set ? (uint16_t)num : 0};
        return 0;
    }
    if (!vring->base_set)
        num = PACKED_BASE_NEW;
    /* Some front-ends send the lower half only. Both ends of a stopped ring stand at the same
     * place, so it says all. */
    if (!(num >> 16))
        num |= num << 16;
    base = vhost_user_decode_packed_base(num);
    if (base.avail_idx >= vring->num || base.used_idx >= vring->num)
        return -EINVAL;
    *ret = (struct ob_queue_base){
        .avail_idx = base.avail_idx,
        .used_idx = base.used_idx,
        .avail_wrap = base.avail_wrap,
        .used_wrap = base.used_wrap,
    };
    return 0;
}

static uint32_t vring_encode_base(uint64_t features, const struct ob_queue_base *base)
{
    const struct vhost_user_packed_base packed_base = {
        .avail_idx = base->avail_idx,
        .used_idx = base->used_idx,
        .avail_wrap = base->avail_wrap,
        .used_wrap = base->used_wrap,
    };

    return packed(features) ? vhost_user_encode_packed_base(&packed_base) : base->avail_idx;
}

static void vring_started(void *ctx, int result)
{
    struct vhost_user_vring *vring = ctx;
    struct vhost_user_session *session = vring->session;

    if (!vhost_user_arrived(session) || !result || result == -ECANCELED)
        return;
    vring->running = false;
    vhost_user_end(session, OB_LOG_ERROR, "connection dropped: queue %u did not start: %s",
                   vring->index, strerror(-result));
}

int vhost_user_vring_start(struct vhost_user_vring *vring)
{
    struct vhost_user_session *session = vring->session;
    struct ob_queue_setup setup = {
        .size = vring->num,
        .features = session->features,
        .space = OB_SPACE_RING,
        .desc = vring->addr.desc,
        .driver = vring->addr.avail,
        .device = vring->addr.used,
    };
    int result;

    if (vring->running || !vring->kicked || !vring->num || !vring->addr_set)
        return 0;
    result = vring_check(vring);
    if (result < 0)
        return result;
    result = vring_decode_base(vring, &setup.base);
    if (result < 0) {
        vhost_user_complain(session, "queue %u cannot start: base 0x%x, size %u", vring->index,
                            vring->base, vring->num);
        return result;
    }
    vhost_user_expect(session);
    result = ob_device_queue_start(session->device, vring->index, &setup, vring_started, vring);
    if (result < 0) {
        vhost_user_unexpect(session);
        vhost_user_complain(session, "queue %u cannot start: %s", vring->index, strerror(-result));
        return result;
    }
    vring->running = true;
    vring->features = setup.features;
    vhost_user_config_tell(session);
    return vhost_user_poll(session);
}

void vhost_user_vrings_init(struct vhost_user_session *session)
{
    vhost_user_poll_init(session);
    for (unsigned i = 0; i < session->n_vrings; i++) {
        session->vrings[i].session = session;
        session->vrings[i].index = i;
        session->vrings[i].err_fd = -1;
    }
}

static void vring_enable(struct vhost_user_vring *vring, bool enable)
{
    vring->enabled = enable;
    ob_device_queue_enable(vring->session->device, vring->index, enable);
}

void vhost_user_vrings_enable(struct vhost_user_session *session)
{
    for (unsigned i = 0; i < session->n_vrings; i++)
        vring_enable(&session->vrings[i], true);
}

void vhost_user_vrings_reset(struct vhost_user_session *session)
{
    ob_timer_clear(&session->poll_timer);
    for (unsigned i = 0; i < session->n_vrings; i++) {
        struct vhost_user_vring *vring = &session->vrings[i];

        *vring = (struct vhost_user_vring){
            .session = session,
            .index = i,
            .err_fd = vring->err_fd,
            .call = vring->call,
        };
        ob_device_queue_set_call(session->device, i, vhost_user_call_lend(vring->call));
    }
}

void vhost_user_vrings_free(struct vhost_user_session *session)
{
    ob_timer_clear(&session->poll_timer);
    for (unsigned i = 0; i < session->n_vrings; i++) {
        vhost_user_call_unref(session->vrings[i].call);
        session->vrings[i].call = NULL;
        fd_close(&session->vrings[i].err_fd);
        session->vrings[i].running = false;
    }
}

bool vhost_user_vrings_running(const struct vhost_user_session *session)
{
    for (unsigned i = 0; i < session->n_vrings; i++)
        if (session->vrings[i].running)
            return true;
    return false;
}

/* Takes note of where a ring stopped. */
static void vring_stopped(struct vhost_user_vring *vring, int result,
                          const struct ob_queue_base *base)
{
    vring->running = vring->kicked = vring->polled = false;
    if (!result) {
        vring->base = vring_encode_base(vring->features, base);
        vring->base_set = true;
    }
    ob_device_queue_set_kick(vring->session->device, vring->index, -1);
}

static void drain_stopped(void *ctx, int result, const struct ob_queue_base *base)
{
    struct vhost_user_vring *vring = ctx;

    if (!vhost_user_arrived(vring->session))
        return;
    vring->running = false;
    if (!vhost_user_vrings_running(vring->session))
        vhost_user_drained(vring->session);
}

void vhost_user_vrings_drain(struct vhost_user_session *session)
{
    for (unsigned i = 0; i < session->n_vrings; i++) {
        struct vhost_user_vring *vring = &session->vrings[i];

        if (!vring->running)
            continue;
        vhost_user_expect(session);
        if (ob_device_queue_stop(session->device, i, drain_stopped, vring) == 0)
            continue;
        vhost_user_unexpect(session);
        vring->running = false;
    }
    if (!vhost_user_vrings_running(session))
        vhost_user_drained(session);
}

struct vhost_user_vring *vhost_user_vring_of(struct vhost_user_session *session, int decoded,
                                             unsigned index)
{
    if (!decoded)
        return &session->vrings[index];
    if (decoded == -ERANGE)
        vhost_user_complain(session, "%s refused: there are only %u queues",
                            vhost_user_message_name(session->header.request), session->n_vrings);
    else
        vhost_user_complain(session, "%s refused: bits are set that mean nothing",
                            vhost_user_message_name(session->header.request));
    return NULL;
}

static struct vhost_user_vring *vring_of_state(struct vhost_user_session *session,
                                               struct vhost_user_state *ret)
{
    int decoded = vhost_user_decode_state(&session->payload, session->n_vrings, ret);

    return vhost_user_vring_of(session, decoded, ret->index);
}

static int refuse_running(const struct vhost_user_vring *vring)
{
    vhost_user_complain(vring->session, "%s refused: queue %u is running",
                        vhost_user_message_name(vring->session->header.request), vring->index);
    return -EBUSY;
}

int vhost_user_set_vring_num(struct vhost_user_session *session)
{
    struct vhost_user_state state = {0};
    struct vhost_user_vring *vring = vring_of_state(session, &state);
    unsigned most = ob_device_queue_size_max(session->device);

    if (!vring)
        return -EINVAL;
    if (vring->running && state.num != vring->num)
        return refuse_running(vring);
    if (!state.num || state.num > most) {
        vhost_user_complain(session, "queue %u: size %u is not between 1 and %u", vring->index,
                            state.num, most);
        return -EINVAL;
    }
    vring->num = state.num;
    return vhost_user_vring_start(vring);
}

int vhost_user_set_vring_addr(struct vhost_user_session *session)
{
    struct vhost_user_addr addr = {0};
    int decoded = vhost_user_decode_addr(&session->payload, session->n_vrings, &addr);
    struct vhost_user_vring *vring = vhost_user_vring_of(session, decoded, addr.index);

    if (!vring)
        return -EINVAL;
    if (vring->running && (addr.desc != vring->addr.desc || addr.avail != vring->addr.avail ||
                           addr.used != vring->addr.used))
        return refuse_running(vring);
    vring->addr = addr;
    vring->addr_set = true;
    return vhost_user_vring_start(vring);
}

int vhost_user_set_vring_base(struct vhost_user_session *session)
{
    struct vhost_user_state state = {0};
    struct vhost_user_vring *vring = vring_of_state(session, &state);

    if (!vring)
        return -EINVAL;
    if (vring->running)
        return refuse_running(vring);
    vring->base = state.num;
    vring->base_set = true;
    return 0;
}

static void reply_base(const struct vhost_user_vring *vring)
{
    struct vhost_user_state state = {.index = vring->index, .num = vring->base};

    if (!vring->base_set)
        state.num = packed(vring->session->features) ? PACKED_BASE_NEW : 0;
    vhost_user_reply(vring->session, &state, sizeof(state));
}

static void get_base_stopped(void *ctx, int result, const struct ob_queue_base *base)
{
    struct vhost_user_vring *vring = ctx;
    struct vhost_user_session *session = vring->session;

    if (!vhost_user_arrived(session))
        return;
    vring_stopped(vring, result, base);
    reply_base(vring);
    vhost_user_release(session, 0);
}

int vhost_user_get_vring_base(struct vhost_user_session *session)
{
    struct vhost_user_state state = {0};
    struct vhost_user_vring *vring = vring_of_state(session, &state);
    int result;

    if (!vring)
        return -EINVAL;
    if (!vring->running) {
        vring_stopped(vring, -EALREADY, NULL);
        reply_base(vring);
        return 0;
    }
    vhost_user_hold(session);
    vhost_user_expect(session);
    result = ob_device_queue_stop(session->device, vring->index, get_base_stopped, vring);
    if (result < 0) {
        vhost_user_unexpect(session);
        vhost_user_release(session, result);
    }
    return result;
}

int vhost_user_set_vring_enable(struct vhost_user_session *session)
{
    struct vhost_user_state state = {0};
    struct vhost_user_vring *vring = vring_of_state(session, &state);

    if (!vring)
        return -EINVAL;
    if (state.num > 1) {
        vhost_user_complain(session, "SET_VRING_ENABLE of queue %u refused: %u is no state",
                            vring->index, state.num);
        return -EINVAL;
    }
    vring_enable(vring, state.num);
    return 0;
}
