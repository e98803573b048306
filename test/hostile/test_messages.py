#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A front-end that breaks the rules of messages: sizes, flags, descriptors, values, order."""

import os
import random
import socket
import struct
import sys

import hostile
import vhost_user_client as vu

# (request, a good payload, descriptors that belong to it)
MEMORY = vu.Region(1 << 20, 0x100000, 0x7f0000000000)


def messages():
    table = struct.pack('<II', 1, 0) + MEMORY.wire()
    return [
        (vu.GET_FEATURES, b'', 0), (vu.SET_FEATURES, vu.u64(vu.VERSION_1 | 1 << 30), 0),
        (vu.SET_OWNER, b'', 0), (vu.RESET_OWNER, b'', 0), (vu.SET_MEM_TABLE, table, 1),
        (vu.SET_VRING_NUM, vu.state(0, 16), 0), (vu.SET_VRING_ADDR, vu.ring_addr(0, 0, 0, 0), 0),
        (vu.SET_VRING_BASE, vu.state(0, 0), 0), (vu.GET_VRING_BASE, vu.state(0, 0), 0),
        (vu.SET_VRING_KICK, vu.u64(0), 1), (vu.SET_VRING_CALL, vu.u64(0), 1),
        (vu.SET_VRING_ERR, vu.u64(0), 1), (vu.GET_PROTOCOL_FEATURES, b'', 0),
        (vu.SET_PROTOCOL_FEATURES, vu.u64(0), 0), (vu.GET_QUEUE_NUM, b'', 0),
        (vu.SET_VRING_ENABLE, vu.state(0, 1), 0), (vu.SET_BACKEND_REQ_FD, b'', 1),
        (vu.GET_CONFIG, vu.config(0, 8, 0, b'\0' * 8), 0),
        (vu.SET_CONFIG, vu.config(32, 1, 0, b'\1'), 0), (vu.RESET_DEVICE, b'', 0),
        (vu.GET_MAX_MEM_SLOTS, b'', 0), (vu.ADD_MEM_REG, MEMORY.slot(), 1),
        (vu.REM_MEM_REG, MEMORY.slot(), 0), (vu.SET_STATUS, vu.u64(1), 0),
        (vu.GET_STATUS, b'', 0),
    ]


# Their refusal cannot be told by an acknowledgement, as they have a reply of their own.
REPLIES = {vu.GET_FEATURES, vu.GET_VRING_BASE, vu.GET_PROTOCOL_FEATURES, vu.GET_QUEUE_NUM,
           vu.GET_CONFIG, vu.GET_MAX_MEM_SLOTS, vu.GET_STATUS}
# Their refusal misleads nobody.
HARMLESS = {vu.SET_CONFIG}
# The least payload of those that take more than need be.
LONGER = {vu.GET_CONFIG: 12, vu.SET_CONFIG: 13}


def fds_for(request, count):
    if request == vu.SET_BACKEND_REQ_FD:
        return [s.detach() for _ in range(count) for s in hostile.program.socket_pair()][:count]
    if request in (vu.SET_MEM_TABLE, vu.ADD_MEM_REG, vu.REM_MEM_REG):
        return [os.dup(MEMORY.fd) for _ in range(count)]
    return [vu.eventfd() for _ in range(count)]


def refused_both_ways(target, request, payload, fds):
    """Refused with an acknowledgement where that is possible; else the connection ends."""
    f = target.front_end()
    if request in REPLIES:
        f.send(request, payload, fds, need_reply=True)
        assert f.gone(), 'message %d was taken' % request
    else:
        f.refused(request, payload, fds)
        assert f.alive()
    f.close()
    f = target.front_end()
    f.send(request, payload, fds)
    if request in HARMLESS:
        assert f.alive()
    else:
        assert f.gone(), 'message %d was taken' % request
    f.close()
    for fd in fds:
        os.close(fd)


def test_sizes():
    with hostile.Target() as target:
        for request, payload, count in messages():
            sizes = {0, 1, len(payload) - 1, len(payload) + 1, len(payload) + 8, 268}
            for size in sizes - {len(payload), -1}:
                if size >= LONGER.get(request, 1000):
                    continue
                data = (payload + b'\0' * 268)[:size]
                refused_both_ways(target, request, data, fds_for(request, count))


