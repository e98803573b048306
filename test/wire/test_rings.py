#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ring states: what starts, stops, enables and changes a ring, in every order that is allowed."""

import os
import struct
import sys

import program
import vhost_user_client as vu
import virtqueue
from virtqueue import BLK_IN


def submit(rig):
    """A read that is not waited for."""
    rig.disk.submit(BLK_IN, 0, [(rig.disk.buffer, 512, True)])
    rig.ring.kick()


def test_split_and_packed():
    for ring_type, features in ((virtqueue.SplitRing, 0), (virtqueue.PackedRing, vu.RING_PACKED),
                                (virtqueue.SplitRing, vu.EVENT_IDX | vu.INDIRECT_DESC)):
        with program.Rig(features=vu.VERSION_1 | features, ring_type=ring_type) as rig:
            rig.ring.start(rig.front_end)
            for _ in range(50):
                rig.disk.check()
            assert vu.wait_event(rig.ring.call_fd)


def test_kick_before_enable():
    with program.Rig() as rig:
        rig.ring.describe(rig.front_end)
        rig.ring.set_call(rig.front_end)
        rig.ring.set_kick(rig.front_end)
        submit(rig)
        assert rig.ring.idle()
        rig.ring.enable(rig.front_end)
        assert rig.disk.finish() == 0


def test_enable_before_kick():
    with program.Rig() as rig:
        rig.ring.enable(rig.front_end)
        rig.ring.describe(rig.front_end)
        rig.ring.set_call(rig.front_end)
        submit(rig)
        assert rig.ring.idle()
        rig.ring.set_kick(rig.front_end)
        assert rig.disk.finish() == 0


def test_kick_before_all_else():
    """A ring starts when what was missing has come."""
    with program.Rig() as rig:
        rig.ring.set_kick(rig.front_end)
        rig.ring.set_call(rig.front_end)
        rig.ring.enable(rig.front_end)
        rig.ring.describe(rig.front_end)
        rig.disk.check()


def test_without_protocol_features():
    """Rings of a front-end that knows no protocol features are enabled from the start."""
    with program.Program() as p, p.connect() as f:
        guest = vu.Guest()
        f.send(vu.SET_OWNER)
        assert f.get_u64(vu.GET_FEATURES)
        f.send(vu.SET_FEATURES, vu.u64(vu.VERSION_1))
        payload, fds = guest.table()
        f.send(vu.SET_MEM_TABLE, payload, fds)
        ring = virtqueue.SplitRing(guest)
        f.send(vu.SET_VRING_NUM, vu.state(0, ring.size))
        f.send(vu.SET_VRING_BASE, vu.state(0, 0))
        f.send(vu.SET_VRING_ADDR, ring.addr_payload())
        f.send(vu.SET_VRING_CALL, vu.u64(0), [ring.call_fd])
        f.send(vu.SET_VRING_KICK, vu.u64(0), [ring.kick_fd])
        virtqueue.Disk(ring).check()
        assert ring.stop(f) == 2


def test_set_features_while_running():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        for _ in range(5):
            rig.front_end.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | vu.PROTOCOL_FEATURES))
            rig.disk.check()
        # Bit 30 enables all rings by its absence, and disables none by its presence.
        rig.ring.enable(rig.front_end, 0)
        submit(rig)
        assert rig.ring.idle()
        rig.front_end.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | vu.PROTOCOL_FEATURES))
        assert rig.ring.idle()
        rig.front_end.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1))
        assert rig.disk.finish() == 0


def test_disable_and_enable():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        for _ in range(3):
            rig.disk.check()
            rig.ring.enable(rig.front_end, 0)
            submit(rig)
            assert rig.ring.idle(0.05)
            rig.ring.enable(rig.front_end, 1)
            assert rig.disk.finish() == 0


def test_enabled_is_kept_while_stopped():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        rig.ring.stop(rig.front_end)
        rig.ring.describe(rig.front_end)
        rig.ring.set_kick(rig.front_end)
        rig.disk.check()


def test_stop_and_start_split():
    with program.Rig() as rig:
        for round in range(4):
            rig.ring.start(rig.front_end)
            for _ in range(5):
                rig.disk.check()
            assert rig.ring.stop(rig.front_end) == rig.ring.used_idx == 10 * (round + 1)
            assert rig.ring.stop(rig.front_end) == rig.ring.used_idx  # and again


