/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user on the wire
 *
 * Bytes in, checked structs out. Nothing here has a state or knows a device: a decoder gets
 * what its answer depends on. Payloads are copied before they are looked at, so it does not
 * matter whether they lie in our memory or in a peer's, or how they are aligned.
 *
 * The table holds what can be said of a message before its payload is read. Message types
 * that no end of ours speaks are in it with their names only, so that a refusal can say what
 * was refused.
 */

#include "wire/vhost_user.h"

#include "base/util.h"

#include <errno.h>
#include <string.h>

#define NAMED(request) [VHOST_USER_##request] = {.name = #request}
#define SPOKEN(request, low, high, own_reply, few_fds, most_fds) \
    [VHOST_USER_##request] = {                                   \
        .name = #request,                                        \
        .spoken = true,                                          \
        .replies = own_reply,                                    \
        .fds_min = few_fds,                                      \
        .fds_max = most_fds,                                     \
        .size_min = low,                                         \
        .size_max = high,                                        \
    }

#define STATE sizeof(struct vhost_user_state)
#define ADDR sizeof(struct vhost_user_addr)
#define SLOT sizeof(struct vhost_user_slot)
#define TABLE_MIN offsetof(struct vhost_user_table, regions)
#define TABLE_MAX sizeof(struct vhost_user_table)
#define CONFIG_MIN VHOST_USER_CONFIG_HEADER
#define CONFIG_MAX sizeof(struct vhost_user_config)

/* clang-format off */
static const struct vhost_user_message messages[VHOST_USER_REQUESTS] = {
    /*     request                payload, least and most   own reply  descriptors */
    SPOKEN(GET_FEATURES,          0,          0,            true,      0, 0),
    SPOKEN(SET_FEATURES,          8,          8,            false,     0, 0),
    SPOKEN(SET_OWNER,             0,          0,            false,     0, 0),
    SPOKEN(RESET_OWNER,           0,          0,            false,     0, 0),
    SPOKEN(SET_MEM_TABLE,         TABLE_MIN,  TABLE_MAX,    false,     0, VHOST_USER_FDS_MAX),
    NAMED(SET_LOG_BASE),
    NAMED(SET_LOG_FD),
    SPOKEN(SET_VRING_NUM,         STATE,      STATE,        false,     0, 0),
    SPOKEN(SET_VRING_ADDR,        ADDR,       ADDR,         false,     0, 0),
    SPOKEN(SET_VRING_BASE,        STATE,      STATE,        false,     0, 0),
    SPOKEN(GET_VRING_BASE,        STATE,      STATE,        true,      0, 0),
    SPOKEN(SET_VRING_KICK,        8,          8,            false,     0, 1),
    SPOKEN(SET_VRING_CALL,        8,          8,            false,     0, 1),
    SPOKEN(SET_VRING_ERR,         8,          8,            false,     0, 1),
    SPOKEN(GET_PROTOCOL_FEATURES, 0,          0,            true,      0, 0),
    SPOKEN(SET_PROTOCOL_FEATURES, 8,          8,            false,     0, 0),
    SPOKEN(GET_QUEUE_NUM,         0,          0,            true,      0, 0),
    SPOKEN(SET_VRING_ENABLE,      STATE,      STATE,        false,     0, 0),
    NAMED(SEND_RARP),
    NAMED(NET_SET_MTU),
    SPOKEN(SET_BACKEND_REQ_FD,    0,          0,            false,     1, 1),
    NAMED(IOTLB_MSG),
    NAMED(SET_VRING_ENDIAN),
    SPOKEN(GET_CONFIG,            CONFIG_MIN, CONFIG_MAX,   true,      0, 0),
    SPOKEN(SET_CONFIG,            CONFIG_MIN, CONFIG_MAX,   false,     0, 0),
    NAMED(CREATE_CRYPTO_SESSION),
    NAMED(CLOSE_CRYPTO_SESSION),
    NAMED(POSTCOPY_ADVISE),
    NAMED(POSTCOPY_LISTEN),
    NAMED(POSTCOPY_END),
    NAMED(GET_INFLIGHT_FD),
    NAMED(SET_INFLIGHT_FD),
    NAMED(GPU_SET_SOCKET),
    SPOKEN(RESET_DEVICE,          0,          0,            false,     0, 0),
    NAMED(VRING_KICK),
    SPOKEN(GET_MAX_MEM_SLOTS,     0,          0,            true,      0, 0),
    SPOKEN(ADD_MEM_REG,           SLOT,       SLOT,         false,     1, 1),
    /* Early front-ends sent a descriptor with it, which is closed unused. */
    SPOKEN(REM_MEM_REG,           SLOT,       SLOT,         false,     0, 1),
    SPOKEN(SET_STATUS,            8,          8,            false,     0, 0),
    SPOKEN(GET_STATUS,            0,          0,            true,      0, 0),
    NAMED(GET_SHARED_OBJECT),
    NAMED(SET_DEVICE_STATE_FD),
    NAMED(CHECK_DEVICE_STATE),
    NAMED(GET_SHMEM_CONFIG),
    NAMED(GET_VRING_BASE_SKIP_DRAIN),
};
/* clang-format on */

const struct vhost_user_message *vhost_user_message(uint32_t request)
{
    if (request >= array_size(messages) || !messages[request].name)
        return NULL;
    return &messages[request];
}

