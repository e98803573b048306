# SPDX-License-Identifier: BSD-3-Clause
"""Who takes part in the race: back-ends that serve a disk on one CPU, each started once for a
row and then idle while the others run."""

import os
import subprocess
import time

CPU_BACK = 0
CPU_FRONT = 1
WAIT = 20  # seconds until a back-end must listen


def driven(endpoint):
    """The words after `outboard bench` that drive an endpoint from the other CPU."""
    return ['blk', endpoint, '--cpu', str(CPU_FRONT), '--line', str(CPU_BACK)]


class Contender:
    """A back-end process on CPU_BACK. words are what `outboard bench` is given."""

    def __init__(self, name, command, socket, environment=None):
        self.name = name
        self.words = driven('vhost-user:' + socket)
        self._command, self._socket, self._environment = command, socket, environment
        self._process = None

    def __enter__(self):
        if os.path.exists(self._socket):
            os.unlink(self._socket)
        self._process = subprocess.Popen(
            ['taskset', '-c', str(CPU_BACK), *self._command], env=self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + WAIT
        while not os.path.exists(self._socket):
            if self._process.poll() is not None or time.monotonic() > end:
                self._process.kill()
                raise RuntimeError('%s did not start: %s' % (
                    self.name, self._process.stderr.read().decode(errors='replace')))
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.communicate()


class Bare:
    """The bare ring loop, a thread of the benchmark itself."""

    words = driven('bare:%d' % CPU_BACK)

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Field:
    """Makes contenders, with sockets and files in a scratch folder."""

    def __init__(self, program, scratch, emulators):
        self.program, self.scratch, self.emulators = program, scratch, emulators
        self._count = 0

    def _path(self):
        self._count += 1
        return os.path.join(self.scratch, 's%d' % self._count)

    def bare(self, name='bare loop'):
        return Bare(name)

    def outboard(self, source, poll, name=None):
        path = self._path()
        return Contender(name or 'outboard %s' % poll,
                         [self.program, 'blk', source, '--on', 'vhost-user:' + path, '--poll', poll,
                          '--log-level', 'error'], path)

    def storage_daemons(self, blockdev, poll):
        """One for each QEMU here. blockdev: the options of its node 'd'; poll: busy-poll."""
        return [self._storage_daemon(emulator, blockdev, poll) for emulator in self.emulators]

    def _storage_daemon(self, emulator, blockdev, poll):
        path = self._path()
        # Its best: polls for longer than any pause between requests, or not at all.
        poll_ns = 10000000 if poll else 0
        command = emulator.command(
            'qemu-storage-daemon',
            '--object', 'iothread,id=io,poll-max-ns=%d' % poll_ns,
            '--blockdev', 'node-name=d,' + blockdev,
            '--export', 'type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=%s,'
            'writable=on,iothread=io,num-queues=4' % path)
        return Contender('%s %s' % (emulator.name.replace('qemu', 'qsd'),
                                    'polling' if poll else 'event'),
                         command, path, emulator.environment())