def test_stop_and_start_packed():
    with program.Rig(features=vu.VERSION_1 | vu.RING_PACKED,
                     ring_type=virtqueue.PackedRing) as rig:
        for _ in range(6):  # the wrap counters turn several times
            rig.ring.start(rig.front_end)
            for _ in range(5):
                rig.disk.check()
            assert rig.ring.stop(rig.front_end) == rig.ring.base()


def test_packed_base_with_lower_half_only():
    """Some front-ends leave the upper half zero."""
    with program.Rig(features=vu.VERSION_1 | vu.RING_PACKED,
                     ring_type=virtqueue.PackedRing) as rig:
        rig.ring.base = lambda: 0x8000
        rig.ring.start(rig.front_end)
        rig.disk.check()


def test_base_of_a_ring_that_never_ran():
    with program.Rig() as rig:
        assert rig.ring.stop(rig.front_end) == 0
        rig.front_end.ok(vu.SET_VRING_BASE, vu.state(0, 77))
        assert rig.ring.stop(rig.front_end) == 77
    with program.Rig(features=vu.VERSION_1 | vu.RING_PACKED,
                     ring_type=virtqueue.PackedRing) as rig:
        assert rig.ring.stop(rig.front_end) == 0x80008000


def test_start_in_the_middle():
    """As after a migration: the ring's indices do not begin at zero, and wrap at 65536."""
    with program.Program() as p, p.connect() as f:
        guest = vu.Guest()
        f.negotiate()
        guest.share(f)
        ring = virtqueue.SplitRing(guest, first=65533)
        ring.start(f)
        disk = virtqueue.Disk(ring)
        for _ in range(4):
            disk.check()
        assert ring.stop(f) == 5


def test_changes_of_a_running_ring():
    with program.Rig() as rig:
        f, ring = rig.front_end, rig.ring
        ring.start(f)
        rig.disk.check()
        f.refused(vu.SET_VRING_NUM, vu.state(0, 32))
        f.refused(vu.SET_VRING_BASE, vu.state(0, 0))
        user = rig.guest.user
        f.refused(vu.SET_VRING_ADDR,
                  vu.ring_addr(0, user(ring.desc) + 4096, user(ring.used), user(ring.avail)))
        f.ok(vu.SET_VRING_ADDR, ring.addr_payload())
        f.ok(vu.SET_VRING_ADDR, ring.addr_payload(flags=1))  # logging on
        f.ok(vu.SET_VRING_ADDR, ring.addr_payload(flags=0))
        rig.disk.check()


def test_descriptors_are_replaced():
    with program.Rig() as rig:
        f, ring = rig.front_end, rig.ring
        ring.start(f)
        rig.disk.check()
        fds = rig.program.fd_count()
        for _ in range(5):
            for fd in (ring.kick_fd, ring.call_fd, ring.err_fd):
                os.close(fd)
            ring.kick_fd, ring.call_fd, ring.err_fd = vu.eventfd(), vu.eventfd(), vu.eventfd()
            ring.set_kick(f)
            ring.set_call(f)
            rig.disk.check()
            assert vu.wait_event(ring.call_fd)
        rig.program.fds_settle(fds)


def test_new_call_is_signalled():
    """A front-end that changes the call descriptor of a running ring cannot know whether the
    old one was signalled last; the new one is, once."""
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        call = vu.eventfd()
        rig.front_end.ok(vu.SET_VRING_CALL, vu.u64(0), [call])
        assert vu.wait_event(call, 2)
        os.close(call)


def test_without_call():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        rig.front_end.ok(vu.SET_VRING_CALL, vu.u64(vu.NO_FD))
        rig.front_end.ok(vu.SET_VRING_ERR, vu.u64(vu.NO_FD))
        rig.disk.check()


def test_without_kick():
    """Polled at an interval; and again with kicks after."""
    with program.Rig('--poll', 'off') as rig:
        rig.ring.describe(rig.front_end)
        rig.ring.enable(rig.front_end)
        rig.front_end.ok(vu.SET_VRING_KICK, vu.u64(vu.NO_FD))
        rig.ring.kick = lambda: None
        for _ in range(5):
            rig.disk.check()
        rig.ring.stop(rig.front_end)
        del rig.ring.kick
        rig.ring.start(rig.front_end)
        rig.disk.check()
        rig.front_end.ok(vu.SET_VRING_KICK, vu.u64(vu.NO_FD))
        rig.ring.kick = lambda: None
        rig.disk.check()


