/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Front-end: vhost-user
 *
 * The driver side of the protocol whose other end is src/transport/vhost_user*.c; the two share
 * the layouts of wire/vhost_user.h and nothing else. A client's control path has nothing else to
 * do while it waits, so each call sends its message and waits for the answer, up to a time-out.
 *
 * All that is asked for is confirmed if the back-end can (REPLY_ACK); if not, a message that has
 * an answer of its own is sent behind those that must have had their effect. A back-end is
 * trusted no more than a front-end: headers, sizes and counts of descriptors are checked, and
 * what it says beyond its answers comes on a socket of its own, which is read when it is
 * convenient and never answered in a way that could block.
 */

#include "frontend/vhost_user_message.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "wire/virtio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <outboard/frontend.h>

#define TIMEOUT_DEFAULT_MS 10000

struct vhost_user {
    struct ob_frontend frontend;
    struct frontend_link link;
    const struct ob_log *log;
    uint64_t protocol;    /* features both have */
    bool has_protocol;    /* bit 30 */
    int events;           /* our end of the back-end's channel, or -1 */
};

static struct vhost_user *self_of(struct ob_frontend *frontend)
{
    return container_of(frontend, struct vhost_user, frontend);
}

static bool negotiated(const struct vhost_user *self, unsigned bit)
{
    return self->protocol & feature_bit(bit);
}