const char *vhost_user_message_name(uint32_t request)
{
    const struct vhost_user_message *message = vhost_user_message(request);

    return message ? message->name : "unknown message";
}

int vhost_user_header_check(const struct vhost_user_header *header, bool is_reply)
{
    const uint32_t known =
        VHOST_USER_FLAG_VERSION | VHOST_USER_FLAG_REPLY | VHOST_USER_FLAG_NEED_REPLY;

    if ((header->flags & VHOST_USER_FLAG_VERSION) != VHOST_USER_VERSION || header->flags & ~known)
        return -EPROTO;
    if (!!(header->flags & VHOST_USER_FLAG_REPLY) != is_reply)
        return -EPROTO;
    if (header->size > VHOST_USER_PAYLOAD_MAX)
        return -EMSGSIZE;
    return 0;
}

int vhost_user_message_check(const struct vhost_user_message *message, size_t size)
{
    return size < message->size_min || size > message->size_max ? -EMSGSIZE : 0;
}

int vhost_user_decode_state(const void *payload, unsigned queues, struct vhost_user_state *ret)
{
    struct vhost_user_state state;

    memcpy(&state, payload, sizeof(state));
    if (state.index >= queues)
        return -ERANGE;
    *ret = state;
    return 0;
}

int vhost_user_decode_addr(const void *payload, unsigned queues, struct vhost_user_addr *ret)
{
    struct vhost_user_addr addr;

    memcpy(&addr, payload, sizeof(addr));
    if (addr.index >= queues)
        return -ERANGE;
    if (addr.flags & ~VHOST_USER_VRING_F_LOG)
        return -EINVAL;
    *ret = addr;
    return 0;
}

int vhost_user_decode_ring_fd(const void *payload, unsigned queues, struct vhost_user_ring_fd *ret)
{
    uint64_t value;

    memcpy(&value, payload, sizeof(value));
    if (value & ~(uint64_t)(VHOST_USER_RING_FD_INDEX | VHOST_USER_RING_FD_ABSENT))
        return -EINVAL;
    if ((value & VHOST_USER_RING_FD_INDEX) >= queues)
        return -ERANGE;
    ret->index = value & VHOST_USER_RING_FD_INDEX;
    ret->present = !(value & VHOST_USER_RING_FD_ABSENT);
    return 0;
}

static bool region_valid(const struct vhost_user_region *region)
{
    return region->size && !range_wraps(region->guest_addr, region->size) &&
           !range_wraps(region->user_addr, region->size) &&
           !range_wraps(region->mmap_offset, region->size);
}

int vhost_user_decode_table(const void *payload, size_t size, struct vhost_user_table *ret)
{
    struct vhost_user_table table = {0};

    if (size < TABLE_MIN || size > sizeof(table))
        return -EINVAL;
    memcpy(&table, payload, size);
    if (table.count > VHOST_USER_FDS_MAX ||
        size != TABLE_MIN + table.count * sizeof(table.regions[0]))
        return -EINVAL;
    for (unsigned i = 0; i < table.count; i++)
        if (!region_valid(&table.regions[i]))
            return -EINVAL;
    *ret = table;
    return 0;
}

int vhost_user_decode_slot(const void *payload, struct vhost_user_slot *ret)
{
    struct vhost_user_slot slot;

    memcpy(&slot, payload, sizeof(slot));
    if (!region_valid(&slot.region))
        return -EINVAL;
    *ret = slot;
    return 0;
}

int vhost_user_decode_config(const void *payload, size_t size, bool with_bytes,
                             struct vhost_user_config *ret)
{
    struct vhost_user_config config = {0};

    if (size < CONFIG_MIN || size > sizeof(config))
        return -EINVAL;
    memcpy(&config, payload, with_bytes ? size : CONFIG_MIN);
    if (!config.size || !range_inside(config.offset, config.size, sizeof(config.bytes)))
        return -EINVAL;
    if (config.flags != VHOST_USER_CONFIG_WRITABLE && config.flags != VHOST_USER_CONFIG_MIGRATION)
        return -EINVAL;
    if (with_bytes && size - CONFIG_MIN < config.size)
        return -EINVAL;
    *ret = config;
    return 0;
}

struct vhost_user_packed_base vhost_user_decode_packed_base(uint32_t num)
{
    return (struct vhost_user_packed_base){
        .avail_idx = num & 0x7fff,
        .avail_wrap = num >> 15 & 1,
        .used_idx = num >> 16 & 0x7fff,
        .used_wrap = num >> 31,
    };
}

uint32_t vhost_user_encode_packed_base(const struct vhost_user_packed_base *base)
{
    return (base->avail_idx & 0x7fffu) | (uint32_t)base->avail_wrap << 15 |
           (base->used_idx & 0x7fffu) << 16 | (uint32_t)base->used_wrap << 31;
}

size_t vhost_user_encode(void *buf, uint32_t request, uint32_t flags, const void *payload,
                         size_t size)
{
    struct vhost_user_header header = {
        .request = request,
        .flags = flags | VHOST_USER_VERSION,
        .size = (uint32_t)size,
    };

    memcpy(buf, &header, sizeof(header));
    if (size)
        memcpy((char *)buf + sizeof(header), payload, size);
    return sizeof(header) + size;
}
