# SPDX-License-Identifier: BSD-3-Clause
"""The program under test as a process, and the little that a file of tests needs around it.

A test is a function whose name begins with test_. run() runs those of the caller's module, each
by itself, and ends the process: 0, 1, or 77 with the reason if it cannot test here.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import vhost_user_client as vu
import virtqueue

BINARY = os.environ.get('OUTBOARD')

START_TIMEOUT = 20  # seconds; under a sanitizer on a busy machine


class Program:
    """`outboard blk`, serving. Used with `with`: it must then end well, and have said nothing
    that a sanitizer says."""

    def __init__(self, *args, source='memory:64M', on=None, fds=(), wait=True):
        """on: the transport's address; None: a path of its own; '': none is given."""
        self.folder = tempfile.TemporaryDirectory(prefix='outboard-')
        self.path = os.path.join(self.folder.name, 's')
        self.log_file = os.path.join(self.folder.name, 'log')
        command = [BINARY, 'blk', source]
        if on != '':
            command += ['--on', 'vhost-user:' + (on or self.path)]
        self.log = open(self.log_file, 'w+b')
        self.process = subprocess.Popen(command + list(args), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, pass_fds=fds)
        if wait and on is None:
            self.wait_for(lambda: os.path.exists(self.path), 'its socket')

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.end()
            else:
                self.process.kill()
                self.process.wait()
                sys.stdout.write('--- the program said ---\n%s---\n' % self.said())
        finally:
            self.log.close()
            self.folder.cleanup()

    def said(self):
        with open(self.log_file, errors='replace') as log:
            return log.read()

    def wait_for(self, condition, what, timeout=START_TIMEOUT):
        end = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError('the program ended with %d while %s was awaited'
                                     % (self.process.returncode, what))
            if time.monotonic() > end:
                raise AssertionError('%s did not come' % what)
            time.sleep(0.002)

    def end(self, status=0):
        """Ends it with SIGTERM, if it has not ended by itself."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        got = self.process.wait(START_TIMEOUT)
        said = self.said()
        assert got == status, 'it ended with %d instead of %d:\n%s' % (got, status, said)
        assert not re.search(r'Sanitizer|runtime error:', said), said

    def connect(self):
        """A front-end on its socket, once it listens."""
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return vu.FrontEnd(self.path)
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.002)

    def fd_count(self):
        return len(os.listdir('/proc/%d/fd' % self.process.pid))

    def fds_settle(self, count, timeout=5):
        """Waits until it has at most as many descriptors open; a closed connection takes a
        moment to be noticed."""
        self.wait_for(lambda: self.fd_count() <= count,
                      '%d open descriptors instead of %d' % (count, self.fd_count()), timeout)

    def serves(self):
        """That a good front-end is served from start to end."""
        with self.connect() as front_end:
            serve_one(front_end)


def serve_one(front_end, features=vu.VERSION_1, ring_type=virtqueue.SplitRing):
    """Negotiates, starts a ring, writes, reads, stops."""
    guest = vu.Guest()
    front_end.negotiate(features)
    guest.share(front_end)
    ring = ring_type(guest)
    ring.start(front_end)
    virtqueue.Disk(ring).check()
    ring.stop(front_end)
    ring.close()
    guest.close()


class Rig:
    """A program, a front-end with its features negotiated, memory, a ring (not started) and a
    disk on it."""

    def __init__(self, *args, features=vu.VERSION_1, guest=None, size=16,
                 ring_type=virtqueue.SplitRing, **keywords):
        self.program = Program(*args, **keywords)
        self.front_end = self.program.connect()
        self.front_end.negotiate(features)
        self.guest = guest or vu.Guest()
        self.guest.share(self.front_end)
        self.ring = ring_type(self.guest, size=size)
        self.disk = virtqueue.Disk(self.ring)

    def __enter__(self):
        self.program.__enter__()
        return self

    def __exit__(self, *what):
        self.front_end.close()
        self.program.__exit__(*what)
        self.ring.close()
        self.guest.close()


def socket_pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def run(module=None):
    global BINARY
    module = module or sys.modules['__main__']
    parser = argparse.ArgumentParser(description=module.__doc__)
    parser.add_argument('--build-dir', help='where `outboard` was built; default: $OUTBOARD')
    parser.add_argument('tests', nargs='*', help='names of tests; default: all')
    options = parser.parse_args()
    if options.build_dir:
        BINARY = os.path.join(options.build_dir, 'outboard')
    if not BINARY or not os.access(BINARY, os.X_OK):
        print('no program to test: give --build-dir or set OUTBOARD')
        sys.exit(77)
    names = options.tests or [n for n in vars(module) if n.startswith('test_')]
    failed = 0
    for name in names:
        start = time.monotonic()
        try:
            getattr(module, name)()
            print('ok    %-44s %5.2f s' % (name, time.monotonic() - start), flush=True)
        except Exception:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print('FAIL  %s' % name, flush=True)
    sys.exit(1 if failed else 0)
