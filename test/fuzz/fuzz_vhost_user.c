/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the whole of a vhost-user back-end, messages and rings.
 *
 * An input is a list of records, which a front-end and a driver carry out on a real session,
 * device, ring engine and disk in memory:
 *
 *   M request flags fds kind... size payload   a message with a sound version and size
 *   R size bytes                               bytes as they are
 *   S size                                     from now on, bytes arrive so many at a time
 *   W offset size bytes                        writes to guest memory (offset: 16 bits)
 *   K                                          kicks all rings
 *   C                                          the device's configuration changes
 *   B                                          the front-end reads no answers for a while
 *   X                                          the front-end leaves; the next one comes
 *   T pages                                    cuts the guest's memory file short
 *
 * Sizes are one byte, but for a message's, which is two. Descriptors are named by kinds; see
 * make_fd(). Records that make no sense are passed over. corpus.py writes the first inputs.
 *
 * Everything runs on this thread. The device is given a worker, as it must, but its queues are
 * moved to the control loop, which runs a number of turns after each record: enough for any
 * command to go to the worker and back. At the end everything is freed; then the lowest free
 * descriptor must be the one that it was before.
 */

#include "device/device.h"
#include "transport/vhost_user_session.h"

#include "base/fd.h"
#include "base/util.h"

#include <outboard/blk.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUEST_BYTES 65536u
#define TURNS 12       /* of the loop after each record */
#define TURNS_MAX 2000 /* until a session must have ended */
#define KICKS_MAX 64   /* descriptors remembered */
#define QUEUES 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of the input. */
struct input {
    const uint8_t *at;
    size_t left;
};

struct fuzz {
    struct channel channel; /* first: the ops get it back */
    struct ob_loop *loop;
    struct ob_device *device;
    struct vhost_user_session *session; /* or NULL */
    unsigned sessions;                  /* not freed */
    unsigned interest;
    unsigned turns; /* left */
    struct ob_work turn;

    const uint8_t *wire; /* what the front-end has sent */
    size_t wire_left;
    size_t piece; /* bytes at a time; 0: all */
    int fds[VHOST_USER_FDS_MAX + 1];
    unsigned n_fds;
    bool deaf; /* takes no answers */
    bool left;

    int guest_fd;
    uint8_t *guest;
    int kicks[KICKS_MAX]; /* duplicates of all eventfds that were sent */
    unsigned n_kicks;
};

static struct ob_worker *worker; /* idle; made once */

static int64_t fuzz_recv(struct channel *channel, void *buf, size_t len, struct channel_fds *fds)
{
    struct fuzz *fuzz = container_of(channel, struct fuzz, channel);

    if (!fuzz->wire_left)
        return fuzz->left ? 0 : -EAGAIN;
    len = min_u64(len, fuzz->wire_left);
    if (fuzz->piece)
        len = min_u64(len, fuzz->piece);
    memcpy(buf, fuzz->wire, len);
    fuzz->wire += len;
    fuzz->wire_left -= len;
    for (unsigned i = 0; i < fuzz->n_fds; i++) {
        if (fds->count < array_size(fds->fd)) {
            fds->fd[fds->count++] = fuzz->fds[i];
        } else {
            fds->excess = true;
            fd_close(&fuzz->fds[i]);
        }
    }
    fuzz->n_fds = 0;
    return (int64_t)len;
}

static int64_t fuzz_send(struct channel *channel, const void *buf, size_t len)
{
    struct fuzz *fuzz = container_of(channel, struct fuzz, channel);

    if (fuzz->deaf)
        return -EAGAIN;
    if (fuzz->piece)
        len = min_u64(len, fuzz->piece);
    /* Has the sanitizers look at every byte that leaves. */
    for (size_t i = 0; i < len; i++)
        __asm__ volatile("" : : "r"(((const volatile uint8_t *)buf)[i]));
    return (int64_t)len;
}

static int fuzz_watch(struct channel *channel, unsigned interest)
{
    container_of(channel, struct fuzz, channel)->interest = interest;
    return 0;
}

static bool fuzz_alive(struct channel *channel)
{
    return !container_of(channel, struct fuzz, channel)->left;
}

/* The back-end's channel is the same, without anything to read. */
static int64_t back_recv(struct channel *channel, void *buf, size_t len, struct channel_fds *fds)
{
    return -EAGAIN;
}

static int64_t back_send(struct channel *channel, const void *buf, size_t len)
{
    return (int64_t)len;
}

static int back_watch(struct channel *channel, unsigned interest)
{
    return 0;
}

static void back_close(struct channel *channel)
{
    free(channel);
}

static const struct channel_ops back_ops = {
    .size = sizeof(struct channel_ops),
    .name = "fuzz-back",
    .recv = back_recv,
    .send = back_send,
    .watch = back_watch,
    .close = back_close,
};

