/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VHOST_USER_H
#define WIRE_VHOST_USER_H

/*
 * The vhost-user protocol: numbers, layouts, and pure decoding. Both ends can use it; the
 * section names are those of QEMU's docs/interop/vhost-user.rst.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_USER_VERSION 1u
#define VHOST_USER_FLAG_VERSION 0x3u
#define VHOST_USER_FLAG_REPLY 0x4u
#define VHOST_USER_FLAG_NEED_REPLY 0x8u

/* Most descriptors in one message, which is also most regions in one SET_MEM_TABLE. */
#define VHOST_USER_FDS_MAX 8

/* Configuration bytes that a message carries at most: what the known front-ends limit it to. */
#define VHOST_USER_CONFIG_MAX 256

/* Rings that can be named: KICK, CALL and ERR have 8 bits for the index. */
#define VHOST_USER_QUEUES_MAX 256

/* Front-end message types. */
enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_CREATE_CRYPTO_SESSION = 26,
    VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_GPU_SET_SOCKET = 33,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_GET_SHARED_OBJECT = 41,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_GET_SHMEM_CONFIG = 44,
    VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
    VHOST_USER_REQUESTS, /* one more than the last */
};

/* Back-end message types, on the channel that SET_BACKEND_REQ_FD brings. */
enum vhost_user_backend_request {
    VHOST_USER_BACKEND_IOTLB_MSG = 1,
    VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
};

/* Protocol features, by bit. */
enum vhost_user_protocol_feature {
    VHOST_USER_PROTOCOL_F_MQ = 0,
    VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
    VHOST_USER_PROTOCOL_F_RARP = 2,
    VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
    VHOST_USER_PROTOCOL_F_MTU = 4,
    VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
    VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
    VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
    VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
    VHOST_USER_PROTOCOL_F_CONFIG = 9,
    VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
    VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
    VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
    VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
    VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
    VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
    VHOST_USER_PROTOCOL_F_STATUS = 16,
};

/* Header. */
struct vhost_user_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload */
} __attribute__((packed));

/* A vring state description. */
struct vhost_user_state {
    uint32_t index;
    uint32_t num;
} __attribute__((packed));

#define VHOST_USER_VRING_F_LOG 0x1u

/* A vring address description. */
struct vhost_user_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
} __attribute__((packed));

/* One region of a memory regions description. */
struct vhost_user_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t mmap_offset;
} __attribute__((packed));

/* Memory regions description; as many regions are sent as it says. */
struct vhost_user_table {
    uint32_t count;
    uint32_t padding;
    struct vhost_user_region regions[VHOST_USER_FDS_MAX];
} __attribute__((packed));

/* Single memory region description. */
struct vhost_user_slot {
    uint64_t padding;
    struct vhost_user_region region;
} __attribute__((packed));

/* Virtio device config space. */
struct vhost_user_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t bytes[VHOST_USER_CONFIG_MAX];
} __attribute__((packed));

#define VHOST_USER_CONFIG_HEADER offsetof(struct vhost_user_config, bytes)
#define VHOST_USER_CONFIG_WRITABLE 0u
#define VHOST_USER_CONFIG_MIGRATION 1u

/* The ring named by KICK, CALL or ERR. */
struct vhost_user_ring_fd {
    unsigned index;
    bool present; /* a descriptor comes with the message (bit 8 is clear) */
};

#define VHOST_USER_RING_FD_INDEX 0xffu
#define VHOST_USER_RING_FD_ABSENT 0x100u

/* Any payload. */
union vhost_user_payload {
    uint64_t u64;
    struct vhost_user_state state;
    struct vhost_user_addr addr;
    struct vhost_user_table table;
    struct vhost_user_slot slot;
    struct vhost_user_config config;
};