def test_kick_before_start_is_not_lost():
    with program.Rig('--poll', 'off') as rig:
        submit(rig)
        rig.ring.start(rig.front_end)
        assert rig.disk.finish() == 0


def test_sizes():
    with program.Rig() as rig:
        f = rig.front_end
        f.refused(vu.SET_VRING_NUM, vu.state(0, 0))
        f.refused(vu.SET_VRING_NUM, vu.state(0, 32769))
        f.refused(vu.SET_VRING_NUM, vu.state(0, 0xffffffff))
        f.ok(vu.SET_VRING_NUM, vu.state(0, 32768))
    with program.Program('--queue-size', '256') as p, p.connect() as f:
        f.negotiate()
        f.ok(vu.SET_VRING_NUM, vu.state(0, 256))
        f.refused(vu.SET_VRING_NUM, vu.state(0, 512))


def test_start_is_refused():
    """Where the ring is and how large it is decides only when it starts."""
    with program.Rig() as rig:
        f, ring, user = rig.front_end, rig.ring, rig.guest.user
        ring.describe(f)
        f.ok(vu.SET_VRING_NUM, vu.state(0, 15))
        f.refused(vu.SET_VRING_KICK, vu.u64(0), [ring.kick_fd])
        f.ok(vu.SET_VRING_NUM, vu.state(0, 16))
        end = rig.guest.regions[0].user + rig.guest.regions[0].size
        for desc, used, avail in ((0, None, None), (end, None, None), (end - 16, None, None),
                                  (None, end - 4, None), (None, None, end - 4),
                                  (2**64 - 16, None, None), (user(ring.desc) + 8, None, None),
                                  (None, user(ring.used) + 2, None),
                                  (None, None, user(ring.avail) + 1)):
            addr = vu.ring_addr(0, user(ring.desc) if desc is None else desc,
                                user(ring.used) if used is None else used,
                                user(ring.avail) if avail is None else avail)
            f.ok(vu.SET_VRING_ADDR, addr)
            f.refused(vu.SET_VRING_KICK, vu.u64(0), [ring.kick_fd])
        f.ok(vu.SET_VRING_BASE, vu.state(0, 0x10000))
        f.ok(vu.SET_VRING_ADDR, ring.addr_payload())
        f.refused(vu.SET_VRING_KICK, vu.u64(0), [ring.kick_fd])
        assert 'queue 0 cannot start' in rig.program.said()
        ring.start(f)
        rig.disk.check()


def test_packed_base_outside():
    with program.Rig(features=vu.VERSION_1 | vu.RING_PACKED,
                     ring_type=virtqueue.PackedRing) as rig:
        rig.ring.describe(rig.front_end)
        for base in (16, 16 << 16, 0x7fff7fff):
            rig.front_end.ok(vu.SET_VRING_BASE, vu.state(0, base))
            rig.front_end.refused(vu.SET_VRING_KICK, vu.u64(0), [rig.ring.kick_fd])
        rig.ring.start(rig.front_end)
        rig.disk.check()


def test_broken_ring_signals_its_error_descriptor():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        rig.ring.publish(0x7777)  # a head outside of the ring
        rig.ring.kick()
        assert vu.wait_event(rig.ring.err_fd)
        assert rig.program.said().count('is broken') == 1
        # It can be stopped and started again.
        rig.ring.stop(rig.front_end)
        rig.ring.avail_idx = rig.ring.used_idx
        rig.guest.write(rig.ring.avail + 2, struct.pack('<H', rig.ring.avail_idx))
        rig.ring.free = list(range(16))
        rig.ring.start(rig.front_end)
        rig.disk.check()


def test_many_queues():
    with program.Program('--queues', '8') as p, p.connect() as f:
        guest = vu.Guest()
        f.negotiate()
        guest.share(f)
        rings = [virtqueue.SplitRing(guest, index) for index in range(8)]
        disks = [virtqueue.Disk(ring) for ring in rings]
        for ring in rings:
            ring.start(f)
        for disk in disks:
            disk.check()
        rings[3].stop(f)
        for disk in disks[4:] + disks[:3]:
            disk.check()


if __name__ == '__main__':
    program.run()
