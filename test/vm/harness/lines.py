# SPDX-License-Identifier: BSD-3-Clause
"""Lines of text over a connected socket, with a deadline for each.

Both conversations with a guest are of this kind: the one with the shell inside
it and the one with QEMU's monitor. The far end of the pair belongs to QEMU
alone, so when QEMU ends, however it ends, the reader sees the end of the file
at once and nobody has to poll for it.
"""

import contextlib
import select
import socket
import time


class Lines:
    """One end of a socket pair; `far` is the other, to be inherited by QEMU.

    All that is read is also written to the file `record`, if there is one."""

    def __init__(self, record=None):
        self._record = record
        self._near, self.far = socket.socketpair()
        self._pending = b""

    def started(self):
        """QEMU has inherited the far end: forget ours."""
        self.far.close()

    def close(self):
        """Hang up."""
        self._near.close()

    def write(self, line):
        """Send one line. If nobody is there to take it, the next read will tell."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._near.sendall(line.encode() + b"\n")

    def read(self, timeout):
        """Return the next line; EOFError if none can come, TimeoutError if none does."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._pending:
            left = max(0, deadline - time.monotonic())
            if not select.select([self._near], [], [], left)[0]:
                raise TimeoutError
            self._pending += self._receive()
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def _receive(self):
        try:
            data = self._near.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError
        if self._record:
            with open(self._record, "ab") as record:
                record.write(data)
        return data