/* Sends a message without an answer of its own, and waits for it to be carried out. */
static int tell(struct vhost_user *self, uint32_t request, const void *payload, size_t size,
                const int *fds, unsigned n_fds)
{
    bool ack = negotiated(self, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    uint64_t refused = 0;
    int result = link_send(&self->link, request, ack ? VHOST_USER_FLAG_NEED_REPLY : 0, payload,
                           size, fds, n_fds);

    if (!result && ack)
        result = link_reply(&self->link, request, &refused, sizeof(refused));
    if (!result && refused) {
        log_error(self->log, "the back-end refused %s", vhost_user_message_name(request));
        result = -EIO;
    }
    return result;
}

static int ask(struct vhost_user *self, uint32_t request, const void *payload, size_t size,
               void *ret, size_t ret_size)
{
    int result = link_send(&self->link, request, 0, payload, size, NULL, 0);

    return result ? result : link_reply(&self->link, request, ret, ret_size);
}

/* Returns when the back-end has taken all that was told: it takes messages in their order, so an
 * answer to the last is one to all. */
static int settle(struct vhost_user *self)
{
    uint64_t features;

    if (negotiated(self, VHOST_USER_PROTOCOL_F_REPLY_ACK))
        return 0;
    return ask(self, VHOST_USER_GET_FEATURES, NULL, 0, &features, sizeof(features));
}

static int tell_u64(struct vhost_user *self, uint32_t request, uint64_t value)
{
    return tell(self, request, &value, sizeof(value), NULL, 0);
}

static int tell_state(struct vhost_user *self, uint32_t request, unsigned index, uint32_t num)
{
    struct vhost_user_state state = {.index = index, .num = num};

    return tell(self, request, &state, sizeof(state), NULL, 0);
}

/* Gives the back-end a channel for what it says by itself. */
static int open_events(struct vhost_user *self)
{
    int pair[2], result;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    result = tell(self, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
    fd_close(&pair[1]);
    if (result < 0)
        fd_close(&pair[0]);
    self->events = pair[0];
    return result;
}

static int negotiate(struct vhost_user *self)
{
    const uint64_t wanted = feature_bit(VHOST_USER_PROTOCOL_F_MQ) |
                            feature_bit(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
                            feature_bit(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
                            feature_bit(VHOST_USER_PROTOCOL_F_CONFIG);
    uint64_t features, protocol;
    int result = tell(self, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);

    if (!result)
        result = ask(self, VHOST_USER_GET_FEATURES, NULL, 0, &features, sizeof(features));
    if (result < 0 || !(features & feature_bit(VHOST_USER_F_PROTOCOL_FEATURES)))
        return result;
    self->has_protocol = true;
    result = ask(self, VHOST_USER_GET_PROTOCOL_FEATURES, NULL, 0, &protocol, sizeof(protocol));
    if (result < 0)
        return result;
    protocol &= wanted;
    result = tell_u64(self, VHOST_USER_SET_PROTOCOL_FEATURES, protocol);
    if (result < 0)
        return result;
    self->protocol = protocol;
    return negotiated(self, VHOST_USER_PROTOCOL_F_BACKEND_REQ) ? open_events(self) : 0;
}

static int connect_to(const char *path, const struct ob_log *log)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd, result;

    if (!path || !*path || strlen(path) >= sizeof(addr.sun_path)) {
        log_error(log, "a socket's path has 1 to %zu characters: '%.200s'",
                  sizeof(addr.sun_path) - 1, path ? path : "");
        return -EINVAL;
    }
    strcpy(addr.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    result = -errno;
    log_error(log, "cannot connect to '%s': %s", path, strerror(-result));
    fd_close(&fd);
    return result;
}

static void vhost_user_close(struct ob_frontend *frontend)
{
    struct vhost_user *self = self_of(frontend);

    fd_close(&self->link.fd);
    fd_close(&self->events);
    free(self);
}

static int vhost_user_open(const struct ob_frontend_options *options, struct ob_frontend **ret)
{
    struct vhost_user *self = calloc(1, sizeof(*self));
    int result;

    if (!self)
        return -ENOMEM;
    self->frontend.ops = &ob_frontend_vhost_user;
    self->log = options->log;
    self->events = -1;
    self->link.log = options->log;
    self->link.timeout_ms = options->timeout_ms ? (int)options->timeout_ms : TIMEOUT_DEFAULT_MS;
    self->link.fd = result = connect_to(options->address, options->log);
    if (result >= 0)
        result = negotiate(self);
    if (result < 0) {
        vhost_user_close(&self->frontend);
        return result;
    }
    *ret = &self->frontend;
    return 0;
}

static int vhost_user_features(struct ob_frontend *frontend, uint64_t *ret)
{
    uint64_t features;
    int result = ask(self_of(frontend), VHOST_USER_GET_FEATURES, NULL, 0, &features,
                     sizeof(features));

    if (!result)
        *ret = features & ~feature_bit(VHOST_USER_F_PROTOCOL_FEATURES);
    return result;
}

static int vhost_user_set_features(struct ob_frontend *frontend, uint64_t features)
{
    struct vhost_user *self = self_of(frontend);

    if (self->has_protocol)
        features |= feature_bit(VHOST_USER_F_PROTOCOL_FEATURES);
    return tell_u64(self, VHOST_USER_SET_FEATURES, features);
}

static int vhost_user_queues(struct ob_frontend *frontend, unsigned *ret)
{
    struct vhost_user *self = self_of(frontend);
    uint64_t queues = 1;
    int result = 0;

    if (negotiated(self, VHOST_USER_PROTOCOL_F_MQ))
        result = ask(self, VHOST_USER_GET_QUEUE_NUM, NULL, 0, &queues, sizeof(queues));
    if (!result)
        *ret = (unsigned)min_u64(queues, VHOST_USER_QUEUES_MAX);
    return result;
}

static int vhost_user_set_memory(struct ob_frontend *frontend,
                                 const struct ob_region_info *regions, const int *fds,
                                 unsigned count)
{
    struct vhost_user *self = self_of(frontend);
    struct vhost_user_table table = {.count = count};
    int result;

    if (!count || count > VHOST_USER_FDS_MAX)
        return -E2BIG;
    for (unsigned i = 0; i < count; i++)
        table.regions[i] = (struct vhost_user_region){
            .guest_addr = regions[i].driver_addr,
            .user_addr = regions[i].ring_addr,
            .size = regions[i].size,
            .mmap_offset = regions[i].file_offset,
        };
    result = tell(self, VHOST_USER_SET_MEM_TABLE, &table,
                  offsetof(struct vhost_user_table, regions) + count * sizeof(table.regions[0]),
                  fds, count);
    return result ? result : settle(self);
}

static int vhost_user_config_read(struct ob_frontend *frontend, size_t offset, void *buf,
                                  size_t len)
{
    struct vhost_user *self = self_of(frontend);
    struct vhost_user_config config = {.offset = (uint32_t)offset, .size = (uint32_t)len};
    struct vhost_user_config reply;
    size_t size = VHOST_USER_CONFIG_HEADER + len;
    int result;

    if (!negotiated(self, VHOST_USER_PROTOCOL_F_CONFIG))
        return -ENOTSUP;
    if (!range_inside(offset, len, VHOST_USER_CONFIG_MAX))
        return -EINVAL;
    result = ask(self, VHOST_USER_GET_CONFIG, &config, size, &reply, size);
    if (!result)
        memcpy(buf, reply.bytes, len);
    return result;
}

static int vhost_user_config_write(struct ob_frontend *frontend, size_t offset, const void *buf,
                                   size_t len)
{
    struct vhost_user *self = self_of(frontend);
    struct vhost_user_config config = {.offset = (uint32_t)offset, .size = (uint32_t)len};

    if (!negotiated(self, VHOST_USER_PROTOCOL_F_CONFIG))
        return -ENOTSUP;
    if (!range_inside(offset, len, VHOST_USER_CONFIG_MAX))
        return -EINVAL;
    memcpy(config.bytes, buf, len);
    return tell(self, VHOST_USER_SET_CONFIG, &config, VHOST_USER_CONFIG_HEADER + len, NULL, 0);
}

static int tell_fd(struct vhost_user *self, uint32_t request, unsigned index, int fd)
{
    uint64_t value = index | (fd < 0 ? VHOST_USER_RING_FD_ABSENT : 0);

    return tell(self, request, &value, sizeof(value), &fd, fd < 0 ? 0 : 1);
}

static uint32_t encode_base(const struct ob_queue_setup *setup)
{
    const struct vhost_user_packed_base packed = {
        .avail_idx = setup->base.avail_idx,
        .avail_wrap = setup->base.avail_wrap,
        .used_idx = setup->base.used_idx,
        .used_wrap = setup->base.used_wrap,
    };

    if (!(setup->features & feature_bit(VIRTIO_F_RING_PACKED)))
        return setup->base.avail_idx;
    return vhost_user_encode_packed_base(&packed);
}

static int vhost_user_queue_start(struct ob_frontend *frontend, unsigned index,
                                  const struct ob_frontend_queue *queue)
{
    struct vhost_user *self = self_of(frontend);
    struct vhost_user_addr addr = {
        .index = index,
        .desc = queue->setup.desc,
        .avail = queue->setup.driver,
        .used = queue->setup.device,
    };
    int result = tell_state(self, VHOST_USER_SET_VRING_NUM, index, queue->setup.size);

    if (!result)
        result = tell_state(self, VHOST_USER_SET_VRING_BASE, index, encode_base(&queue->setup));
    if (!result)
        result = tell(self, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
    if (!result)
        result = tell_fd(self, VHOST_USER_SET_VRING_CALL, index, queue->call);
    if (!result)
        result = tell_fd(self, VHOST_USER_SET_VRING_KICK, index, queue->kick);
    if (!result && self->has_protocol)
        result = tell_state(self, VHOST_USER_SET_VRING_ENABLE, index, 1);
    return result ? result : settle(self);
}

static int vhost_user_queue_stop(struct ob_frontend *frontend, unsigned index,
                                 struct ob_queue_base *ret)
{
    struct vhost_user_state state = {.index = index};
    struct vhost_user_packed_base packed;
    int result = ask(self_of(frontend), VHOST_USER_GET_VRING_BASE, &state, sizeof(state), &state,
                     sizeof(state));

    if (result < 0)
        return result;
    packed = vhost_user_decode_packed_base(state.num);
    /* Of a split ring, all 16 bits are the index; the rest means nothing. */
    *ret = (struct ob_queue_base){
        .avail_idx = (uint16_t)state.num,
        .used_idx = packed.used_idx,
        .avail_wrap = packed.avail_wrap,
        .used_wrap = packed.used_wrap,
    };
    return 0;
}

static int vhost_user_event_fd(struct ob_frontend *frontend)
{
    return self_of(frontend)->events;
}

static int vhost_user_event(struct ob_frontend *frontend)
{
    struct vhost_user *self = self_of(frontend);
    struct vhost_user_header header;
    ssize_t got;

    if (self->events < 0)
        return 0;
    got = recv(self->events, &header, sizeof(header), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        return got ? -errno : -ECONNRESET;
    /* No message that we asked for has a payload or a descriptor. */
    if (got != sizeof(header) || vhost_user_header_check(&header, false) < 0 || header.size ||
        header.request != VHOST_USER_BACKEND_CONFIG_CHANGE_MSG) {
        log_error(self->log, "the back-end sent message %u, which it was not allowed to",
                  header.request);
        return -EPROTO;
    }
    return 1;
}

static int vhost_user_peer(struct ob_frontend *frontend)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(self_of(frontend)->link.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -1;
    return peer.pid > 0 ? peer.pid : -1;
}

const struct ob_frontend_ops ob_frontend_vhost_user = {
    .size = sizeof(struct ob_frontend_ops),
    .name = "vhost-user",
    .help = "PATH: connects to the back-end that listens there",
    .open = vhost_user_open,
    .close = vhost_user_close,
    .features = vhost_user_features,
    .set_features = vhost_user_set_features,
    .queues = vhost_user_queues,
    .set_memory = vhost_user_set_memory,
    .config_read = vhost_user_config_read,
    .config_write = vhost_user_config_write,
    .queue_start = vhost_user_queue_start,
    .queue_stop = vhost_user_queue_stop,
    .event_fd = vhost_user_event_fd,
    .event = vhost_user_event,
    .peer = vhost_user_peer,
};
