#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A driver that breaks the rules of rings, chains and requests (virtio 1.3, 2.7, 2.8, 5.2.6).

What breaks the ring format breaks the queue: it stops, the front-end is told, the process and
the other queues go on. What is only a bad request ends in a status, and the queue goes on.
"""

import os
import random
import struct
import sys

import hostile
import vhost_user_client as vu
import virtqueue
from virtqueue import BLK_IN, BLK_OUT, INDIRECT, NEXT, WRITE

DISCARD, WRITE_ZEROES = 11, 13
INDIRECT_OK = vu.VERSION_1 | vu.INDIRECT_DESC


def broken(target, misdeed, features=INDIRECT_OK, **keywords):
    """A misdeed (a function of the victim) after which the queue is broken."""
    with hostile.Victim(target, features, **keywords) as v:
        v.disk.check()
        misdeed(v)
        v.breaks()


def put(v, slot, addr, size, flags=0, following=0):
    v.ring.put_desc(slot, addr, size, flags, following)


def test_head_outside():
    with hostile.Target() as target:
        for head in (16, 17, 255, 0x7fff, 0x8000, 0xffff):
            broken(target, lambda v: v.ring.publish(head))


def test_next_outside():
    def misdeed(v):
        put(v, 0, v.disk.head, 16, NEXT, following)
        v.ring.publish(0)
    with hostile.Target() as target:
        for following in (16, 0xffff):
            broken(target, misdeed)


def test_loop():
    def to_itself(v):
        put(v, 3, v.disk.head, 16, NEXT, 3)
        v.ring.publish(3)

    def to_another(v):
        put(v, 3, v.disk.head, 16, NEXT, 4)
        put(v, 4, v.disk.buffer, 512, NEXT, 3)
        v.ring.publish(3)

    def to_the_middle(v):
        for i in range(15):
            put(v, i, v.disk.buffer, 16, NEXT, i + 1)
        put(v, 15, v.disk.buffer, 16, NEXT, 7)
        v.ring.publish(0)
    with hostile.Target() as target:
        for misdeed in (to_itself, to_another, to_the_middle):
            broken(target, misdeed)


def test_available_index_jumps():
    with hostile.Target() as target:
        for step in (17, 18, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff):
            broken(target, lambda v: v.ring.publish(0, step))


def test_zero_length():
    def misdeed(v):
        chain = v.disk.chain(BLK_IN, 0, [(v.disk.buffer, 0, True)])
        v.ring.add(chain)
    with hostile.Target() as target:
        broken(target, misdeed)


def test_addresses_outside():
    with hostile.Target() as target:
        for addr, size in ((0, 512), (1 << 63, 512), (2**64 - 1, 1), (2**64 - 512, 1024),
                           (0x100000 + (16 << 20), 1), (0x100000 + (16 << 20) - 8, 16),
                           (0x100000 - 1, 2), (0x7f0000000000, 512)):
            broken(target, lambda v: v.ring.add(v.disk.chain(BLK_IN, 0, [(addr, size, True)])))
            broken(target, lambda v: v.ring.add([(addr, size, False), (v.disk.status, 1, True)]))


def test_more_than_four_gigabytes():
    """The bytes of a chain fit 32 bits (2.7.5.3.1)."""
    region = vu.Region(256 << 20, 0x100000, 0x7f0000000000)

    def misdeed(v):
        v.ring.add([(v.disk.head, 16, False)] + [(0x100000, 256 << 20, True)] * 17 +
                   [(v.disk.status, 1, True)])
    with hostile.Target() as target:
        broken(target, misdeed, size=32, guest=vu.Guest([region]))


def test_length_of_all_ones():
    with hostile.Target() as target:
        broken(target, lambda v: v.ring.add(
            v.disk.chain(BLK_OUT, 0, [(v.disk.buffer, 0xffffffff, False)])))


def test_readable_after_writable():
    def misdeed(v):
        v.ring.add([(v.disk.head, 16, False), (v.disk.status, 1, True),
                    (v.disk.buffer, 512, False)])
    with hostile.Target() as target:
        broken(target, misdeed)


def indirect(v, table, size, flags=INDIRECT, slot=0, following=0):
    put(v, slot, table, size, flags, following)
    v.ring.publish(slot)


def entry(addr, size, flags, following=0):
    return struct.pack('<QIHH', addr, size, flags, following)


def test_indirect_sizes():
    with hostile.Target() as target:
        for size in (0, 1, 15, 17, 8, 24, 0xfffffff0, 0xffffffff):
            broken(target, lambda v: indirect(v, v.disk.buffer, size))


def test_indirect_outside():
    with hostile.Target() as target:
        for addr in (0, 1 << 63, 2**64 - 16, 0x100000 + (16 << 20) - 16):
            broken(target, lambda v: indirect(v, addr, 48))


def test_indirect_in_indirect():
    def misdeed(v):
        table = v.guest.alloc(64)
        v.guest.write(table, entry(table, 16, INDIRECT))
        indirect(v, table, 16)
    with hostile.Target() as target:
        broken(target, misdeed)


def test_indirect_with_next():
    with hostile.Target() as target:
        broken(target, lambda v: indirect(v, v.disk.buffer, 48, INDIRECT | NEXT, 0, 1))


def test_indirect_not_negotiated():
    """A driver must not; a device may do what it likes with it, and lives."""
    with hostile.Target() as target, hostile.Victim(target) as v:
        v.ring.add_indirect(v.disk.chain(BLK_IN, 0, [(v.disk.buffer, 512, True)]))
        v.ring.kick()
        v.ring.idle(0.05)
        assert v.f.alive()
        v.ring.stop(v.f)


def test_indirect_loop():
    def misdeed(v):
        table = v.guest.alloc(64)
        v.guest.write(table, entry(v.disk.head, 16, NEXT, 1) + entry(v.disk.buffer, 16, NEXT, 0))
        indirect(v, table, 32)
    with hostile.Target() as target:
        broken(target, misdeed)


def test_indirect_next_outside():
    def misdeed(v):
        table = v.guest.alloc(64)
        v.guest.write(table, entry(v.disk.head, 16, NEXT, following) + entry(v.disk.buffer, 1, 0))
        indirect(v, table, 32)
    with hostile.Target() as target:
        for following in (2, 16, 0xffff):
            broken(target, misdeed)


def test_indirect_table_crosses_regions():
    """Allowed, if both are there."""
    guest = vu.Guest([vu.Region(1 << 20, 0x100000, 0x700000000000),
                      vu.Region(1 << 20, 0x200000, 0x500000000000)])
    with hostile.Target() as target:
        with hostile.Victim(target, INDIRECT_OK, guest=guest) as v:
            chain = v.disk.chain(BLK_IN, 0, [(v.disk.buffer, 512, True)])
            table = 0x200000 - 24
            for i, (addr, size, writable) in enumerate(chain):
                guest.write(table + 16 * i, entry(addr, size, (WRITE if writable else 0) |
                                                  (NEXT if i < 2 else 0), i + 1))
            indirect(v, table, 48)
            v.ring.kick()
            assert v.disk.finish() == 0


def test_unknown_flags():
    """Reserved bits of a descriptor are nobody's business; the process must only survive."""
    with hostile.Target() as target, hostile.Victim(target) as v:
        for slot, (addr, size, flags) in enumerate(((v.disk.head, 16, NEXT | 0xff00),
                                                    (v.disk.status, 1, WRITE | 0x8000))):
            put(v, slot, addr, size, flags, slot + 1)
        v.ring.publish(0)
        v.ring.kick()
        v.ring.idle(0.1)
        assert v.f.alive()


