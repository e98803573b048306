#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A second front-end, without a virtual machine: libblkio in QEMU's block layer.

libblkio's driver virtio-blk-vhost-user was written apart from QEMU's device: it
makes its own rings in its own memory, takes several queues, uses no indirect
descriptors nor event index, and speaks to the back-end in its own order. Here it
does the work of qemu-io and qemu-img.
"""

import random
import sys

from harness.case import main
from harness.errors import Failure

MIB = 1 << 20
DISK_SIZE = 64 * MIB
FRONT_END = "libblkio's virtio-blk-vhost-user"


class Tools:
    """qemu-io and qemu-img on a back-end's socket."""

    def __init__(self, case, backend):
        self._qemu = case.emulator("11.1")
        self._log = case.log("tools.log")
        self.disk = f"driver=virtio-blk-vhost-user,path={backend.socket},cache.direct=on"

    def io(self, *commands, fails=False):
        """Run qemu-io commands on the disk."""
        return self.run("qemu-io", *[a for c in commands for a in ("-c", c)],
                        "--image-opts", self.disk, fails=fails)

    def run(self, program, *arguments, fails=False):
        """Run a tool; complain unless it succeeds, or with `fails` unless it does not."""
        done = self._qemu.run(program, *arguments)
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(f"+ {program} {' '.join(map(str, arguments))}\n{done.stdout}")
        wrong = done.returncode != 0 or "failed" in done.stdout
        if wrong != fails:
            raise Failure(f"{program}: {done.stdout.strip()}")
        return done.stdout


def read_write(case):
    """Write patterns, read them back, zero and discard some; see them in the file."""
    image = case.file("disk.img", DISK_SIZE)
    with case.backend(image) as backend:
        tools = Tools(case, backend)
        tools.io("write -P 0xab 0 1M", "write -P 0xcd 1M 64k", "write -P 0xef 63M 1M",
                 "write -P 0x11 5M 512", "flush",
                 "read -P 0xab 0 1M", "read -P 0xcd 1M 64k", "read -P 0xef 63M 1M")
        tools.io("write -z 256k 256k", "discard 63M 1M", "flush",
                 "read -P 0 256k 256k", "read -P 0xab 512k 512k", "read -P 0xcd 1M 64k")
        tools.io("read 64M 4k", fails=True)
        backend.stop()
    data = image.read_bytes()
    parts = {0: 0xab, 256 << 10: 0, 512 << 10: 0xab, MIB: 0xcd, 5 * MIB: 0x11}
    for offset, value in parts.items():
        if data[offset:offset + 512] != bytes([value]) * 512:
            raise Failure(f"the file does not hold {value:#x} at {offset}")
    return f"front-end: {FRONT_END}"


def copy(case):
    """Copy a whole image in, compare it through the socket and from outside."""
    source = case.file("source.img")
    source.write_bytes(random.Random(1).randbytes(DISK_SIZE))
    image = case.file("disk.img", DISK_SIZE)
    with case.backend(image) as backend:
        tools = Tools(case, backend)
        tools.run("qemu-img", "convert", "-n", "-f", "raw", source, "--target-image-opts",
                  tools.disk)
        tools.run("qemu-img", "compare", "--image-opts", f"driver=file,filename={source}",
                  tools.disk)
        backend.stop()
    if source.read_bytes() != image.read_bytes():
        raise Failure("the file outside is not what was copied in")
    return f"front-end: {FRONT_END}"


def load(case):
    """Many requests in flight, small and large."""
    with case.backend(case.file("disk.img", DISK_SIZE), queues=4) as backend:
        tools = Tools(case, backend)
        for write in ("", "-w"):
            for size, depth in (("4k", 64), ("256k", 16)):
                tools.run("qemu-img", "bench", "-c", 2000, "-d", depth, "-s", size,
                          *([write] if write else []), "--image-opts", tools.disk)
        backend.stop()
    return f"front-end: {FRONT_END}"


if __name__ == "__main__":
    sys.exit(main(__doc__, {"read-write": read_write, "copy": copy, "load": load}))
