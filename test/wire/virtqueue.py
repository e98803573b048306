# SPDX-License-Identifier: BSD-3-Clause
"""The driver half of a virtqueue, and of virtio-blk, byte by byte (virtio 1.3, 2.7, 2.8, 5.2)."""

import os
import struct
import time

import vhost_user_client as vu

NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 1 << 7, 1 << 15  # of packed descriptors

BLK_IN, BLK_OUT, BLK_FLUSH, BLK_GET_ID = 0, 1, 4, 8
BLK_OK, BLK_IOERR, BLK_UNSUPP = 0, 1, 2


class Ring:
    """What both formats share: where the areas are, how a ring is started, kick and call."""

    def __init__(self, guest, index=0, size=16):
        self.guest, self.index, self.size = guest, index, size
        self.kick_fd, self.call_fd, self.err_fd = vu.eventfd(), vu.eventfd(), vu.eventfd()
        self.desc = guest.alloc(16 * size, 4096)
        self.avail = guest.alloc(6 + 2 * size, 64)
        self.used = guest.alloc(6 + 8 * size, 64)

    def close(self):
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            os.close(fd)

    def addr_payload(self, flags=0):
        user = self.guest.user
        return vu.ring_addr(self.index, user(self.desc), user(self.used), user(self.avail), flags)

    def describe(self, front_end):
        """Size, base and addresses."""
        front_end.ok(vu.SET_VRING_NUM, vu.state(self.index, self.size))
        front_end.ok(vu.SET_VRING_BASE, vu.state(self.index, self.base()))
        front_end.ok(vu.SET_VRING_ADDR, self.addr_payload())

    def set_call(self, front_end):
        front_end.ok(vu.SET_VRING_CALL, vu.u64(self.index), [self.call_fd])
        front_end.ok(vu.SET_VRING_ERR, vu.u64(self.index), [self.err_fd])

    def set_kick(self, front_end):
        front_end.ok(vu.SET_VRING_KICK, vu.u64(self.index), [self.kick_fd])

    def enable(self, front_end, on=1):
        front_end.ok(vu.SET_VRING_ENABLE, vu.state(self.index, on))

    def start(self, front_end):
        self.describe(front_end)
        self.set_call(front_end)
        self.set_kick(front_end)
        self.enable(front_end)

    def stop(self, front_end):
        """The base that GET_VRING_BASE tells."""
        payload = front_end.get(vu.GET_VRING_BASE, vu.state(self.index))
        index, num = struct.unpack('<II', payload)
        assert index == self.index
        return num

    def kick(self):
        os.eventfd_write(self.kick_fd, 1)

    def wait_used(self, count=1, timeout=vu.TIMEOUT):
        """Waits until count chains more are used: [(id, length)]. Looks at the ring, too, so
        that a test of calls must look at the call descriptor itself."""
        got, end = [], time.monotonic() + timeout
        while len(got) < count:
            one = self.pop_used()
            if one is not None:
                got.append(one)
            elif time.monotonic() > end:
                raise vu.NoAnswer('%d of %d chains were used' % (len(got), count))
            else:
                time.sleep(0.0005)
        return got

    def idle(self, seconds=0.15):
        """True if nothing is used for so long."""
        try:
            self.wait_used(1, seconds)
            return False
        except vu.NoAnswer:
            return True


class SplitRing(Ring):
    def __init__(self, guest, index=0, size=16, first=0):
        super().__init__(guest, index, size)
        self.avail_idx = self.used_idx = first & 0xffff
        self.free = list(range(size))
        guest.write(self.avail, struct.pack('<HH', 0, self.avail_idx))
        guest.write(self.used, struct.pack('<HH', 0, self.used_idx))

    def base(self):
        return self.used_idx

    def put_desc(self, slot, addr, size, flags, following=0):
        self.guest.write(self.desc + 16 * slot, struct.pack('<QIHH', addr, size, flags, following))

    def publish(self, head, step=1):
        """Makes head the next available entry."""
        self.guest.write(self.avail + 4 + 2 * (self.avail_idx % self.size), struct.pack('<H', head))
        self.avail_idx = (self.avail_idx + step) & 0xffff
        self.guest.write(self.avail + 2, struct.pack('<H', self.avail_idx))

    def add(self, ranges):
        """ranges: [(address, length, writable)]. The head."""
        slots = [self.free.pop(0) for _ in ranges]
        for i, (addr, size, writable) in enumerate(ranges):
            last = i + 1 == len(ranges)
            self.put_desc(slots[i], addr, size,
                          (WRITE if writable else 0) | (0 if last else NEXT),
                          0 if last else slots[i + 1])
        self.publish(slots[0])
        return slots[0]

    def add_indirect(self, ranges):
        table = self.guest.alloc(16 * len(ranges))
        for i, (addr, size, writable) in enumerate(ranges):
            last = i + 1 == len(ranges)
            self.guest.write(table + 16 * i, struct.pack(
                '<QIHH', addr, size, (WRITE if writable else 0) | (0 if last else NEXT),
                0 if last else i + 1))
        head = self.free.pop(0)
        self.put_desc(head, table, 16 * len(ranges), INDIRECT)
        self.publish(head)
        return head

    def pop_used(self):
        idx, = struct.unpack('<H', self.guest.read(self.used + 2, 2))
        if idx == self.used_idx:
            return None
        entry = self.guest.read(self.used + 4 + 8 * (self.used_idx % self.size), 8)
        self.used_idx = (self.used_idx + 1) & 0xffff
        head, length = struct.unpack('<II', entry)
        self.recycle(head)
        return head, length

    def recycle(self, head):
        slot = head
        while True:
            self.free.append(slot)
            flags, following = struct.unpack('<HH', self.guest.read(self.desc + 16 * slot + 12, 4))
            if not flags & NEXT or flags & INDIRECT:
                return
            slot = following


