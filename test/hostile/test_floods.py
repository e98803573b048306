#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A front-end that takes more than its share: connections, descriptors, memory, time."""

import os
import resource
import socket
import struct
import subprocess
import sys
import time

import hostile
import vhost_user_client as vu
import virtqueue


def test_connections():
    """More than the backlog; the one being served does not notice."""
    with hostile.Target() as target, hostile.Victim(target) as v:
        for _ in range(5):
            many = []
            for _ in range(60):
                sock = socket.socket(socket.AF_UNIX)
                sock.setblocking(False)
                try:
                    sock.connect(target.path)
                except BlockingIOError:
                    pass
                many.append(sock)
            v.disk.check()
            for sock in many:
                sock.close()
        target.wait_for(lambda: 'turned away' in target.said(), 'a word')


def test_out_of_descriptors():
    """With no descriptor left, neither connections nor messages get through; later, they do."""
    with hostile.Target() as target:
        limit = target.fds + 6
        resource.prlimit(target.process.pid, resource.RLIMIT_NOFILE, (limit, 4096))
        fd = vu.eventfd()
        for _ in range(20):
            with target.connect() as f:
                try:
                    f.negotiate()
                    f.acked(vu.SET_MEM_TABLE, b'\0' * 8, [fd] * 8)
                except (vu.Gone, vu.NoAnswer, BrokenPipeError, ConnectionResetError):
                    pass
        resource.prlimit(target.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        os.close(fd)
        target.survives()


def test_accepting_fails():
    with hostile.Target() as target:
        resource.prlimit(target.process.pid, resource.RLIMIT_NOFILE, (target.fds, 4096))
        socks = []
        for _ in range(5):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(target.path)
            socks.append(sock)
        before = cpu_time(target)
        time.sleep(0.5)
        assert cpu_time(target) - before < 0.25, 'it spins'
        resource.prlimit(target.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        for sock in socks:
            sock.close()
        target.survives()


def cpu_time(target):
    with open('/proc/%d/stat' % target.process.pid) as stat:
        fields = stat.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def test_hang_up_is_quiet():
    """An end that is not noticed yet, or cannot be, costs no CPU time."""
    with hostile.Target() as target:
        f = target.front_end()
        ours, theirs = hostile.program.socket_pair()
        f.ok(vu.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        ours.close()
        time.sleep(0.05)
        before = cpu_time(target)
        time.sleep(0.4)
        assert cpu_time(target) - before < 0.2, 'it spins'
        f.close()


def test_same_message_without_end():
    with hostile.Target() as target:
        before = rss(target)
        with target.front_end() as f:
            guest = vu.Guest()
            for _ in range(300):
                guest.share(f)
            fds = [vu.eventfd() for _ in range(3)]
            for _ in range(500):
                f.ok(vu.SET_VRING_KICK, vu.u64(0), [fds[0]])
                f.ok(vu.SET_VRING_CALL, vu.u64(0), [fds[1]])
                f.ok(vu.SET_VRING_ERR, vu.u64(0), [fds[2]])
            for _ in range(300):
                f.ok(vu.RESET_DEVICE)
            for _ in range(100):
                a, b = hostile.program.socket_pair()
                f.ok(vu.SET_BACKEND_REQ_FD, fds=[a.fileno()])
                a.close()
                b.close()
            for fd in fds:
                os.close(fd)
            target.fds_settle(target.fds + 10)
        assert rss(target) - before < 4 << 20 or sanitized(target)


def rss(target):
    with open('/proc/%d/statm' % target.process.pid) as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def sanitized(target):
    """Sanitizers keep freed memory back."""
    with open('/proc/%d/maps' % target.process.pid) as maps:
        return any('san' in line for line in maps.read().split('\n') if '.so' in line) or \
            b'__asan' in open('/proc/%d/exe' % target.process.pid, 'rb').read()


def test_kicks_without_end():
    """A full eventfd for each of the three; the kick is one that cannot be written to."""
    with hostile.Target() as target:
        with hostile.Victim(target) as v:
            full = [os.eventfd(0) for _ in range(3)]
            for fd in full:
                os.eventfd_write(fd, 2**64 - 2)
            v.f.ok(vu.SET_VRING_CALL, vu.u64(0), [full[0]])
            v.f.ok(vu.SET_VRING_ERR, vu.u64(0), [full[1]])
            v.f.ok(vu.SET_VRING_KICK, vu.u64(0), [full[2]])
            v.disk.ring.kick = lambda: None
            v.f.ok(vu.SET_VRING_KICK, vu.u64(0), [v.ring.kick_fd])
            del v.disk.ring.kick
            for _ in range(20):
                v.disk.check()
            v.ring.publish(0xffff)  # the error descriptor is full, too
            v.ring.kick()
            time.sleep(0.05)
            assert v.f.alive()
            v.ring.stop(v.f)
            for fd in full:
                os.close(fd)


def test_eventfds_as_semaphores():
    with hostile.Target() as target, hostile.Victim(target) as v:
        semaphore = os.eventfd(5, os.EFD_SEMAPHORE)
        for request in (vu.SET_VRING_KICK, vu.SET_VRING_CALL, vu.SET_VRING_ERR):
            v.f.ok(request, vu.u64(0), [semaphore])
        v.f.ok(vu.SET_VRING_KICK, vu.u64(0), [v.ring.kick_fd])
        v.disk.check()
        os.close(semaphore)


def test_same_eventfd_for_all():
    """A call that is a kick that is an error: the queue wakes itself, and rests in the end."""
    with hostile.Target() as target, hostile.Victim(target) as v:
        fd = vu.eventfd()
        for request in (vu.SET_VRING_CALL, vu.SET_VRING_ERR, vu.SET_VRING_KICK):
            v.f.ok(request, vu.u64(0), [fd])
        os.close(v.ring.kick_fd)
        v.ring.kick_fd = fd
        v.disk.check()
        time.sleep(0.1)
        before = cpu_time(target)
        time.sleep(0.4)
        assert cpu_time(target) - before < 0.2, 'it spins'


if __name__ == '__main__':
    hostile.run()
