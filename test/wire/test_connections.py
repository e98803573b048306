#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Where front-ends come from, and what follows when they go."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import program
import vhost_user_client as vu
import virtqueue


def test_one_after_the_other():
    with program.Program() as p:
        p.serves()
        fds = p.fd_count()
        for _ in range(20):
            p.serves()
        p.fds_settle(fds)


def test_second_is_turned_away():
    with program.Rig() as rig:
        rig.ring.start(rig.front_end)
        for _ in range(3):
            with rig.program.connect() as second:
                assert second.gone(5)
            rig.disk.check()
        assert 'second front-end' in rig.program.said()


def test_next_one_at_once():
    """The end of the first need not have been noticed when the second comes."""
    with program.Program() as p:
        for _ in range(50):
            first = p.connect()
            assert first.alive()
            first.close()
            with p.connect() as second:
                assert second.alive()


def test_front_end_that_dies_with_requests_out():
    with program.Program() as p:
        fds = None
        for _ in range(5):
            f = p.connect()
            guest = vu.Guest()
            f.negotiate()
            guest.share(f)
            ring = virtqueue.SplitRing(guest)
            ring.start(f)
            disk = virtqueue.Disk(ring)
            for _ in range(5):
                disk.submit(virtqueue.BLK_OUT, 0, [(disk.buffer, 4096, False)])
            ring.kick()
            f.close()
            ring.close()
            guest.close()
            p.serves()
            fds = fds or p.fd_count()
        p.fds_settle(fds)


def test_sigterm_while_serving():
    """What was begun is told to the driver before the connection ends; what was not, is not."""
    for pause in (0, 0, 0.001, 0.01):
        with program.Rig() as rig:
            rig.ring.start(rig.front_end)
            rig.disk.check()
            rig.disk.submit(virtqueue.BLK_IN, 0, [(rig.disk.buffer, 512, True)])
            rig.ring.kick()
            time.sleep(pause)
            rig.program.process.send_signal(signal.SIGTERM)
            assert rig.front_end.gone()
            begun = rig.guest.read(rig.disk.status, 1) != b'\xff'
            assert begun == (rig.ring.pop_used() is not None)
            assert rig.program.process.wait(program.START_TIMEOUT) == 0


def test_socket_file_is_removed():
    p = program.Program()
    with p:
        assert os.path.exists(p.path)
        path = p.path
        p.end()
        assert not os.path.exists(path)


def test_socket_file_of_another_is_not_removed():
    p = program.Program()
    with p:
        os.unlink(p.path)
        other = socket.socket(socket.AF_UNIX)
        other.bind(p.path)
        p.end()
        assert os.path.exists(p.path)
        other.close()


def test_stale_socket_file():
    with tempfile.TemporaryDirectory(prefix='outboard-') as folder:
        path = os.path.join(folder, 's')
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(path)
        dead.close()
        with program.Program(on=path) as p:
            p.path = path
            p.serves()


def test_path_in_use():
    with program.Program() as first:
        second = program.Program(on=first.path)
        second.process.wait(program.START_TIMEOUT)
        assert second.process.returncode != 0
        assert first.path in second.said() and 'in use' in second.said()
        second.log.close()
        first.serves()


def test_path_is_not_a_socket():
    with tempfile.TemporaryDirectory(prefix='outboard-') as folder:
        path = os.path.join(folder, 's')
        with open(path, 'w') as file:
            file.write('precious')
        p = program.Program(on=path)
        p.process.wait(program.START_TIMEOUT)
        assert p.process.returncode != 0 and 'not a socket' in p.said()
        assert open(path).read() == 'precious'
        p.log.close()


def test_no_folder():
    p = program.Program(on='/nonexistent/folder/s')
    p.process.wait(program.START_TIMEOUT)
    assert p.process.returncode != 0 and '/nonexistent/folder/s' in p.said()
    p.log.close()


def test_long_path():
    """Deeper than what a socket address holds."""
    with tempfile.TemporaryDirectory(prefix='outboard-') as folder:
        deep = os.path.join(folder, 'a' * 90, 'b' * 90)
        os.makedirs(deep)
        path = os.path.join(deep, 'socket')
        there = os.open(deep, os.O_PATH)
        with program.Program(on=path) as p:
            p.wait_for(lambda: os.path.exists(path), 'its socket')
            p.path = '/proc/self/fd/%d/socket' % there
            p.serves()
            second = program.Program(on=path)
            assert second.process.wait(program.START_TIMEOUT) != 0
            second.log.close()
            p.end()
            assert not os.path.exists(path)
        os.close(there)


def listener(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(1)
    sock.settimeout(program.START_TIMEOUT)
    return sock


def test_client():
    with tempfile.TemporaryDirectory(prefix='outboard-') as folder:
        path = os.path.join(folder, 's')
        with program.Program(on=path + ',client') as p:
            time.sleep(0.3)  # nobody is there
            for _ in range(3):
                with listener(path) as sock:
                    for _ in range(3):
                        f = vu.FrontEnd(sock.accept()[0])
                        program.serve_one(f)
                        f.close()
                os.unlink(path)
            assert 1 <= p.said().count('cannot connect') <= 4, p.said()


def test_client_is_patient_with_one_that_hangs_up():
    """One that takes connections and ends them is not asked without a pause."""
    with tempfile.TemporaryDirectory(prefix='outboard-') as folder:
        path = os.path.join(folder, 's')
        with listener(path) as sock, program.Program(on=path + ',client') as p:
            taken, end = 0, time.monotonic() + 1
            sock.settimeout(1)
            while time.monotonic() < end:
                try:
                    sock.accept()[0].close()
                    taken += 1
                except TimeoutError:
                    pass
            assert 2 <= taken < 30, '%d connections in a second' % taken
            assert p.process.poll() is None


def test_inherited_connection():
    ours, theirs = program.socket_pair()
    p = program.Program('--fd', str(theirs.fileno()), on='', fds=[theirs.fileno()], wait=False)
    theirs.close()
    with p:
        with vu.FrontEnd(ours) as f:
            program.serve_one(f)
        assert p.process.wait(program.START_TIMEOUT) == 0  # nobody can come any more


def test_inherited_listener():
    with tempfile.TemporaryDirectory(prefix='outboard-') as folder:
        path = os.path.join(folder, 's')
        with listener(path) as sock:
            p = program.Program('--fd', str(sock.fileno()), on='', fds=[sock.fileno()], wait=False)
        with p:
            p.path = path
            p.serves()
            p.serves()
            p.end()
            assert os.path.exists(path)  # not ours to remove


def test_inherited_nonsense():
    null = os.open('/dev/null', os.O_RDWR)
    p = program.Program('--fd', str(null), on='', fds=[null], wait=False)
    assert p.process.wait(program.START_TIMEOUT) != 0
    p.log.close()
    os.close(null)


if __name__ == '__main__':
    program.run()
