#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk grows and shrinks under a running guest, which learns of it by itself.

The file is resized and the back-end told to look. The guest's kernel must say
the new size without being asked, and what lies in the new part must be usable
and reach the file.
"""

import sys

from harness.case import main
from harness.errors import Failure
from harness.guest import Disk, Guest

SIZES = [n << 20 for n in (16, 48, 24, 25)]
MARK = "written after the disk was resized"


def case_of(version):
    """The test case for one emulator."""
    def run(case):
        image = case.file("disk.img", SIZES[0])
        with case.backend(image) as backend:
            with Guest(case, case.emulator(version), Disk(backend.socket)) as guest:
                for size in SIZES[1:]:
                    resize(backend, guest, size)
                    check_end(guest, image, size)
                guest.finish()
            backend.stop()
    return run


def resize(backend, guest, size):
    """Resize the disk and wait until the guest's kernel reports the new size."""
    backend.resize(size)
    guest.run(f"timeout 20 grep -m 1 'vda. new size: {size // 512} ' /dev/kmsg")
    seen = int(guest.run("blockdev --getsize64 /dev/vda"))
    if seen != size:
        raise Failure(f"the disk has {size} bytes, the guest sees {seen}")


def check_end(guest, image, size):
    """The last sector can be written, and none behind it."""
    last = size // 512 - 1
    guest.run(f"echo '{MARK}' | dd of=/dev/vda bs=512 seek={last} conv=fsync,notrunc")
    with open(image, "rb") as file:
        file.seek(last * 512)
        if not file.read().startswith(MARK.encode()):
            raise Failure(f"sector {last} was written but the file does not hold it")
    output = guest.run(f"dd if=/dev/vda of=/tmp/behind bs=512 skip={last + 1} count=1; "
                       "stat -c %s /tmp/behind")
    if output.split()[-1] != "0":
        raise Failure("the guest can read behind the end of the disk")


if __name__ == "__main__":
    sys.exit(main(__doc__, {f"qemu-{v}": case_of(v) for v in ("7.2", "11.1")}))
