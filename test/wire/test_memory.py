#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Guest memory: tables, slots, and changes under running rings."""

import os
import struct
import sys

import program
import vhost_user_client as vu
import virtqueue

SLOTS = 509
PAGE = 4096
HIGH = 1 << 40  # guest and user addresses away from the first region's


def small(i, pages=1):
    return vu.Region(pages * PAGE, HIGH + i * 0x10000, 0x600000000000 + i * 0x10000)


def memfd_mappings(p):
    with open('/proc/%d/maps' % p.process.pid) as maps:
        return sum('memfd:guest' in line for line in maps)


def test_table_is_replaced():
    with program.Rig() as rig:
        f = rig.front_end
        rig.ring.start(f)
        rig.disk.check()
        for _ in range(5):
            rig.guest.share(f)
            rig.disk.check()
        # With more regions: as many descriptors as regions.
        more = [small(i) for i in range(7)]
        rig.guest.regions += more
        rig.guest.share(f)
        for r in more:
            rig.disk.write(64, b'x' * 512, at=r.guest)
        rig.guest.regions = rig.guest.regions[:1]
        rig.guest.share(f)
        rig.disk.check()


def test_table_refused():
    with program.Rig() as rig:
        f = rig.front_end
        payload, fds = rig.guest.table()
        f.refused(vu.SET_MEM_TABLE, payload, [])
        f.refused(vu.SET_MEM_TABLE, payload, fds * 2)
        f.refused(vu.SET_MEM_TABLE, payload[:-1], fds)
        f.refused(vu.SET_MEM_TABLE, struct.pack('<II', 9, 0) + rig.guest.regions[0].wire() * 8,
                  fds * 8)
        twice = struct.pack('<II', 2, 0) + rig.guest.regions[0].wire() * 2
        f.refused(vu.SET_MEM_TABLE, twice, fds * 2)  # they overlap
        rig.guest.share(f)
        rig.ring.start(f)
        rig.disk.check()


def test_all_slots():
    with program.Rig() as rig:
        f = rig.front_end
        rig.ring.start(f)
        fds = rig.program.fd_count()
        regions = [small(i) for i in range(SLOTS - 1)]
        for r in regions:
            f.ok(vu.ADD_MEM_REG, r.slot(), [r.fd])
        rig.guest.regions += regions
        one_more = small(SLOTS)
        f.refused(vu.ADD_MEM_REG, one_more.slot(), [one_more.fd])
        for r in (regions[0], regions[200], regions[-1]):
            rig.disk.write(100, b'a' * 512, at=r.guest + 512)
            assert rig.disk.read(100, 512, at=r.guest) == b'a' * 512
        assert rig.program.fd_count() == fds, 'a region keeps a descriptor'
        f.ok(vu.REM_MEM_REG, regions[7].slot())
        f.ok(vu.ADD_MEM_REG, one_more.slot(), [one_more.fd])
        regions[7].close()
        regions[7] = one_more
        for r in regions:
            f.ok(vu.REM_MEM_REG, r.slot())
        rig.guest.regions = rig.guest.regions[:1]
        rig.disk.check()
        assert memfd_mappings(rig.program) == 1
        for r in regions:
            r.close()


