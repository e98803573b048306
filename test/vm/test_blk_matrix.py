#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk keeps what a stock guest writes, in every ring format and queue count.

Each case boots one emulator with one ring format and one number of queues. The
guest makes a file system, copies a tree to it, lets fio write and verify, trims,
remounts and checks (guest/fill.sh). Then we look from outside: the file has the
bytes that the guest read from its disk, and e2fsck finds nothing to mend.
"""

import hashlib
import sys

from harness.case import main
from harness.errors import Failure
from harness.guest import Disk, Guest

DISK_SIZE = 32 << 20
PARTITION = slice(1 << 20, 19 << 20)        # the first, as guest/fill.sh makes it
RING_PACKED = 34            # VIRTIO_F_RING_PACKED


def case_of(version, packed, queues):
    """The test case for one cell of the matrix."""
    def run(case):
        image = case.file("disk.img", DISK_SIZE)
        with case.backend(image, queues=queues) as backend:
            disk = Disk(backend.socket, queues=queues, packed=packed)
            with Guest(case, case.emulator(version), disk, cpus=queues) as guest:
                said = check_negotiated(case, guest, packed, queues)
                output = guest.run(f"fill.sh {3 if case.quick else 10} {queues}")
                guest.finish()
            backend.stop()
        check_outside(case, image, output.split()[-2])
        return said
    return run


def check_negotiated(case, guest, packed, queues):
    """The guest must use what the case is about, or the case shows nothing."""
    features = guest.run("cat /sys/block/vda/device/features").strip()
    if len(guest.run("ls /sys/block/vda/mq").split()) != queues:
        raise Failure(f"the guest does not use {queues} queues")
    if packed and features[RING_PACKED] != "1":
        if case.kind == "qsd":
            return "(split rings: qemu-storage-daemon offers no others)"
        raise Failure("the guest was not offered packed rings")
    return None


def check_outside(case, image, expected):
    """Compare the file with what the guest read, and check the file system in it."""
    data = image.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise Failure(f"the guest read {expected}, the file holds {found}")
    partition = case.file("partition.img")
    partition.write_bytes(data[PARTITION])
    case.check_filesystem(partition)


CASES = {f"qemu-{version}-{'packed' if packed else 'split'}-{queues}":
         case_of(version, packed, queues)
         for version in ("7.2", "11.1") for packed in (False, True) for queues in (1, 4)}

if __name__ == "__main__":
    sys.exit(main(__doc__, CASES))