class PackedRing(Ring):
    def __init__(self, guest, index=0, size=16):
        super().__init__(guest, index, size)
        self.avail_next = self.used_next = 0
        self.avail_wrap = self.used_wrap = True
        self.lengths = {}

    def base(self):
        half = self.used_next | (0x8000 if self.used_wrap else 0)
        return half | half << 16

    def add(self, ranges):
        first = self.avail_next
        head_flags = None
        for i, (addr, size, writable) in enumerate(ranges):
            flags = (WRITE if writable else 0) | (0 if i + 1 == len(ranges) else NEXT)
            flags |= AVAIL if self.avail_wrap else USED
            where = self.desc + 16 * self.avail_next
            self.guest.write(where, struct.pack('<QIH', addr, size, first))
            if head_flags is None:
                head_flags = where, flags
            else:
                self.guest.write(where + 14, struct.pack('<H', flags))
            self.avail_next += 1
            if self.avail_next == self.size:
                self.avail_next, self.avail_wrap = 0, not self.avail_wrap
        self.lengths[first] = len(ranges)
        self.guest.write(head_flags[0] + 14, struct.pack('<H', head_flags[1]))
        return first

    def pop_used(self):
        _, length, head, flags = struct.unpack(
            '<QIHH', self.guest.read(self.desc + 16 * self.used_next, 16))
        if bool(flags & AVAIL) != self.used_wrap or bool(flags & USED) != self.used_wrap:
            return None
        self.used_next += self.lengths.pop(head)
        if self.used_next >= self.size:
            self.used_next, self.used_wrap = self.used_next - self.size, not self.used_wrap
        return head, length


class Disk:
    """virtio-blk requests on a ring, one at a time."""

    def __init__(self, ring):
        self.ring, self.guest = ring, ring.guest
        self.head = self.guest.alloc(16)
        self.status = self.guest.alloc(1)
        self.buffer = self.guest.alloc(1 << 16, 4096)

    def chain(self, kind, sector, ranges):
        self.guest.write(self.head, struct.pack('<IIQ', kind, 0, sector))
        self.guest.write(self.status, b'\xff')
        return [(self.head, 16, False)] + ranges + [(self.status, 1, True)]

    def submit(self, kind, sector, ranges):
        self.ring.add(self.chain(kind, sector, ranges))

    def finish(self):
        """Waits for the request submitted: its status."""
        self.ring.wait_used()
        return self.guest.read(self.status, 1)[0]

    def request(self, kind, sector, ranges):
        self.submit(kind, sector, ranges)
        self.ring.kick()
        return self.finish()

    def write(self, sector, data, at=None):
        at = self.buffer if at is None else at
        self.guest.write(at, data)
        status = self.request(BLK_OUT, sector, [(at, len(data), False)])
        assert status == BLK_OK, 'a write ended with status %d' % status

    def read(self, sector, size, at=None):
        at = self.buffer if at is None else at
        self.guest.write(at, b'\xee' * size)
        status = self.request(BLK_IN, sector, [(at, size, True)])
        assert status == BLK_OK, 'a read ended with status %d' % status
        return self.guest.read(at, size)

    def check(self, sector=8):
        """Writes something new and reads it back."""
        data = os.urandom(512)
        self.write(sector, data)
        assert self.read(sector, 512) == data, 'read something else than was written'