static int fuzz_back_channel(struct channel *channel, int fd, struct channel **ret)
{
    struct channel *back = calloc(1, sizeof(*back));

    if (!back)
        return -ENOMEM;
    fd_close(&fd);
    back->ops = &back_ops;
    *ret = back;
    return 0;
}

static void fuzz_close(struct channel *channel)
{
    struct fuzz *fuzz = container_of(channel, struct fuzz, channel);

    fuzz->interest = 0;
    fuzz->wire_left = 0;
    fd_close_all(fuzz->fds, fuzz->n_fds);
    fuzz->n_fds = 0;
}

static const struct channel_ops fuzz_ops = {
    .size = sizeof(struct channel_ops),
    .name = "fuzz",
    .carries_fds = true,
    .recv = fuzz_recv,
    .send = fuzz_send,
    .watch = fuzz_watch,
    .alive = fuzz_alive,
    .back_channel = fuzz_back_channel,
    .close = fuzz_close,
};

static void session_ended(void *ctx)
{
    struct fuzz *fuzz = ctx;
    struct vhost_user_session *session = fuzz->session;

    fuzz->session = NULL;
    vhost_user_session_close(session, false);
}

static void session_freed(void *ctx)
{
    ((struct fuzz *)ctx)->sessions--;
}

static void session_begin(struct fuzz *fuzz)
{
    const struct vhost_user_listener listener = {session_ended, session_freed, fuzz};

    fuzz->left = false;
    if (vhost_user_session_new(fuzz->loop, NULL, fuzz->device, &fuzz->channel, &listener,
                               &fuzz->session) < 0)
        abort();
    fuzz->sessions++;
}

static void next_turn(struct ob_work *work)
{
    struct fuzz *fuzz = container_of(work, struct fuzz, turn);

    if (fuzz->session && ((fuzz->interest & CHANNEL_READ && (fuzz->wire_left || fuzz->left)) ||
                          (fuzz->interest & CHANNEL_WRITE && !fuzz->deaf)))
        fuzz->channel.ready(fuzz->channel.ctx, fuzz->left);
    if (!--fuzz->turns)
        ob_loop_stop(fuzz->loop);
    else
        ob_loop_post(fuzz->loop, work);
}

static void run_turns(struct fuzz *fuzz, unsigned turns)
{
    fuzz->turns = turns;
    fuzz->turn.run = next_turn;
    ob_loop_post(fuzz->loop, &fuzz->turn);
    ob_loop_run(fuzz->loop);
}

static uint8_t take_byte(struct input *input)
{
    if (!input->left)
        return 0;
    input->left--;
    return *input->at++;
}

static unsigned take_short(struct input *input)
{
    unsigned low = take_byte(input);

    return low | (unsigned)take_byte(input) << 8;
}

/* Up to size bytes, still in the input. */
static const uint8_t *take_bytes(struct input *input, size_t *size)
{
    const uint8_t *bytes = input->at;

    *size = min_u64(*size, input->left);
    input->at += *size;
    input->left -= *size;
    return bytes;
}

static int make_eventfd(struct fuzz *fuzz)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    if (fuzz->n_kicks < KICKS_MAX) {
        int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);

        if (kept >= 0)
            fuzz->kicks[fuzz->n_kicks++] = kept;
    }
    return fd;
}

static int make_socket(void)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    fd_close(&fds[1]);
    return fds[0];
}

static int make_fd(struct fuzz *fuzz, uint8_t kind)
{
    switch (kind % 8) {
    case 0: return make_eventfd(fuzz);
    case 1:
    case 2: return fcntl(fuzz->guest_fd, F_DUPFD_CLOEXEC, 0);
    case 3: return memfd_create("empty", MFD_CLOEXEC);
    case 4: return make_socket();
    case 5: return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 6: return open("/", O_PATH | O_CLOEXEC);
    default: return eventfd(1, EFD_CLOEXEC | EFD_SEMAPHORE);
    }
}

static void send_wire(struct fuzz *fuzz, const uint8_t *bytes, size_t size)
{
    fuzz->wire = bytes;
    fuzz->wire_left = size;
    /* A message in pieces of one byte takes that many turns. */
    for (unsigned i = 0; i < VHOST_USER_MESSAGE_MAX && fuzz->wire_left && fuzz->session; i++)
        run_turns(fuzz, TURNS);
    fuzz->wire_left = 0;
}

