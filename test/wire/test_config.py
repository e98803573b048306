#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Configuration space, in all the ways in which front-ends read it, and the news of its change."""

import os
import select
import signal
import struct
import sys
import tempfile

import program
import vhost_user_client as vu
import virtqueue

WRITEBACK = 32  # offset of the writable byte (virtio 1.3, 5.2.4)


def test_whole_and_pieces():
    with program.Program(source='memory:64M') as p, p.connect() as f:
        f.negotiate()
        whole = f.read_config(0, 60)
        assert struct.unpack('<Q', whole[:8])[0] == (64 << 20) // 512
        for size in (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 31):
            pieces = b''.join(f.read_config(at, min(size, 60 - at)) for at in range(0, 60, size))
            assert pieces == whole, 'in pieces of %d' % size


def test_larger_than_the_device():
    """Some front-ends always ask for 256 bytes."""
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        whole = f.read_config(0, 256)
        assert len(whole) == 256
        assert whole[:60] == f.read_config(0, 60)
        assert not any(whole[128:])


def test_request_without_its_buffer():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        assert f.read_config(0, 8, sent=0) == f.read_config(0, 8)


def test_request_with_all_of_its_buffer():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        answer = f.read_config(0, 8, sent=256)
        assert len(answer) == 256 and answer[:8] == f.read_config(0, 8)
        assert not any(answer[8:])


def test_outside():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        for offset, size in ((256, 1), (255, 2), (0, 0), (250, 1), (0xffffffff, 1),
                             (1, 0xffffffff), (0, 257)):
            assert f.read_config(offset, size, sent=0) is None, '%d at %d' % (size, offset)
        assert f.read_config(0, 8)


def test_write():
    with program.Program() as p, p.connect() as f:
        f.negotiate(vu.VERSION_1 | 1 << 11 | 1 << 9)  # CONFIG_WCE, FLUSH
        for value in (0, 1, 0):
            f.ok(vu.SET_CONFIG, vu.config(WRITEBACK, 1, 0, bytes([value])))
            assert f.read_config(WRITEBACK, 1) == bytes([value])


def test_write_refused():
    with program.Program() as p, p.connect() as f:
        f.negotiate()
        before = f.read_config(0, 60)
        f.refused(vu.SET_CONFIG, vu.config(0, 8, 0, b'\xff' * 8))
        f.refused(vu.SET_CONFIG, vu.config(WRITEBACK, 1, 2, b'\0'))
        f.refused(vu.SET_CONFIG, vu.config(WRITEBACK, 2, 0, b'\0'))
        f.refused(vu.SET_CONFIG, vu.config(0, 0, 0, b''))
        f.refused(vu.SET_CONFIG, vu.config(200, 57, 0, b'\0' * 57))
        # Not worth a connection, since it misleads nobody.
        f.send(vu.SET_CONFIG, vu.config(0, 8, 0, b'\xff' * 8))
        assert f.read_config(0, 60) == before


class Disk:
    """A file to resize under the program."""

    def __init__(self, size):
        self.file = tempfile.NamedTemporaryFile(prefix='outboard-', suffix='.img')
        self.resize(size)

    def resize(self, size):
        os.ftruncate(self.file.fileno(), size)


def changes(sock, seconds=0.3):
    """How many messages came on the back-end channel; each must be the right one."""
    data = b''
    while select.select([sock], [], [], seconds)[0]:
        more = sock.recv(4096)
        if not more:
            break
        data += more
    count = len(data) // 12
    assert data == vu.header(vu.BACKEND_CONFIG_CHANGE_MSG, 0) * count
    return count


def resize(rig, disk, size):
    """Resizes, and waits until the program knows."""
    disk.resize(size)
    rig.program.process.send_signal(signal.SIGHUP)
    want = struct.pack('<Q', size // 512)
    rig.program.wait_for(lambda: rig.front_end.read_config(0, 8) == want, 'the new size', 5)


def test_change_is_told():
    disk = Disk(1 << 20)
    ours, theirs = program.socket_pair()
    with program.Rig(source=disk.file.name) as rig:
        rig.front_end.ok(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        # Silent while all rings are stopped; told when one starts.
        resize(rig, disk, 2 << 20)
        assert changes(ours) == 0
        rig.ring.start(rig.front_end)
        assert changes(ours) == 1
        resize(rig, disk, 3 << 20)
        assert changes(ours) == 1
        # An answer that nobody asked for is dropped.
        ours.sendall(vu.header(vu.BACKEND_CONFIG_CHANGE_MSG, 8, vu.REPLY) + vu.u64(0))
        rig.disk.check()
        rig.ring.stop(rig.front_end)
        resize(rig, disk, 4 << 20)
        assert changes(ours) == 0
    ours.close()


def test_change_is_coalesced_when_the_channel_is_full():
    disk = Disk(1 << 20)
    ours, theirs = program.socket_pair()
    with program.Rig(source=disk.file.name) as rig:
        rig.ring.start(rig.front_end)
        rig.front_end.ok(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        filler = 0
        theirs.setblocking(False)
        try:
            while True:
                filler += theirs.send(b'\0' * 12)
        except BlockingIOError:
            pass
        for i in range(5):
            resize(rig, disk, (2 + i) << 20)
        rig.disk.check()
        # The channel has room again: one message for all of it.
        got = b''
        while len(got) < filler + 12:
            assert select.select([ours], [], [], 5)[0], 'nothing came'
            got += ours.recv(65536)
        assert got == b'\0' * filler + vu.header(vu.BACKEND_CONFIG_CHANGE_MSG, 0)
        assert changes(ours) == 0
    ours.close()
    theirs.close()


def test_channel_is_replaced_and_lost():
    disk = Disk(1 << 20)
    with program.Rig(source=disk.file.name) as rig:
        rig.ring.start(rig.front_end)
        rig.disk.check()
        fds = rig.program.fd_count() + 1
        for _ in range(3):
            ours, theirs = program.socket_pair()
            rig.front_end.ok(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
            theirs.close()
            rig.program.fds_settle(fds)
            ours.close()
        resize(rig, disk, 2 << 20)
        rig.disk.check()


if __name__ == '__main__':
    program.run()