def test_too_large_for_any_message():
    with hostile.Target() as target:
        for size in (269, 4096, 0x7fffffff, 0xffffffff):
            with target.front_end() as f:
                f.send_bytes(vu.header(vu.SET_OWNER, size, vu.NEED_REPLY))
                assert f.gone()


def test_flags():
    with hostile.Target() as target:
        for flags in (0, 2, 3, 5, 0xd, 0x11, 0x21, 0x80000001):
            with target.front_end() as f:
                f.send_bytes(struct.pack('<III', vu.SET_OWNER, flags, 0))
                assert f.gone(), 'flags 0x%x were taken' % flags


def test_descriptor_counts():
    with hostile.Target() as target:
        for request, payload, count in messages():
            for wrong in {0, 1, 2, 8, 9, 17, 100} - {count}:
                if request == vu.REM_MEM_REG and wrong == 1:
                    continue  # early front-ends send one
                refused_both_ways(target, request, payload, fds_for(request, wrong))
            target.survives()
        target.fds_settle(target.fds)


def test_descriptors_of_refused_messages():
    """They are closed, whatever it is that is refused."""
    with hostile.Target() as target:
        f = target.front_end()
        before = target.fd_count()
        fds = [vu.eventfd() for _ in range(8)]
        for request in (0, 6, 7, 31, 32, 41, 99):
            f.refused(request, b'', fds)
        for _ in range(100):
            f.refused(vu.SET_MEM_TABLE, b'', fds)
        target.fds_settle(before)
        f.close()
        for fd in fds:
            os.close(fd)


def test_descriptors_of_half_a_message():
    with hostile.Target() as target:
        fd = vu.eventfd()
        for _ in range(50):
            with target.front_end() as f:
                f.send_bytes(vu.header(vu.SET_VRING_KICK, 8)[:7], [fd] * 5)
        os.close(fd)
        target.survives()
        target.fds_settle(target.fds)


def test_descriptors_at_every_byte():
    with hostile.Target() as target:
        fd = vu.eventfd()
        with target.front_end() as f:
            for byte in vu.header(vu.SET_VRING_KICK, 8, vu.NEED_REPLY) + vu.u64(0):
                f.send_bytes(bytes([byte]), [fd])
            assert f.reply(vu.SET_VRING_KICK) != vu.u64(0)
            assert f.alive()
        os.close(fd)


def not_eventfds(folder):
    read_end, write_end = os.pipe()
    a, b = hostile.program.socket_pair()
    return [os.open('/dev/null', os.O_RDWR), os.memfd_create('x'), read_end, write_end,
            a.detach(), b.detach(), os.open(folder, os.O_RDONLY), os.open(folder, os.O_PATH)]


def test_not_an_eventfd():
    with hostile.Target() as target, target.front_end() as f:
        fds = not_eventfds(target.folder.name)
        for fd in fds:
            for request in (vu.SET_VRING_KICK, vu.SET_VRING_CALL, vu.SET_VRING_ERR):
                f.refused(request, vu.u64(0), [fd])
        assert f.alive()
        for fd in fds:
            os.close(fd)


def test_not_a_socket():
    with hostile.Target() as target, target.front_end() as f:
        fds = not_eventfds(target.folder.name) + [vu.eventfd()]
        for index, fd in enumerate(fds):
            if index not in (4, 5):  # those are sockets
                f.refused(vu.SET_BACKEND_REQ_FD, fds=[fd])
            os.close(fd)
        for other in (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
                      socket.socket(socket.AF_INET, socket.SOCK_STREAM),
                      socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)):
            f.refused(vu.SET_BACKEND_REQ_FD, fds=[other.fileno()])
            other.close()
        assert f.alive()


def test_not_memory():
    with hostile.Target() as target, target.front_end() as f:
        fds = not_eventfds(target.folder.name) + [vu.eventfd()]
        for fd in fds:
            f.refused(vu.ADD_MEM_REG, MEMORY.slot(), [fd])
            f.refused(vu.SET_MEM_TABLE, struct.pack('<II', 1, 0) + MEMORY.wire(), [fd])
            os.close(fd)
        assert f.alive()


