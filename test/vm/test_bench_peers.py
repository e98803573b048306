#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The driver side against back-ends that we did not write: qemu-storage-daemon of both QEMU
versions. No guest is booted: `outboard bench` writes, reads back and compares. (Their export
knows split rings only.)"""

import json
import subprocess
import sys

from harness.backend import StorageDaemon
from harness.case import main
from harness.errors import Failure

DISK_SIZE = 64 << 20


def driven(case, backend, *arguments):
    """Run the benchmark with --verify; return its result."""
    run = subprocess.run(
        [str(case.build_dir / "outboard"), "bench", "blk", f"vhost-user:{backend.socket}", "--verify",
         "--pattern", "mixed", "--time", "1", "--warm-up", "0.1", "--json", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    if run.returncode != 0:
        raise Failure(f"bench {' '.join(arguments)}: {run.stderr}{run.stdout}")
    return json.loads(run.stdout)


def peer(version):
    """The cases against the storage daemon of one QEMU version."""
    def against(case):
        image = case.file("disk.img", DISK_SIZE)
        with StorageDaemon(case, image, emulator=version, queues=4) as backend:
            for arguments in ([], ["--direct"], ["--poll"], ["--queues", "4", "--depth", "8"],
                              ["--size", "64k", "--depth", "8"], ["--depth", "1"]):
                result = driven(case, backend, *arguments)
                if not result["requests"]:
                    raise Failure(f"{arguments}: nothing was served")
            backend.stop()
    return against


if __name__ == "__main__":
    sys.exit(main(__doc__, {"qsd-7.2": peer("7.2"), "qsd-11.1": peer("11.1")}))