_Static_assert(sizeof(struct vhost_user_header) == 12, "on the wire");
_Static_assert(sizeof(struct vhost_user_state) == 8, "on the wire");
_Static_assert(sizeof(struct vhost_user_addr) == 40, "on the wire");
_Static_assert(sizeof(struct vhost_user_region) == 32, "on the wire");
_Static_assert(sizeof(struct vhost_user_table) == 8 + 8 * 32, "on the wire");
_Static_assert(sizeof(struct vhost_user_slot) == 40, "on the wire");
_Static_assert(VHOST_USER_CONFIG_HEADER == 12, "on the wire");

/* The largest payload that a message has. */
#define VHOST_USER_PAYLOAD_MAX sizeof(struct vhost_user_config)

#define VHOST_USER_MESSAGE_MAX (sizeof(struct vhost_user_header) + VHOST_USER_PAYLOAD_MAX)

_Static_assert(VHOST_USER_PAYLOAD_MAX >= sizeof(struct vhost_user_table), "the largest");

/* What is known of a message type. */
struct vhost_user_message {
    const char *name; /* for logs, without the prefix */
    bool spoken;      /* the rest is filled in; else we know no more than the name */
    bool replies;     /* has a reply of its own; others only answer need_reply */
    uint8_t fds_min;
    uint8_t fds_max;
    uint16_t size_min; /* of the payload */
    uint16_t size_max;
};

/* The row of a message type, or NULL if the number is not in use. */
const struct vhost_user_message *vhost_user_message(uint32_t request);

/* The name of a message type, or "unknown message". */
const char *vhost_user_message_name(uint32_t request);

/*
 * Checks a header. After a failure the stream cannot be followed any more.
 * 0; -EPROTO: another version, flags that do not exist, or not of the expected direction;
 * -EMSGSIZE: larger than any message.
 */
int vhost_user_header_check(const struct vhost_user_header *header, bool is_reply);

/* Checks the payload's size against the row. 0 or -EMSGSIZE. */
int vhost_user_message_check(const struct vhost_user_message *message, size_t size);

/*
 * Decoders. Each gets a payload of a size that vhost_user_message_check() has seen, and
 * answers 0, or -EINVAL for values that are never right, or as said; *ret stays then.
 */

/* index below queues, else -ERANGE. */
int vhost_user_decode_state(const void *payload, unsigned queues, struct vhost_user_state *ret);

/* index below queues, else -ERANGE; no flag but the log's. */
int vhost_user_decode_addr(const void *payload, unsigned queues, struct vhost_user_addr *ret);

/* index below queues, else -ERANGE; no other bits. */
int vhost_user_decode_ring_fd(const void *payload, unsigned queues, struct vhost_user_ring_fd *ret);

/* As many regions as size holds, each as vhost_user_decode_slot() says. */
int vhost_user_decode_table(const void *payload, size_t size, struct vhost_user_table *ret);

/* A region that is not empty and ends before its addresses and offset wrap. */
int vhost_user_decode_slot(const void *payload, struct vhost_user_slot *ret);

/*
 * A range inside the configuration space, of at least one byte. with_bytes: the payload must
 * hold the bytes, and they are copied; else they are zeroed.
 */
int vhost_user_decode_config(const void *payload, size_t size, bool with_bytes,
                             struct vhost_user_config *ret);

/* Where a ring stands, as SET_VRING_BASE and GET_VRING_BASE carry it in packed format. */
struct vhost_user_packed_base {
    uint16_t avail_idx; /* 15 bits, as the other */
    uint16_t used_idx;
    bool avail_wrap;
    bool used_wrap;
};

/* Decodes and encodes it. */
struct vhost_user_packed_base vhost_user_decode_packed_base(uint32_t num);
uint32_t vhost_user_encode_packed_base(const struct vhost_user_packed_base *base);

/* Writes a message without flags but the given ones. buf: sizeof(header) + size bytes, which
 * is also the result. */
size_t vhost_user_encode(void *buf, uint32_t request, uint32_t flags, const void *payload,
                         size_t size);

#endif