def test_ring_numbers():
    with hostile.Target('--queues', '2') as target, target.front_end() as f:
        for index in (2, 3, 255, 256, 65536, 0x7fffffff, 0xffffffff):
            f.refused(vu.SET_VRING_NUM, vu.state(index, 16))
            f.refused(vu.SET_VRING_BASE, vu.state(index, 0))
            f.refused(vu.SET_VRING_ENABLE, vu.state(index, 1))
            f.refused(vu.SET_VRING_ADDR, vu.ring_addr(index, 0, 0, 0))
            with target_connection_after(f, target) as other:
                other.send(vu.GET_VRING_BASE, vu.state(index))
                assert other.gone()
            f = target.front_end()
        fd = vu.eventfd()
        for value in (2, 255, 0x200, 0x102, 1 << 9, 1 << 32, 2**64 - 1):
            for request in (vu.SET_VRING_KICK, vu.SET_VRING_CALL, vu.SET_VRING_ERR):
                f.refused(request, vu.u64(value), [fd])
        # The payload says one thing and the descriptors another.
        for request in (vu.SET_VRING_KICK, vu.SET_VRING_CALL, vu.SET_VRING_ERR):
            f.refused(request, vu.u64(0))
            f.refused(request, vu.u64(vu.NO_FD), [fd])
        for value in (2, 0xffffffff):
            f.refused(vu.SET_VRING_ENABLE, vu.state(0, value))
        f.refused(vu.SET_VRING_ADDR, vu.ring_addr(0, 0, 0, 0, flags=2))
        os.close(fd)
        assert f.alive()
        f.close()


def target_connection_after(f, target):
    """One front-end at a time: ends the one and begins another."""
    f.close()
    return target.front_end()


def test_out_of_order():
    """Everything before anything was negotiated, and rings before memory."""
    with hostile.Target() as target:
        for request, payload, count in messages():
            fds = fds_for(request, count)
            with target.connect() as f:
                f.send(request, payload, fds)
                f.gone(0.02)
            for fd in fds:
                os.close(fd)
        fd = vu.eventfd()
        with target.front_end() as f:
            f.ok(vu.SET_VRING_NUM, vu.state(0, 16))
            f.ok(vu.SET_VRING_ADDR, vu.ring_addr(0, 0x1000, 0x2000, 0x3000))
            f.refused(vu.SET_VRING_KICK, vu.u64(0), [fd])
            f.ok(vu.RESET_DEVICE)
            f.ok(vu.SET_VRING_KICK, vu.u64(0), [fd])
            f.ok(vu.SET_VRING_ADDR, vu.ring_addr(0, 0x1000, 0x2000, 0x3000))
            f.refused(vu.SET_VRING_NUM, vu.state(0, 16))
        os.close(fd)


def test_cut_off_at_every_byte():
    with hostile.Target() as target:
        data = vu.header(vu.SET_VRING_ADDR, 40) + vu.ring_addr(0, 0, 0, 0)
        for length in range(len(data)):
            with target.connect() as f:
                f.send_bytes(data[:length])
        target.survives()


def test_noise():
    rng = random.Random(1)
    with hostile.Target() as target:
        for _ in range(300):
            with target.connect() as f:
                try:
                    f.send_bytes(rng.randbytes(rng.randrange(1, 600)))
                    f.gone(0.001)
                except (BrokenPipeError, ConnectionResetError):
                    pass
        target.survives()


def test_random_messages():
    """Sound headers around random payloads, with and without descriptors."""
    rng = random.Random(2)
    with hostile.Target() as target:
        for _ in range(150):
            with target.front_end() as f:
                try:
                    for _ in range(20):
                        request, payload, count = rng.choice(messages())
                        data = bytearray(payload)
                        for _ in range(rng.randrange(3)):
                            if data:
                                data[rng.randrange(len(data))] = rng.choice(
                                    (0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
                        fds = fds_for(request, rng.choice((count, count, rng.randrange(3))))
                        f.send(request, bytes(data), fds, need_reply=rng.random() < 0.8)
                        for fd in fds:
                            os.close(fd)
                except (BrokenPipeError, ConnectionResetError):
                    pass
        target.survives()


if __name__ == '__main__':
    hostile.run()
