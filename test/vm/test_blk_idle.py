#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# check: alone
"""An idle disk costs nothing, and a new one is there at once.

`idle`: the guest is up and its disk used and unmounted. For ten seconds no
thread of the back-end may be scheduled, not once; and what the process has in
memory, beyond the guest's own, which it merely maps, stays under 8 MiB.
`start`: from starting the process to a socket that takes connections, 20 ms.
"""

import socket
import statistics
import sys
import time
from pathlib import Path

from harness.case import main
from harness.errors import Failure
from harness.guest import Disk, Guest

IDLE_SECONDS = 10
SETTLE_SECONDS = 0.5        # it may poll for a moment after the last request
MEMORY_LIMIT = 8 << 20
START_LIMIT = 0.020
STARTS = 15
DISK_SIZE = 64 << 20


def idle(case):
    """Neither time nor memory while nobody uses the disk."""
    with case.backend(case.file("disk.img", DISK_SIZE)) as backend:
        with Guest(case, case.emulator(), Disk(backend.socket)) as guest:
            guest.run("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && cp -a /bin /mnt && "
                      "umount /mnt && sync")
            time.sleep(SETTLE_SECONDS)
            before = runs(backend.pid)
            time.sleep(IDLE_SECONDS)
            after = runs(backend.pid)
            memory = resident(backend.pid)
            guest.finish()
        backend.stop()
    woken = {task: abs(after.get(task, 0) - before.get(task, 0)) for task in before | after}
    said = f"{sum(woken.values())} runs in {IDLE_SECONDS} s, {memory / (1 << 20):.1f} MiB"
    judge(case, before == after, f"threads ran (or ended) while idle: {woken}")
    judge(case, memory < MEMORY_LIMIT, f"{said}: over {MEMORY_LIMIT >> 20} MiB")
    return said


def runs(pid):
    """How often each thread of a process has been given a CPU so far."""
    return {task.name: int((task / "schedstat").read_text().split()[2])
            for task in Path(f"/proc/{pid}/task").iterdir()}


def resident(pid):
    """Bytes in memory that are the process's own: not the guest's, which it shares."""
    status = dict(line.split(":", 1) for line in
                  Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(status[field].split()[0]) for field in ("RssAnon", "RssFile")) * 1024


def start(case):
    """The median of several starts."""
    image = case.file("disk.img", DISK_SIZE)
    times = []
    for number in range(STARTS):
        backend = case.backend(image, name=f"backend-{number}")
        begin = time.monotonic()
        with backend, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(backend.socket))
            times.append(time.monotonic() - begin)
    median = statistics.median(times)
    said = f"{median * 1000:.1f} ms from start to listening (of {STARTS}, median)"
    judge(case, median < START_LIMIT, f"{said}: over {START_LIMIT * 1000:.0f} ms")
    return said


def judge(case, good, complaint):
    """The limits are what our program promises; others are only measured."""
    if not good and case.kind == "outboard":
        raise Failure(complaint)


if __name__ == "__main__":
    sys.exit(main(__doc__, {"idle": idle, "start": start}))
