#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the first inputs of fuzz_vhost_user into corpus/vhost_user: good sessions, for the
fuzzer to spoil. What it finds by itself is added to the same folder under other names."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'wire'))

import vhost_user_client as vu
import virtqueue

OUT = os.path.join(HERE, 'corpus', 'vhost_user')
EVENTFD, GUEST, EMPTY, SOCKET = 0, 1, 3, 4  # kinds of descriptors
BASE, USER, SIZE = 0x1000, 0x700000000000, 65536


def message(request, payload=b'', fds=(), need_reply=True):
    return b'M' + bytes([request, 8 if need_reply else 0, len(fds), *fds]) + \
        struct.pack('<H', len(payload)) + payload


def write(addr, data):
    return b''.join(b'W' + struct.pack('<HB', addr - BASE + at, len(data[at:at + 128])) +
                    data[at:at + 128] for at in range(0, len(data), 128))


def begin(features=vu.VERSION_1):
    return message(vu.GET_FEATURES, need_reply=False) + \
        message(vu.GET_PROTOCOL_FEATURES, need_reply=False) + \
        message(vu.SET_PROTOCOL_FEATURES, vu.u64(0x1a229), need_reply=False) + \
        message(vu.SET_OWNER) + \
        message(vu.SET_FEATURES, vu.u64(features | vu.PROTOCOL_FEATURES))


def memory():
    return message(vu.SET_MEM_TABLE,
                   struct.pack('<II', 1, 0) + vu.region(BASE, SIZE, USER, 0), [GUEST])


class Bytes(vu.Guest):
    """Guest memory that turns what is written to it into records."""

    def __init__(self):
        self.next, self.records, self.shadow = BASE, b'', bytearray(SIZE)

    def write(self, addr, data):
        self.records += write(addr, data)
        self.shadow[addr - BASE:addr - BASE + len(data)] = data

    def read(self, addr, size):
        return bytes(self.shadow[addr - BASE:addr - BASE + size])

    def user(self, addr):
        return addr - BASE + USER

    def alloc(self, size, align=16):
        self.next = (self.next + align - 1) & ~(align - 1)
        self.next += size
        return self.next - size

    def take(self):
        records, self.records = self.records, b''
        return records


def start(ring, order='nbadcke'):
    steps = {
        'n': message(vu.SET_VRING_NUM, vu.state(ring.index, ring.size)),
        'b': message(vu.SET_VRING_BASE, vu.state(ring.index, ring.base())),
        'a': message(vu.SET_VRING_ADDR, ring.addr_payload()),
        'd': message(vu.SET_VRING_ERR, vu.u64(ring.index), [EVENTFD]),
        'c': message(vu.SET_VRING_CALL, vu.u64(ring.index), [EVENTFD]),
        'k': message(vu.SET_VRING_KICK, vu.u64(ring.index), [EVENTFD]),
        'e': message(vu.SET_VRING_ENABLE, vu.state(ring.index, 1)),
    }
    return b''.join(steps[step] for step in order)


def stop(ring):
    return message(vu.GET_VRING_BASE, vu.state(ring.index), need_reply=False)


def disk_session(ring_type, features, count=3):
    guest = Bytes()
    ring = ring_type(guest)
    disk = virtqueue.Disk.__new__(virtqueue.Disk)
    disk.ring, disk.guest = ring, guest
    disk.head, disk.status, disk.buffer = guest.alloc(16), guest.alloc(1), guest.alloc(1024)
    out = begin(features) + memory() + guest.take() + start(ring)
    for kind in (virtqueue.BLK_OUT, virtqueue.BLK_IN, virtqueue.BLK_GET_ID)[:count]:
        writable = kind != virtqueue.BLK_OUT
        size = 20 if kind == virtqueue.BLK_GET_ID else 512
        ring.add(disk.chain(kind, 1, [(disk.buffer, size, writable)]))
        out += guest.take() + b'K'
    if features & vu.INDIRECT_DESC and ring_type is virtqueue.SplitRing:
        ring.free = list(range(16))
        ring.add_indirect(disk.chain(virtqueue.BLK_IN, 2, [(disk.buffer, 512, True)]))
        out += guest.take() + b'K'
    return out, ring, guest


def inputs():
    split, ring, _ = disk_session(virtqueue.SplitRing, vu.VERSION_1)
    yield 'split', split + stop(ring)
    yield 'split-pieces', b'S\5' + split + stop(ring)
    yield 'split-indirect', disk_session(virtqueue.SplitRing,
                                         vu.VERSION_1 | vu.INDIRECT_DESC | vu.EVENT_IDX, 2)[0]
    packed, ring, _ = disk_session(virtqueue.PackedRing, vu.VERSION_1 | vu.RING_PACKED, 2)
    yield 'packed', packed + stop(ring) + start(ring)
    yield 'leave', split + b'X' + split
    yield 'truncate', split[:-1] + b'T\0' + b'K'
    yield 'reset', split + message(vu.RESET_DEVICE) + split
    yield 'status', begin() + b''.join(
        message(vu.SET_STATUS, vu.u64(s)) + message(vu.GET_STATUS, need_reply=False)
        for s in (1, 3, 11, 15, 0))
    yield 'config', begin() + message(vu.SET_BACKEND_REQ_FD, fds=[SOCKET]) + b'C' + \
        message(vu.GET_CONFIG, vu.config(0, 60, 0, b'\0' * 60), need_reply=False) + \
        message(vu.GET_CONFIG, vu.config(3, 5), need_reply=False) + \
        message(vu.SET_CONFIG, vu.config(32, 1, 0, b'\1'))
    yield 'config-change', split + message(vu.SET_BACKEND_REQ_FD, fds=[SOCKET]) + b'CBCBC'
    slots = [vu.u64(0) + vu.region(BASE + i * 4096, 4096, USER + i * 4096, i * 4096)
             for i in range(4)]
    yield 'slots', begin() + b''.join(message(vu.ADD_MEM_REG, s, [GUEST]) for s in slots) + \
        b''.join(message(vu.REM_MEM_REG, s) for s in slots)
    yield 'replace', split + memory() + message(vu.REM_MEM_REG, vu.u64(0) + vu.region(
        BASE, SIZE, USER, 0)) + b'K' + stop(ring)
    yield 'polled', split + message(vu.SET_VRING_KICK, vu.u64(vu.NO_FD)) + stop(ring)
    yield 'legacy', message(vu.SET_FEATURES, vu.u64(vu.VERSION_1), need_reply=False) + \
        message(vu.GET_QUEUE_NUM) + message(vu.GET_MAX_MEM_SLOTS) + message(vu.RESET_OWNER) + \
        message(vu.SET_LOG_BASE, vu.u64(0))
    yield 'raw', b'R\x0c' + vu.header(vu.GET_FEATURES, 0) + b'R\x06' + vu.header(3, 0)[:6] + \
        b'R\x06' + vu.header(3, 0)[6:]
    yield 'two-front-ends', split + b'X' + b'M' + split[1:]


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, data in inputs():
        with open(os.path.join(OUT, name), 'wb') as file:
            file.write(data)
        print('%-16s %5d bytes' % (name, len(data)))


if __name__ == '__main__':
    main()