def answer(v, ranges):
    """Submits any chain; the status byte, if the request ended with one."""
    v.guest.write(v.disk.status, b'\xff')
    v.ring.add(ranges)
    v.ring.kick()
    v.ring.wait_used()
    return v.guest.read(v.disk.status, 1)[0]


def test_bad_requests():
    """Wrong for a disk, sound for a ring: a status, and the queue goes on."""
    with hostile.Target() as target, hostile.Victim(target) as v:
        disk = v.disk
        size = 64 << 20
        cases = [
            (BLK_IN, size // 512, [(disk.buffer, 512, True)]),
            (BLK_IN, size // 512 - 1, [(disk.buffer, 1024, True)]),
            (BLK_IN, 2**64 - 1, [(disk.buffer, 512, True)]),
            (BLK_IN, 2**55, [(disk.buffer, 512, True)]),
            (BLK_OUT, 2**63, [(disk.buffer, 512, False)]),
            (BLK_IN, 0, [(disk.buffer, 511, True)]),
            (BLK_OUT, 0, [(disk.buffer, 513, False)]),
            (BLK_IN, 0, [(disk.buffer, 512, False)]),
            (BLK_OUT, 0, [(disk.buffer, 512, True)]),
            (99, 0, [(disk.buffer, 512, True)]),
            (0xffffffff, 0, []),
            (DISCARD, 0, []),
            (WRITE_ZEROES, 0, []),
            (DISCARD, 0, [(disk.buffer, 15, False)]),
            (WRITE_ZEROES, 0, [(disk.buffer, 65520, False)]),
        ]
        for case in cases:
            status = answer(v, disk.chain(*case))
            assert status in (1, 2), '%s ended with status %d' % (case, status)
            disk.check()


def test_chains_that_are_no_requests():
    """No header, no status, half of one: ended or broken, never worse."""
    def cases(v):
        d = v.disk
        return [[(d.status, 1, True)], [(d.head, 16, False)], [(d.head, 15, False),
                (d.status, 1, True)], [(d.head, 1, False)], [(d.buffer, 512, True)],
                [(d.head, 16, False), (d.buffer, 512, False)]]
    with hostile.Target() as target:
        for i in range(6):
            with hostile.Victim(target) as v:
                v.ring.add(cases(v)[i])
                v.ring.kick()
                v.ring.idle(0.05)
                assert v.f.alive()
                v.ring.stop(v.f)


def test_header_and_status_in_pieces():
    with hostile.Target() as target, hostile.Victim(target) as v:
        d = v.disk
        d.chain(BLK_IN, 0, [])
        chain = [(d.head + i, 1, False) for i in range(9)] + [(d.head + 9, 7, False)]
        chain += [(d.buffer, 100, True), (d.buffer + 100, 412, True), (d.status, 1, True)]
        assert answer(v, chain) == 0


def test_ring_written_while_it_runs():
    """Another thread of the driver scribbles over everything: copied once, checked, used."""
    rng = random.Random(3)
    with hostile.Target() as target:
        for round in range(30):
            with hostile.Victim(target, INDIRECT_OK) as v:
                for _ in range(60):
                    for slot in range(16):
                        put(v, slot, rng.choice((v.disk.head, v.disk.buffer, v.ring.desc, 0)),
                            rng.choice((1, 16, 512, 48, 0xffffffff)),
                            rng.choice((0, NEXT, WRITE, NEXT | WRITE, INDIRECT)),
                            rng.randrange(18))
                    v.ring.publish(rng.randrange(16), rng.randrange(1, 4))
                    v.ring.kick()
                assert v.f.alive()
                v.ring.stop(v.f)


def test_device_writes_over_its_own_ring():
    """A read whose buffer is the ring."""
    with hostile.Target() as target:
        with hostile.Victim(target) as v:
            v.disk.write(0, os.urandom(512))
            for where in (v.ring.desc, v.ring.used, v.ring.avail):
                v.ring.add(v.disk.chain(BLK_IN, 0, [(where, 512, True)]))
                v.ring.kick()
                v.ring.idle(0.05)
            assert v.f.alive()
            v.ring.stop(v.f)


def packed(v, slot, addr, size, flags, ident=0):
    v.guest.write(v.ring.desc + 16 * slot, struct.pack('<QIHH', addr, size, ident, flags))


def test_packed():
    """The same in packed format: flags, lengths, chains without end."""
    avail = virtqueue.AVAIL

    def no_end(v):
        for slot in range(16):
            packed(v, (2 * 3 + slot) % 16, v.disk.buffer, 16,
                   NEXT | (avail if 6 + slot < 16 else virtqueue.USED))

    def one(v, *what):
        packed(v, v.ring.avail_next, *what)
    misdeeds = [
        no_end,
        lambda v: one(v, v.disk.head, 0, avail),
        lambda v: one(v, 0, 512, avail),
        lambda v: one(v, 2**64 - 8, 16, avail),
        lambda v: one(v, v.disk.buffer, 15, avail | INDIRECT),
        lambda v: one(v, v.disk.buffer, 0, avail | INDIRECT),
        lambda v: one(v, v.disk.buffer, 0xffffffff, avail | INDIRECT),
        lambda v: one(v, 2**63, 48, avail | INDIRECT),
        lambda v: one(v, v.disk.buffer, 48, avail | INDIRECT | NEXT),
    ]
    with hostile.Target() as target:
        for misdeed in misdeeds:
            broken(target, misdeed, features=INDIRECT_OK | vu.RING_PACKED,
                   ring_type=virtqueue.PackedRing)


def test_packed_at_random():
    rng = random.Random(4)
    with hostile.Target() as target:
        for round in range(30):
            with hostile.Victim(target, INDIRECT_OK | vu.RING_PACKED | vu.EVENT_IDX,
                                virtqueue.PackedRing) as v:
                for _ in range(60):
                    packed(v, rng.randrange(16), rng.choice((v.disk.head, v.disk.buffer, 0)),
                           rng.choice((0, 1, 16, 512, 48, 0xffffffff)), rng.randrange(65536),
                           rng.randrange(65536))
                    v.guest.write(v.ring.avail, rng.randbytes(4))
                    v.ring.kick()
                assert v.f.alive()
                v.ring.stop(v.f)


def test_event_index_at_random():
    rng = random.Random(5)
    with hostile.Target() as target:
        with hostile.Victim(target, vu.VERSION_1 | vu.EVENT_IDX) as v:
            for _ in range(200):
                v.guest.write(v.ring.avail + 4 + 32, rng.randbytes(2))
                v.guest.write(v.ring.avail, rng.randbytes(2))
                v.disk.check()


if __name__ == '__main__':
    hostile.run()
