#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""RESET_DEVICE and device status."""

import struct
import sys

import program
import vhost_user_client as vu
import virtqueue

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8


def begin_again(rig):
    """What a driver's next start needs; memory, call and error descriptors are kept."""
    rig.guest.next = rig.guest.regions[0].guest
    old = rig.ring
    rig.ring = type(old)(rig.guest)
    for name in ('kick_fd', 'call_fd', 'err_fd'):
        setattr(rig.ring, name, getattr(old, name))
    rig.disk = virtqueue.Disk(rig.ring)
    rig.front_end.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | vu.PROTOCOL_FEATURES))
    rig.ring.describe(rig.front_end)
    rig.ring.set_kick(rig.front_end)
    rig.ring.enable(rig.front_end)


def check_reset(rig, reset):
    f = rig.front_end
    rig.ring.start(f)
    rig.disk.check()
    reset()
    assert f.get_u64(vu.GET_STATUS) == 0
    # Stopped, disabled and forgotten.
    rig.disk.submit(virtqueue.BLK_IN, 0, [(rig.disk.buffer, 512, True)])
    rig.ring.kick()
    assert rig.ring.idle()
    assert rig.ring.stop(f) == 0
    while vu.wait_event(rig.ring.call_fd, 0):
        pass
    begin_again(rig)
    for _ in range(3):
        rig.disk.check()
    assert vu.wait_event(rig.ring.call_fd), 'the call descriptor was lost'


def test_reset_device():
    with program.Rig() as rig:
        for _ in range(3):
            check_reset(rig, lambda: rig.front_end.ok(vu.RESET_DEVICE))
            rig.ring.stop(rig.front_end)


def test_reset_by_status():
    with program.Rig() as rig:
        check_reset(rig, lambda: rig.front_end.ok(vu.SET_STATUS, vu.u64(0)))


def test_reset_without_acknowledgement():
    with program.Rig() as rig:
        check_reset(rig, lambda: rig.front_end.send(vu.RESET_DEVICE))


def test_reset_disables():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        rig.front_end.ok(vu.RESET_DEVICE)
        rig.ring = virtqueue.SplitRing(rig.guest)
        rig.disk = virtqueue.Disk(rig.ring)
        rig.front_end.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | vu.PROTOCOL_FEATURES))
        rig.ring.describe(rig.front_end)
        rig.ring.set_kick(rig.front_end)
        rig.disk.submit(virtqueue.BLK_IN, 0, [(rig.disk.buffer, 512, True)])
        rig.ring.kick()
        assert rig.ring.idle()
        rig.ring.enable(rig.front_end)
        assert rig.disk.finish() == 0


def test_reset_gives_up_the_format():
    """From a packed ring to a split one."""
    with program.Rig(features=vu.VERSION_1 | vu.RING_PACKED,
                     ring_type=virtqueue.PackedRing) as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        rig.front_end.ok(vu.SET_STATUS, vu.u64(0))
        rig.front_end.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | vu.PROTOCOL_FEATURES))
        rig.ring = virtqueue.SplitRing(rig.guest)
        rig.disk = virtqueue.Disk(rig.ring)
        rig.ring.start(rig.front_end)
        rig.disk.check()


def test_status_is_kept():
    with program.Rig() as rig:
        f = rig.front_end
        assert f.get_u64(vu.GET_STATUS) == 0
        for status in (ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, 0xf, 0xff):
            f.ok(vu.SET_STATUS, vu.u64(status))
            assert f.get_u64(vu.GET_STATUS) == status
        f.refused(vu.SET_STATUS, vu.u64(0x100))
        f.refused(vu.SET_STATUS, vu.u64(2**63))
        assert f.get_u64(vu.GET_STATUS) == 0xff


def test_features_ok():
    """A driver that asked for too much finds FEATURES_OK not set."""
    with program.Rig() as rig:
        f = rig.front_end
        f.ok(vu.SET_STATUS, vu.u64(ACKNOWLEDGE | DRIVER | FEATURES_OK))
        assert f.get_u64(vu.GET_STATUS) & FEATURES_OK
        f.ok(vu.SET_STATUS, vu.u64(0))
        f.refused(vu.SET_FEATURES, vu.u64(1 << 33))
        f.ok(vu.SET_STATUS, vu.u64(ACKNOWLEDGE | DRIVER | FEATURES_OK))
        assert f.get_u64(vu.GET_STATUS) == ACKNOWLEDGE | DRIVER
        f.ok(vu.SET_FEATURES, vu.u64(vu.VERSION_1 | vu.PROTOCOL_FEATURES))
        f.ok(vu.SET_STATUS, vu.u64(ACKNOWLEDGE | DRIVER | FEATURES_OK))
        assert f.get_u64(vu.GET_STATUS) & FEATURES_OK


if __name__ == '__main__':
    program.run()
