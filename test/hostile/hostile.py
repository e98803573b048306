# SPDX-License-Identifier: BSD-3-Clause
"""What tests of a hostile peer share: one process that must survive everything.

A case does its worst on a connection of its own. Afterwards the program must serve a good
front-end, and once all cases are through, have as many descriptors and mappings as before. A
sanitizer's report ends the process, and so is seen at the next case.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'wire'))

import program
import vhost_user_client as vu
import virtqueue

run = program.run


class Target(program.Program):
    """The program, and what it had open after it served its first good front-end."""

    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)
        self.serves()
        self.fds = self.fd_count()
        self.settled(self.fds)

    def settled(self, fds):
        """The least count of descriptors within a moment: a front-end's end takes one."""
        try:
            self.fds_settle(fds - 1, 0.3)
        except AssertionError:
            pass
        self.fds = min(fds, self.fd_count())

    def front_end(self):
        """A connection with all protocol features negotiated."""
        f = self.connect()
        f.negotiate()
        return f

    def survives(self):
        assert self.process.poll() is None, 'it died:\n' + self.said()
        self.serves()

    def __exit__(self, kind, *rest):
        if kind is None:
            try:
                self.survives()
                self.fds_settle(self.fds)
            except AssertionError as error:
                super().__exit__(AssertionError, *rest)
                raise error
        super().__exit__(kind, *rest)


class Victim:
    """A connection with memory and one running ring, to do one wrong thing to."""

    def __init__(self, target, features=vu.VERSION_1, ring_type=virtqueue.SplitRing, size=16,
                 guest=None, f=None):
        self.f = f or target.connect()
        self.f.negotiate(features)
        self.guest = guest or vu.Guest()
        self.guest.share(self.f)
        self.ring = ring_type(self.guest, size=size)
        self.disk = virtqueue.Disk(self.ring)
        self.ring.start(self.f)

    def breaks(self, timeout=vu.TIMEOUT):
        """That the ring is broken, that the front-end was told, and is served on."""
        self.ring.kick()
        assert vu.wait_event(self.ring.err_fd, timeout), 'the ring goes on'
        assert self.f.alive()
        self.ring.stop(self.f)

    def close(self):
        self.f.close()
        self.ring.close()
        self.guest.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
