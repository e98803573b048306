#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""All the ways in which a back-end and a front-end can find each other, and part.

Every case ends with a guest that finds unharmed what a guest before it wrote;
in between, the two sides meet over an inherited socket, with the back-end as
the client, or again after one of them, or both, were gone.
"""

import contextlib
import socket
import sys
import time

from harness.case import main
from harness.errors import Failure
from harness.guest import Disk, Guest

DISK_SIZE = 32 << 20


def boot(case, disk, script, **options):
    """One life of a guest: boot, run a script, end well."""
    with Guest(case, case.emulator(), disk, **options) as guest:
        guest.run(script)
        guest.finish()


def wait_for(path):
    """Wait until a socket exists; nothing tells when QEMU has made it."""
    deadline = time.monotonic() + 20
    while not path.exists():
        if time.monotonic() > deadline:
            raise Failure(f"QEMU does not make {path}")
        time.sleep(0.01)


def new_disk(case):
    """An image file for a guest to write to."""
    return case.file("disk.img", DISK_SIZE)


def fd_listening(case):
    """--fd with a socket that listens: good for one guest after the other."""
    backend = case.backend(new_disk(case))
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(backend.socket))
        listener.listen()
        with backend.serving(listener):
            boot(case, Disk(backend.socket), "keep.sh put", name="first")
            boot(case, Disk(backend.socket), "keep.sh check", name="second")
            backend.stop()


def fd_connected(case):
    """--fd with one end of a pair whose other end is the guest's: for its life."""
    ours, theirs = socket.socketpair()
    backend = case.backend(new_disk(case))
    with backend.serving(ours):
        ours.close()
        boot(case, Disk(connected=theirs), "keep.sh put && keep.sh check")
        backend.expect_end("the end of its only guest")


def backend_program(case):
    """The options that management software uses, and what it asks for first."""
    backend = case.backend(new_disk(case))
    said = backend.capabilities()
    if said.get("type") != "block" or not {"read-only", "blk-file"} <= set(said["features"]):
        raise Failure(f"it says of its capabilities: {said}")
    with backend.as_program():
        boot(case, Disk(backend.socket), "keep.sh put && keep.sh check")
        backend.stop()


def client_first(case):
    """Client mode, the back-end being there before anybody listens: it must go on
    trying, and come back for the next guest."""
    backend = case.backend(new_disk(case))
    with backend.calling(case.socket("front-end.sock")):
        disk = Disk(case.socket("front-end.sock"), server=True)
        boot(case, disk, "keep.sh put", name="first")
        boot(case, disk, "keep.sh check", name="second")
        backend.stop()


def client_last(case):
    """Client mode, the guest being there first: QEMU waits for the back-end."""
    backend = case.backend(new_disk(case))
    where = case.socket("front-end.sock")
    guest = Guest(case, case.emulator(), Disk(where, server=True))
    with contextlib.closing(guest):
        guest.start()
        wait_for(where)
        with backend.calling(where):
            guest.wait_ready()
            guest.run("keep.sh put && keep.sh check")
            guest.finish()
            backend.stop()


def two_guests(case):
    """The back-end stays while guests come and go."""
    with case.backend(new_disk(case)) as backend:
        boot(case, Disk(backend.socket), "keep.sh put", name="first")
        boot(case, Disk(backend.socket), "keep.sh check", name="second")
        backend.stop()


def restarted(case):
    """The back-end is restarted between two boots of the guest."""
    image = new_disk(case)
    for name, script in (("first", "keep.sh put"), ("second", "keep.sh check")):
        with case.backend(image, name=f"backend-{name}") as backend:
            boot(case, Disk(backend.socket), script, name=name)
            backend.stop()


def reset(case):
    """The machine is reset under a running guest, once idle and once busy."""
    with case.backend(new_disk(case)) as backend:
        with Guest(case, case.emulator(), Disk(backend.socket), may_reboot=True) as guest:
            guest.run("keep.sh put")
            guest.reset()
            guest.run("keep.sh check")
            guest.run(BUSY)
            guest.reset()
            guest.run("keep.sh check")
            guest.finish()
        backend.stop()


def front_end_killed(case):
    """QEMU dies with requests in flight; the next guest is served at once."""
    with case.backend(new_disk(case)) as backend:
        with Guest(case, case.emulator(), Disk(backend.socket), name="killed") as guest:
            guest.run("keep.sh put")
            guest.run(BUSY)
            guest.close()
        boot(case, Disk(backend.socket), "keep.sh check", name="next")
        backend.stop()


# Reads that never end, in the background: nothing that a check would miss.
BUSY = """
fio --name=busy --filename=/dev/vda --readonly --rw=randread --bs=16k --direct=1 \
    --ioengine=libaio --iodepth=32 --time_based --runtime=600 > /dev/null 2>&1 &
until awk '{ exit !$1 }' /sys/block/vda/inflight; do :; done
"""

CASES = {"fd-listening": fd_listening, "fd-connected": fd_connected,
         "backend-program": backend_program,
         "client-first": client_first, "client-last": client_last,
         "two-guests": two_guests, "restarted": restarted, "reset": reset,
         "front-end-killed": front_end_killed}

QUICK = [name for name in CASES if name != "two-guests"]    # others show that, too

if __name__ == "__main__":
    sys.exit(main(__doc__, CASES, quick=QUICK))
