/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_VHOST_USER_SESSION_H
#define TRANSPORT_VHOST_USER_SESSION_H

#include "transport/channel.h"
#include "transport/vhost_user_call.h"
#include "wire/vhost_user.h"

#include <outboard/device.h>
#include <outboard/loop.h>

/*
 * One front-end's connection: private to vhost_user*.c. All of it belongs to the control
 * thread. Functions that handle a message answer 0, or -errno with the reason logged; both
 * become the message's answer once nothing holds it any more.
 */
struct vhost_user_session;

/* One ring, as the messages have described it so far. */
struct vhost_user_vring {
    struct vhost_user_session *session;
    unsigned index;
    uint32_t num;      /* size; 0: not told yet */
    uint32_t base;     /* as SET_VRING_BASE carries it */
    bool base_set;     /* else the ring is new */
    bool addr_set;     /* addr counts */
    bool kicked;       /* SET_VRING_KICK came since it last stopped */
    bool polled;       /* and said that no kicks will come */
    bool enabled;      /* also kept while it is stopped */
    bool running;      /* the device has it */
    uint64_t features; /* that it was started with: they decide the format of its base */
    struct vhost_user_addr addr;
    int err_fd;                   /* or -1 */
    struct vhost_user_call *call; /* the eventfd to call, kept over a reset; or NULL */
};

/* How a session tells whoever made it. */
struct vhost_user_listener {
    /* It came to its end, and waits for vhost_user_session_close(). */
    void (*ended)(void *ctx);
    /* The last callback after closing, when no request of it is out: it is freed now. */
    void (*freed)(void *ctx);
    void *ctx;
};

struct vhost_user_session {
    struct ob_loop *loop;
    const struct ob_log *log;
    struct ob_device *device;
    struct ob_memory *memory;
    struct vhost_user_listener listener;
    struct channel *channel; /* NULL once closed */
    struct ob_work work;     /* goes on outside of the device's callbacks */
    bool posted;             /* work is */
    bool pumping;            /* inside the pump, which sees all changes by itself */
    bool ended;              /* dropped or left: nothing is read or sent any more */
    bool told;               /* the listener knows */
    bool draining;           /* closing gently: rings are being stopped */
    bool closed;             /* only callbacks are awaited */
    unsigned pending;        /* callbacks that the device, memory and loop owe */

    /* The message being received or handled. */
    struct vhost_user_header header;
    union vhost_user_payload payload;
    size_t received; /* bytes of header and payload */
    struct channel_fds fds;
    unsigned holds; /* what must happen before it can be answered */
    int result;     /* the first failure so far */
    bool known;     /* it is one of ours, and owes the answer that the table says */
    union vhost_user_payload reply;
    size_t reply_size;
    bool greeted;        /* at least one message was good */
    unsigned complaints; /* logged */

    /* The answer being sent. */
    char out[VHOST_USER_MESSAGE_MAX];
    size_t out_len;
    size_t out_sent;

    /* Negotiated. */
    uint64_t features;
    uint64_t protocol_features;
    bool features_refused; /* the last SET_FEATURES was */
    uint8_t status;

    /* The back-end's own messages. */
    struct channel *back; /* or NULL */
    bool config_changed;  /* the front-end has not been told */
    size_t back_sent;     /* bytes of the message under way */

    struct ob_timer poll_timer; /* while a ring is polled */
    unsigned n_vrings;
    struct vhost_user_vring vrings[];
};

/*
 * Starts a session.
 * channel: consumed on success. 0 or -ENOMEM.
 */
int vhost_user_session_new(struct ob_loop *loop, const struct ob_log *log, struct ob_device *device,
                           struct channel *channel, const struct vhost_user_listener *listener,
                           struct vhost_user_session **ret);

/* False if the front-end has gone, or was dropped, though nobody was told yet. */
bool vhost_user_session_alive(const struct vhost_user_session *session);

/* True once a message of the front-end was carried out. */
bool vhost_user_session_greeted(const struct vhost_user_session *session);

/*
 * Takes the device away from the front-end, closes the channel, and frees the session when
 * nothing refers to it any more, which is told by listener.freed().
 * gently: the requests out are ended and told to the driver before.
 */
void vhost_user_session_close(struct vhost_user_session *session, bool gently);

/*
 * For the files of the session.
 */

/* Keeps the present message from being answered until as many releases. */
static inline void vhost_user_hold(struct vhost_user_session *session)
{
    session->holds++;
}

/* Undoes one hold, with the result of what was waited for. */
void vhost_user_release(struct vhost_user_session *session, int result);

/* Around a command with a callback: one is owed (before the call), or it failed. */
static inline void vhost_user_expect(struct vhost_user_session *session)
{
    session->pending++;
}