static void record_message(struct fuzz *fuzz, struct input *input)
{
    uint8_t message[VHOST_USER_MESSAGE_MAX];
    struct vhost_user_header header = {
        .request = take_byte(input),
        .flags = VHOST_USER_VERSION | (take_byte(input) & VHOST_USER_FLAG_NEED_REPLY),
    };
    unsigned n_fds = take_byte(input) % array_size(fuzz->fds);
    const uint8_t *payload;
    size_t size;

    for (unsigned i = 0; i < n_fds; i++) {
        int fd = make_fd(fuzz, take_byte(input));

        if (fd >= 0)
            fuzz->fds[fuzz->n_fds++] = fd;
    }
    size = take_short(input) % (VHOST_USER_PAYLOAD_MAX + 1);
    payload = take_bytes(input, &size);
    header.size = (uint32_t)size;
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), payload, size);
    send_wire(fuzz, message, sizeof(header) + size);
    fd_close_all(fuzz->fds, fuzz->n_fds);
    fuzz->n_fds = 0;
}

static void record_write(struct fuzz *fuzz, struct input *input)
{
    unsigned offset = take_short(input);
    size_t size = take_byte(input);
    const uint8_t *bytes = take_bytes(input, &size);

    /* Through the file: our own access must not fault where it was cut. */
    if (pwrite(fuzz->guest_fd, bytes, min_u64(size, GUEST_BYTES - offset), offset) < 0)
        return;
}

static void record(struct fuzz *fuzz, struct input *input)
{
    const uint8_t *bytes;
    size_t size;

    if (!fuzz->session)
        session_begin(fuzz);
    switch (take_byte(input)) {
    case 'M': record_message(fuzz, input); return;
    case 'R':
        size = take_byte(input);
        bytes = take_bytes(input, &size);
        send_wire(fuzz, bytes, size);
        return;
    case 'S': fuzz->piece = take_byte(input); return;
    case 'W': record_write(fuzz, input); return;
    case 'K':
        for (unsigned i = 0; i < fuzz->n_kicks; i++)
            eventfd_write(fuzz->kicks[i], 1);
        break;
    case 'C': ob_device_config_changed(fuzz->device); break;
    case 'B': fuzz->deaf = !fuzz->deaf; break;
    case 'X': fuzz->left = true; break;
    case 'T':
        if (ftruncate(fuzz->guest_fd, take_byte(input) % 16 * 4096) < 0)
            abort();
        break;
    default: return;
    }
    run_turns(fuzz, TURNS);
}

static void device_begin(struct fuzz *fuzz)
{
    const struct ob_blk_options options = {
        .device = {.control = fuzz->loop, .workers = &worker, .n_workers = 1, .n_queues = QUEUES},
        .source = "memory:64k",
    };

    if (ob_blk_new(&options, &fuzz->device) < 0)
        abort();
    for (unsigned i = 0; i < QUEUES; i++)
        fuzz->device->queues[i].queue.loop = fuzz->loop;
}

static void fuzz_begin(struct fuzz *fuzz)
{
    const struct ob_loop_options options = {.poll = OB_POLL_OFF};

    if (ob_loop_new(&options, &fuzz->loop) < 0)
        abort();
    fuzz->channel.ops = &fuzz_ops;
    fuzz->guest_fd = memfd_create("guest", MFD_CLOEXEC);
    if (fuzz->guest_fd < 0 || ftruncate(fuzz->guest_fd, GUEST_BYTES) < 0)
        abort();
    device_begin(fuzz);
}

static void fuzz_end(struct fuzz *fuzz)
{
    fuzz->deaf = false;
    fuzz->left = true;
    for (unsigned turns = 0; fuzz->sessions; turns += TURNS) {
        if (turns > TURNS_MAX)
            abort(); /* a request, or a callback, was lost */
        run_turns(fuzz, TURNS);
    }
    ob_device_free(fuzz->device);
    run_turns(fuzz, TURNS); /* what it gave up is freed by the loop */
    fd_close_all(fuzz->kicks, fuzz->n_kicks);
    fd_close(&fuzz->guest_fd);
    ob_loop_free(fuzz->loop);
}

/* As the program's own handler does. */
static void bus_error(int number, siginfo_t *info, void *context)
{
    if (!ob_memory_fault(info->si_addr))
        signal(SIGBUS, SIG_DFL);
}

static void begin_once(void)
{
    const struct ob_worker_options options = {.cpu = -1};
    const struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO};

    if (worker)
        return;
    if (ob_worker_new(&options, &worker) < 0)
        abort();
    sigaction(SIGBUS, &action, NULL);
}

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO), number = fd;

    fd_close(&fd);
    return number;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {.guest_fd = -1};
    struct input input = {data, size};
    int before;

    begin_once();
    before = lowest_free_fd();
    fuzz_begin(&fuzz);
    while (input.left)
        record(&fuzz, &input);
    fuzz_end(&fuzz);
    if (lowest_free_fd() != before)
        abort();
    return 0;
}