def test_slots_refused():
    with program.Rig() as rig:
        f = rig.front_end
        r = small(0)
        f.refused(vu.REM_MEM_REG, r.slot())
        f.ok(vu.ADD_MEM_REG, r.slot(), [r.fd])
        f.refused(vu.ADD_MEM_REG, r.slot(), [r.fd])
        f.refused(vu.REM_MEM_REG, vu.u64(0) + vu.region(r.guest, r.size * 2, r.user, 0))
        f.refused(vu.REM_MEM_REG, vu.u64(0) + vu.region(r.guest, r.size, r.user + PAGE, 0))
        # The offset is not compared, and a descriptor is not minded.
        f.ok(vu.REM_MEM_REG, vu.u64(0) + vu.region(r.guest, r.size, r.user, PAGE), [r.fd])
        f.refused(vu.REM_MEM_REG, r.slot())
        # Longer than its file, or beyond any address.
        for guest, size, user, offset in ((HIGH, 2 * PAGE, HIGH, 0), (HIGH, PAGE, HIGH, PAGE),
                                          (HIGH, 0, HIGH, 0), (2**64 - PAGE, PAGE, HIGH, 0),
                                          (HIGH, PAGE, 2**64 - PAGE, 0), (HIGH, 2**63, HIGH, 0),
                                          (HIGH, PAGE, HIGH, 2**63), (HIGH, PAGE, HIGH, 1)):
            f.refused(vu.ADD_MEM_REG, vu.u64(0) + vu.region(guest, size, user, offset), [r.fd])
        null = os.open('/dev/null', os.O_RDWR)
        f.refused(vu.ADD_MEM_REG, r.slot(), [null])
        os.close(null)
        read_only = os.open('/proc/self/fd/%d' % r.fd, os.O_RDONLY)
        f.refused(vu.ADD_MEM_REG, r.slot(), [read_only])
        os.close(read_only)
        rig.ring.start(f)
        rig.disk.check()


def test_slot_under_a_running_ring():
    with program.Rig() as rig:
        f = rig.front_end
        rig.ring.start(f)
        r = small(0, 16)
        for _ in range(20):
            f.ok(vu.ADD_MEM_REG, r.slot(), [r.fd])
            rig.guest.regions.append(r)
            rig.disk.write(8, b'b' * 4096, at=r.guest)
            assert rig.disk.read(8, 4096, at=r.guest + 8192) == b'b' * 4096
            rig.guest.regions.pop()
            f.ok(vu.REM_MEM_REG, r.slot())
            assert memfd_mappings(rig.program) == 1
        rig.disk.check()


def test_removed_memory_breaks_the_ring_that_uses_it():
    with program.Rig() as rig:
        f = rig.front_end
        rig.ring.start(f)
        r = small(0)
        f.ok(vu.ADD_MEM_REG, r.slot(), [r.fd])
        f.ok(vu.REM_MEM_REG, r.slot())
        rig.disk.submit(virtqueue.BLK_IN, 0, [(r.guest, 512, True)])
        rig.ring.kick()
        assert vu.wait_event(rig.ring.err_fd)
        rig.ring.stop(f)
        assert f.alive()


def test_removed_ring():
    """The region with the ring itself goes while the ring runs."""
    with program.Rig() as rig:
        f = rig.front_end
        rig.ring.start(f)
        rig.disk.check()
        f.ok(vu.REM_MEM_REG, rig.guest.regions[0].slot())
        assert memfd_mappings(rig.program) == 0
        assert vu.wait_event(rig.ring.err_fd)
        rig.ring.kick()
        f.ok(vu.ADD_MEM_REG, rig.guest.regions[0].slot(), [rig.guest.regions[0].fd])
        rig.ring.stop(f)
        rig.ring.start(f)
        rig.disk.check()


def test_across_regions():
    """Two regions that adjoin for the guest, from different files, and a buffer over both."""
    low = vu.Region(1 << 20, 0x100000, 0x700000000000)
    high = vu.Region(1 << 20, 0x200000, 0x500000000000)
    with program.Rig(guest=vu.Guest([low, high])) as rig:
        rig.ring.start(rig.front_end)
        data = os.urandom(8192)
        rig.disk.write(16, data, at=0x200000 - 4096)
        assert rig.disk.read(16, 8192, at=0x200000 - 1024) == data


def test_offset_in_file():
    r = vu.Region(1 << 20, 0x100000, 0x700000000000, offset=3 * PAGE)
    with program.Rig(guest=vu.Guest([r])) as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()


def test_memory_goes_with_the_front_end():
    with program.Program() as p:
        for _ in range(3):
            f = p.connect()
            f.negotiate()
            guest = vu.Guest()
            guest.share(f)
            ring = virtqueue.SplitRing(guest)
            ring.start(f)
            virtqueue.Disk(ring).check()
            assert memfd_mappings(p) == 1
            f.close()
            p.wait_for(lambda: memfd_mappings(p) == 0, 'the end of the mapping', 5)


if __name__ == '__main__':
    program.run()
