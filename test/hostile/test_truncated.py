#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A front-end that cuts the files behind its memory short while they are in use.

The process must live, its other devices untouched; the queue breaks, and the next front-end,
with sound memory, is served.
"""

import os
import struct
import sys
import tempfile

import hostile
import vhost_user_client as vu
import virtqueue

SIZE = 8 << 20


def victim(target, **keywords):
    return hostile.Victim(target, guest=vu.Guest([vu.Region(SIZE, 0x100000, 0x7f0000000000)]),
                          **keywords)


def cut(v, size=0):
    os.ftruncate(v.guest.regions[0].fd, size)


def after(target, v):
    """Kicked, looked at, stopped: whatever the queue met, the process is there."""
    v.ring.kick()
    vu.wait_event(v.ring.err_fd, 0.5)
    assert target.process.poll() is None, target.said()
    assert v.f.alive()
    v.ring.stop(v.f)


def test_all_of_it():
    with hostile.Target() as target:
        for ring_type, features in ((virtqueue.SplitRing, 0),
                                    (virtqueue.PackedRing, vu.RING_PACKED)):
            with victim(target, ring_type=ring_type, features=vu.VERSION_1 | features) as v:
                v.disk.check()
                cut(v)
                after(target, v)
            target.survives()


def buffers_only(source):
    """The ring stays; what requests point to is gone."""
    with hostile.Target(source=source) as target:
        for kind, writable in ((virtqueue.BLK_IN, True), (virtqueue.BLK_OUT, False)):
            with victim(target) as v:
                v.disk.check()
                far = 0x100000 + SIZE - 65536
                v.disk.submit(kind, 0, [(far, 65536, writable)])
                cut(v, SIZE // 2)
                after(target, v)
            target.survives()


def test_buffers_of_a_disk_in_memory():
    buffers_only('memory:64M')


def test_buffers_of_a_disk_in_a_file():
    with tempfile.NamedTemporaryFile(prefix='outboard-') as file:
        os.ftruncate(file.fileno(), 64 << 20)
        buffers_only(file.name)


def test_header_and_status():
    with hostile.Target() as target:
        for name in ('head', 'status'):
            with victim(target) as v:
                setattr(v.disk, name, 0x100000 + SIZE - 4096)
                v.disk.submit(virtqueue.BLK_IN, 0, [(v.disk.buffer, 512, True)])
                cut(v, SIZE // 2)
                after(target, v)


def test_before_the_ring_starts():
    with hostile.Target() as target:
        guest = vu.Guest([vu.Region(SIZE, 0x100000, 0x7f0000000000)])
        with target.front_end() as f:
            guest.share(f)
            ring = virtqueue.SplitRing(guest)
            ring.describe(f)
            os.ftruncate(guest.regions[0].fd, 0)
            f.send(vu.SET_VRING_KICK, vu.u64(0), [ring.kick_fd])
            ring_error = vu.wait_event(ring.err_fd, 0.2)
            assert target.process.poll() is None and ring_error in (True, False)


def test_new_memory_after_a_cut():
    """The same connection, with a new table: rings may start again in it."""
    with hostile.Target() as target:
        with victim(target) as v:
            cut(v)
            after(target, v)
            v.guest = vu.Guest()
            v.guest.share(v.f)
            ring = virtqueue.SplitRing(v.guest)
            ring.describe(v.f)
            ring.set_call(v.f)
            v.f.send(vu.SET_VRING_KICK, vu.u64(0), [ring.kick_fd])
            v.f.gone(0.1)  # refused or served: the document does not say
            ring.close()


def test_one_of_many_regions():
    extra = vu.Region(1 << 20, 1 << 40, 0x600000000000)
    with hostile.Target() as target:
        with hostile.Victim(target) as v:
            v.f.ok(vu.ADD_MEM_REG, extra.slot(), [extra.fd])
            os.ftruncate(extra.fd, 0)
            v.disk.check()  # nobody has looked there yet
            v.disk.submit(virtqueue.BLK_OUT, 0, [(extra.guest, 512, False)])
            after(target, v)


if __name__ == '__main__':
    hostile.run()
