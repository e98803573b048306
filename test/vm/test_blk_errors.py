#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the host's storage refuses reaches the guest as an error, never as silence.

After each error the disk must go on: the back-end lives, other requests are
served, and once the host has mended matters, so are the ones that failed.
"""

import contextlib
import os
import subprocess
import sys

from harness.case import main
from harness.errors import Failure, Skip
from harness.guest import Disk, Guest

MIB = 1 << 20


@contextlib.contextmanager
def running(case, image, **options):
    """A guest on an image, both of which must end well."""
    with case.backend(image, **options) as backend:
        with Guest(case, case.emulator(), Disk(backend.socket)) as guest:
            yield guest
            guest.finish()
        backend.stop()


def transfer(guest, what, first, count):
    """Read or write whole MiBs past the guest's cache; whether that succeeded."""
    files = f"if=/dev/vda skip={first} iflag=direct of=/dev/null"
    if what == "write":
        files = f"if=/dev/zero of=/dev/vda seek={first} oflag=direct conv=notrunc"
    output = guest.run(f"dd {files} bs=1M count={count} 2>&1; echo status $?")
    return output.split()[-1] == "0"


def expect(guest, outcome, what, first, count):
    """Complain unless a transfer ends as it must."""
    if transfer(guest, what, first, count) != outcome:
        raise Failure(f"{what} of {count} MiB at {first} MiB "
                      f"{'fails' if outcome else 'succeeds, it must not'}")


@contextlib.contextmanager
def small_filesystem(case, size):
    """A directory on a file system with little room."""
    directory = case.file("small")
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", directory],
                             stderr=subprocess.PIPE, text=True, check=False)
    if mounted.returncode:
        raise Skip(f"a small file system needs root: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def no_space(case):
    """ENOSPC: the file has holes, and there is no room to fill them all."""
    with small_filesystem(case, 8 * MIB) as directory:
        image = directory / "disk.img"
        with open(image, "wb") as file:
            file.truncate(32 * MIB)
        with running(case, image) as guest:
            expect(guest, True, "write", 0, 4)
            expect(guest, False, "write", 8, 16)
            expect(guest, True, "read", 0, 32)
            guest.run(f"/bin/blkdiscard /dev/vda -o {8 * MIB} -l {16 * MIB}")
            expect(guest, True, "write", 20, 2)


def truncated(case):
    """EIO: the file is cut short behind the back-end's back."""
    if case.kind == "qsd":
        raise Skip("qemu-storage-daemon reads zeroes there")
    image = case.file("disk.img", 16 * MIB)
    with running(case, image) as guest:
        expect(guest, True, "read", 12, 1)
        os.truncate(image, 8 * MIB)
        expect(guest, False, "read", 12, 1)
        expect(guest, True, "read", 4, 1)
        os.truncate(image, 16 * MIB)
        expect(guest, True, "read", 12, 1)


def read_only(case):
    """A read-only disk says so, and takes no write even from a guest that tries."""
    image = case.file("disk.img", 16 * MIB)
    os.chmod(image, 0o444)
    with running(case, image, read_only=True) as guest:
        if guest.run("cat /sys/block/vda/ro").strip() != "1":
            raise Failure("the guest does not see that the disk is read-only")
        expect(guest, False, "write", 0, 1)
        expect(guest, True, "read", 0, 16)


CASES = {"no-space": no_space, "truncated": truncated, "read-only": read_only}

if __name__ == "__main__":
    sys.exit(main(__doc__, CASES))