static inline void vhost_user_unexpect(struct vhost_user_session *session)
{
    session->pending--;
}

/* First thing in each callback. False: the session has ended (and may be freed): return. */
bool vhost_user_arrived(struct vhost_user_session *session);

/* Ends the session. Fine inside callbacks of the device: the listener hears of it later. */
void vhost_user_end(struct vhost_user_session *session, enum ob_log_level level, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));

/* Logs why something is refused; of one front-end only so often. */
void vhost_user_complain(struct vhost_user_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* No ring runs any more, while draining. Fine inside callbacks of the device. */
void vhost_user_drained(struct vhost_user_session *session);

/* Takes the first descriptor of the message, or -1. */
int vhost_user_take_fd(struct vhost_user_session *session);

/* The answer's payload, for messages that reply. */
void vhost_user_reply(struct vhost_user_session *session, const void *payload, size_t size);
void vhost_user_reply_u64(struct vhost_user_session *session, uint64_t value);

/* True if the feature was negotiated. */
bool vhost_user_negotiated(const struct vhost_user_session *session,
                           enum vhost_user_protocol_feature feature);

/* vhost_user_dispatch.c: handles the message that was received. 0, or -errno: refused. */
int vhost_user_handle(struct vhost_user_session *session);

/* vhost_user_negotiate.c: features, owner, status, reset. */
uint64_t vhost_user_protocol_features(const struct vhost_user_session *session);
int vhost_user_get_features(struct vhost_user_session *session);
int vhost_user_set_features(struct vhost_user_session *session);
int vhost_user_get_protocol_features(struct vhost_user_session *session);
int vhost_user_set_protocol_features(struct vhost_user_session *session);
int vhost_user_set_owner(struct vhost_user_session *session);
int vhost_user_reset_owner(struct vhost_user_session *session);
int vhost_user_get_queue_num(struct vhost_user_session *session);
int vhost_user_reset_device(struct vhost_user_session *session);
int vhost_user_set_status(struct vhost_user_session *session);
int vhost_user_get_status(struct vhost_user_session *session);

/* vhost_user_memory.c: regions. */
int vhost_user_set_mem_table(struct vhost_user_session *session);
int vhost_user_get_max_mem_slots(struct vhost_user_session *session);
int vhost_user_add_mem_reg(struct vhost_user_session *session);
int vhost_user_rem_mem_reg(struct vhost_user_session *session);
/* Gives the device the current map; callbacks are awaited but nothing is held. */
void vhost_user_memory_give(struct vhost_user_session *session);

/* vhost_user_vring.c: rings. */
/* The ring that a decoded message names, or NULL with the reason logged. */
struct vhost_user_vring *vhost_user_vring_of(struct vhost_user_session *session, int decoded,
                                             unsigned index);
/* Starts a ring if it is stopped and all is known that it takes. 0, or -errno: it cannot. */
int vhost_user_vring_start(struct vhost_user_vring *vring);
void vhost_user_vrings_init(struct vhost_user_session *session);
void vhost_user_vrings_enable(struct vhost_user_session *session);
/* After the device was reset: back to the start, but for call and error descriptors. */
void vhost_user_vrings_reset(struct vhost_user_session *session);
/* Stops all rings; vhost_user_drained() once they are. */
void vhost_user_vrings_drain(struct vhost_user_session *session);
void vhost_user_vrings_free(struct vhost_user_session *session);
bool vhost_user_vrings_running(const struct vhost_user_session *session);
int vhost_user_set_vring_num(struct vhost_user_session *session);
int vhost_user_set_vring_addr(struct vhost_user_session *session);
int vhost_user_set_vring_base(struct vhost_user_session *session);
int vhost_user_get_vring_base(struct vhost_user_session *session);
int vhost_user_set_vring_enable(struct vhost_user_session *session);

/* vhost_user_notify.c: kick, call, error. */
void vhost_user_poll_init(struct vhost_user_session *session);
/* Sees to it that rings without kicks are looked at. 0 or -errno. */
int vhost_user_poll(struct vhost_user_session *session);
void vhost_user_vring_broken(void *ctx, unsigned index);
int vhost_user_set_vring_kick(struct vhost_user_session *session);
int vhost_user_set_vring_call(struct vhost_user_session *session);
int vhost_user_set_vring_err(struct vhost_user_session *session);

/* vhost_user_config.c: configuration space and the back-end's channel. */
int vhost_user_get_config(struct vhost_user_session *session);
int vhost_user_set_config(struct vhost_user_session *session);
int vhost_user_set_backend_req_fd(struct vhost_user_session *session);
void vhost_user_config_changed(void *ctx);
/* Tells what has been waiting, if it can be told now. */
void vhost_user_config_tell(struct vhost_user_session *session);
void vhost_user_back_close(struct vhost_user_session *session);

#endif
