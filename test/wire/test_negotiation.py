#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Features, acknowledgements, and how messages come."""

import os
import struct
import sys
import time

import program
import vhost_user_client as vu

OFFERED = sum(1 << bit for bit in (vu.F_MQ, vu.F_REPLY_ACK, vu.F_BACKEND_REQ, vu.F_CONFIG,
                                   vu.F_RESET_DEVICE, vu.F_CONFIGURE_MEM_SLOTS, vu.F_STATUS))


def test_features():
    with program.Program() as p, p.connect() as f:
        features = f.get_u64(vu.GET_FEATURES)
        for bit in (vu.PROTOCOL_FEATURES, vu.VERSION_1, vu.RING_PACKED, vu.INDIRECT_DESC,
                    vu.EVENT_IDX):
            assert features & bit, '0x%x lacks 0x%x' % (features, bit)
        for bit in (26, 33):  # logging, IOMMU
            assert not features >> bit & 1
        assert f.get_u64(vu.GET_PROTOCOL_FEATURES) == OFFERED


def test_queue_num():
    with program.Program('--queues', '3') as p, p.connect() as f:
        f.negotiate()
        assert f.get_u64(vu.GET_QUEUE_NUM) == 3
        assert f.get_u64(vu.GET_MAX_MEM_SLOTS) == 509


def test_owner_is_ignored():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        f.ok(vu.SET_OWNER)
        f.ok(vu.RESET_OWNER)
        f.ok(vu.SET_OWNER)
        assert f.alive()


def test_acknowledged_only_when_negotiated():
    with program.Program() as p, p.connect() as f:
        f.negotiate(protocol=OFFERED & ~(1 << vu.F_REPLY_ACK))
        f.send(vu.SET_OWNER, need_reply=True)
        assert f.get_u64(vu.GET_QUEUE_NUM)  # the next answer is this one's
        f.send(vu.SET_PROTOCOL_FEATURES, vu.u64(OFFERED))
        f.ok(vu.SET_OWNER)
        f.send(vu.SET_OWNER)  # not asked for
        assert f.get_u64(vu.GET_QUEUE_NUM)


def test_reply_needs_no_second_one():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        f.send(vu.GET_QUEUE_NUM, need_reply=True)
        assert len(f.reply(vu.GET_QUEUE_NUM)) == 8
        assert f.get_u64(vu.GET_MAX_MEM_SLOTS) == 509


def test_messages_in_pieces():
    with program.Program() as p, p.connect() as f:
        for byte in vu.header(vu.GET_FEATURES, 0):
            f.send_bytes(bytes([byte]))
            time.sleep(0.002)
        assert f.reply(vu.GET_FEATURES)
        f.negotiate()
        # The descriptor comes with the first byte of a message.
        data = vu.header(vu.SET_VRING_CALL, 8, vu.NEED_REPLY) + vu.u64(0)
        fd = vu.eventfd()
        f.send_bytes(data[:5], [fd])
        time.sleep(0.01)
        f.send_bytes(data[5:15])
        time.sleep(0.01)
        f.send_bytes(data[15:])
        assert f.reply(vu.SET_VRING_CALL) == vu.u64(0)
        os.close(fd)


def test_messages_in_one_piece():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        f.send_bytes(vu.header(vu.GET_QUEUE_NUM, 0) * 100)
        for _ in range(100):
            f.reply(vu.GET_QUEUE_NUM)


def test_unread_answers_do_not_block_the_program():
    """A front-end that never reads fills its socket; the program waits, and serves the next."""
    with program.Program() as p:
        with p.connect() as f:
            f.sock.settimeout(0.3)
            try:
                for _ in range(100000):
                    f.send_bytes(vu.header(vu.GET_FEATURES, 0) * 10)
                raise AssertionError('the program reads without end')
            except TimeoutError:
                pass
        p.serves()


def test_features_not_offered():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        for bit in (26, 33, 63):
            f.refused(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | 1 << bit))
        f.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1))
        for bit in (1, 12, 14, 17, 63):
            f.refused(vu.SET_PROTOCOL_FEATURES, vu.u64(OFFERED | 1 << bit))
        assert f.alive()
    with program.Program() as p, p.connect() as f:
        f.send(vu.SET_FEATURES, vu.u64(1 << 26))
        assert f.gone()


def test_messages_not_offered():
    named = [6, 7, 19, 20, 22, 23, 26, 28, 31, 32, 35, 41, 42, 43, 44, 45]
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        for request in named + [0, 46, 1000, 0xffffffff]:
            f.refused(request, b'\0' * 16)
        for text in ('SET_LOG_BASE (6)', 'GET_INFLIGHT_FD (31)', 'unknown message (1000)'):
            assert text in p.said(), text
        assert f.alive()
        f.send(vu.SET_LOG_BASE, b'\0' * 16)
        assert f.gone()
        p.serves()


def test_a_read_only_device_says_so():
    with program.Program('--read-only') as p, p.connect() as f:
        assert f.get_u64(vu.GET_FEATURES) >> 5 & 1


if __name__ == '__main__':
    program.run()
