# SPDX-License-Identifier: BSD-3-Clause
"""The process that serves a disk: ours, or an independent one.

Tests are written against `Backend`. `Outboard` runs the program under test;
`StorageDaemon` runs qemu-storage-daemon, which serves the same protocol from
other code and so tells a faulty test from a faulty product. What it can't do,
it says with Skip when it is asked to.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess

from .errors import Failure, Skip
from .lines import Lines
from .qmp import Qmp

START_TIMEOUT = 10
STOP_TIMEOUT = 20


class Backend:
    """A back-end process: it serves from the start of a `with` block and is gone at
    the end. `with backend:` listens on `backend.socket`; the other ways have names.
    `options` are those of `outboard blk`, with underscores."""

    def __init__(self, case, source, name="backend", **options):
        self.name = name
        self.source = source
        self.options = options
        self.socket = case.socket(f"{name}.sock")
        self.process = None
        self.command = None
        self._case = case
        self._log = case.log(f"{name}.log")
        self._output = None

    @property
    def pid(self):
        """Where to look in /proc."""
        return self.process.pid

    def __enter__(self):
        try:
            self._listen()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        self.close()

    @contextlib.contextmanager
    def serving(self, sock):
        """Serve on an inherited socket, listening or connected."""
        with contextlib.closing(self):
            self._inherit(sock)
            yield self

    @contextlib.contextmanager
    def as_program(self):
        """Listen on `socket`, started with the options that QEMU's conventions for
        back-end programs define."""
        with contextlib.closing(self):
            self._listen_as_program()
            yield self

    @contextlib.contextmanager
    def calling(self, path):
        """Connect to `path`, as soon as somebody listens there."""
        with contextlib.closing(self):
            self._connect(path)
            yield self

    def close(self):
        """End it at once, if it has not ended."""
        if self.process and self.process.poll() is None:
            self.kill()

    def resize(self, size):
        """Change the size of the disk while it is in use."""
        raise NotImplementedError

    def kill(self):
        """SIGKILL: nothing is drained or flushed."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM: it must drain, flush, and end with 0."""
        self.process.send_signal(signal.SIGTERM)
        self.expect_end("SIGTERM")

    def expect_end(self, reason):
        """Wait for the process to end well, for which there is this reason."""
        try:
            status = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end after {reason}") from None
        if status:
            raise Failure(f"{self.name} ended with status {status} after {reason}")

    def said(self):
        """What it has printed on standard error so far."""
        return self._log.read_text(errors="replace")

    def _spawn(self, argv, inherit=(), environment=None):
        self.command = argv = [str(a) for a in argv]
        self._output = Lines()
        with open(self._log, "ab") as log:
            log.write(f"+ {' '.join(argv)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                argv, stdin=self._output.far, stdout=self._output.far, stderr=log,
                pass_fds=[s.fileno() for s in inherit], env=environment)
        self._output.started()

    @contextlib.contextmanager
    def _starting(self):
        """Name what goes wrong while waiting for the process's first words."""
        try:
            yield
        except TimeoutError:
            raise Failure(f"{self.name} does not start to listen") from None
        except EOFError:
            status = self.process.wait()
            reason = self.said().strip().splitlines()[-1]
            raise Failure(f"{self.name} ended at once, status {status}: {reason}") from None


class Outboard(Backend):
    """`outboard blk`, or another build of it given as `program`."""

    def __init__(self, case, source, name="backend", program="outboard", **options):
        super().__init__(case, source, name, **options)
        self._program = case.build_dir / program
        if not self._program.exists():
            raise Failure(f"{self._program} is not built")

    def _listen(self):
        self._spawn_on(f"vhost-user:{self.socket}")
        with self._starting():
            self._output.read(START_TIMEOUT)

    def _connect(self, path):
        self._spawn_on(f"vhost-user:{path},client")

    def _inherit(self, sock):
        self._spawn_program(f"--fd={sock.fileno()}", [sock])

    def _listen_as_program(self):
        self._spawn_program(f"--socket-path={self.socket}")
        with self._starting():
            self._output.read(START_TIMEOUT)

    def capabilities(self):
        """What it says when it is asked for its capabilities."""
        return json.loads(subprocess.run([self._program, "blk", "--print-capabilities"],
                                         stdout=subprocess.PIPE, check=True).stdout)

    def resize(self, size):
        os.truncate(self.source, size)
        self.process.send_signal(signal.SIGHUP)

    def _spawn_program(self, where, inherit=()):
        self._spawn([self._program, "blk", f"--blk-file={self.source}", where,
                     *self._switches()], inherit)

    def _spawn_on(self, where):
        self._spawn([self._program, "blk", self.source, "--on", where, *self._switches()])

    def _switches(self):
        for key, value in self.options.items():
            yield f"--{key.replace('_', '-')}"
            if value is not True:
                yield value


class StorageDaemon(Backend):
    """qemu-storage-daemon's vhost-user-blk export of a file."""

    def _listen(self):
        self._spawn_export(f"addr.type=unix,addr.path={self.socket}")

    def _connect(self, path):
        raise Skip("qemu-storage-daemon has no client mode")

    def _listen_as_program(self):
        raise Skip("qemu-storage-daemon has command line options of its own")

    def capabilities(self):
        """It has nothing of the kind."""
        return self._listen_as_program()

    def _inherit(self, sock):
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise Skip("qemu-storage-daemon takes only listening sockets")
        self._spawn_export(f"addr.type=fd,addr.str={sock.fileno()}", [sock])

    def resize(self, size):
        self._monitor.command("block_resize", **{"node-name": "disk", "size": size})

    def _spawn_export(self, address, inherit=()):
        writable = "off" if self.options.get("read_only") else "on"
        # 7.2 does not announce a new size.
        qemu = self._case.emulator(self.options.get("emulator", "11.1"))
        self._spawn(qemu.command(
            "qemu-storage-daemon", "--blockdev", self._blockdev(),
            "--export", f"type=vhost-user-blk,id=export,node-name=disk,{address},"
            f"writable={writable},num-queues={self.options.get('queues', 1)},"
            f"logical-block-size={self.options.get('block_size', 512)}",
            "--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"),
            inherit, qemu.environment())
        self._monitor = Qmp(self._output)
        with self._starting():
            self._monitor.greet(START_TIMEOUT)     # it greets when all is set up

    def _blockdev(self):
        if ":" in str(self.source):
            raise Skip(f"qemu-storage-daemon has no {self.source}")
        return ("driver=file,node-name=disk,cache.direct=on,discard=unmap,"
                f"filename={self.source}")


KINDS = {"outboard": Outboard, "qsd": StorageDaemon}
