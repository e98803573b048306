#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a guest was told is durable survives the death of the back-end.

A guest writes to four disks at once: numbered records and ext4 files, each on a
disk in write-back mode, where what was synced is durable, and on one in
write-through mode, where all that completed is. It reports each record and file
the moment it must be durable. Each disk has a back-end of its own that forgets
what was not flushed (harness/forgetful.py); it is killed when the guest has
reported a random number of times. Then, from outside, each record that was
reported must be there; the file system must be clean once its journal is
replayed, and each file that was reported must be in it, whole.

`control` does the same with a guest that reports without having synced, and
expects a loss. If it finds none, the other cases show nothing.
"""

import contextlib
import random
import subprocess
import sys

from harness import forgetful
from harness.case import main
from harness.errors import Failure
from harness.guest import Disk, Guest

KILLS = 20
QUICK_KILLS = 4
WRITERS = 4
REPORTS = 150               # kill at the latest after that many
DISK_SIZE = 64 << 20
BLOCK, PART = 4096, 4 << 20     # as in guest/durable.c
DISKS = {"vda": ("records", "write back"), "vdb": ("records", "write through"),
         "vdc": ("files", "write back"), "vdd": ("files", "write through")}


def case_of(number):
    """One guest and the death of all its disks."""
    def run(case):
        reported, images = kill_disks(case, DISKS, random.Random(number))
        for name, (kind, cache) in DISKS.items():
            missing = CHECKS[kind](case, images[name], reported[name])
            if missing:
                raise Failure(f"{kind} lost in {cache} mode (writer, number): {missing[:10]}, "
                              f"{len(missing)} of {len(reported[name])}")
        return f"{sum(map(len, reported.values()))} reported, none lost"
    return run


def control(case):
    """A guest that wrongly trusts its writes must lose some."""
    disks = {"vda": ("records", "forgetful")}
    reported, images = kill_disks(case, disks, random.Random(0))
    missing = missing_records(case, images["vda"], reported["vda"])
    if not missing:
        raise Failure("nothing was lost without a flush: the back-end does not forget")
    return f"{len(missing)} of {len(reported['vda'])} lost, as they should"


def kill_disks(case, disks, choice):
    """Run a guest until all its disks are dead; return for each disk what the guest
    reported, and a file with what is left of it."""
    with contextlib.ExitStack() as stack:
        make = forgetful.KINDS[case.kind]
        backends = {name: stack.enter_context(make(case, name, DISK_SIZE)) for name in disks}
        ends = [Disk(b.socket) for b in backends.values()]
        guest = stack.enter_context(Guest(case, case.emulator(), *ends))
        reported = {name: set() for name in disks}
        limits = {name: choice.randint(1, REPORTS) for name in disks}
        check_first_mode(case, guest)
        guest.run("".join(f"durable.sh {name} {kind} '{cache}' {WRITERS} &\n"
                          for name, (kind, cache) in disks.items()))
        while limits:
            name = note(guest.hear(), reported)
            if len(reported[name]) >= limits.get(name, sys.maxsize):
                backends[name].kill()
                del limits[name]
        # What was reported before the last kill may not have been heard yet.
        guest.send("true")
        for line in guest.lines():
            note(line, reported)
        guest.finish()
        return reported, {name: b.survivors() for name, b in backends.items()}


def check_first_mode(case, guest):
    """A disk that has not been told otherwise must say that it is in write-back mode:
    a guest that believes the contrary never syncs."""
    modes = guest.run("cat /sys/block/vd?/cache_type").splitlines()
    if case.kind == "outboard" and set(modes) != {"write back"}:
        raise Failure(f"the disks begin in these modes: {modes}")


def note(line, reported):
    """Take down a report; return the name of its disk."""
    words = line.split()
    if len(words) != 3 or words[0] not in reported:
        raise Failure(f"the guest complains: {line}")
    reported[words[0]].add((int(words[1]), int(words[2])))
    return words[0]


def content(writer, number):
    """The bytes of a record or file, as guest/durable.c makes them."""
    text = f"writer {writer:4d} record {number:11d};\n".encode()
    return text * (BLOCK // len(text))


def missing_records(_case, image, reported):
    """The reported records that are not in the image."""
    missing = []
    with open(image, "rb") as disk:
        for writer, number in sorted(reported):
            disk.seek(writer * PART + number * BLOCK)
            if disk.read(BLOCK) != content(writer, number):
                missing.append((writer, number))
    return missing


def missing_files(case, image, reported):
    """The reported files that are not in the image's file system, or not whole."""
    subprocess.run(["e2fsck", "-p", "-E", "journal_only", image], check=False,
                   env=case.environment, capture_output=True)
    case.check_filesystem(image)
    directory = case.file(f"{image.stem}-files")
    directory.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {directory}", image], check=True,
                   env=case.environment, capture_output=True)
    return [(writer, number) for writer, number in sorted(reported)
            if not holds(directory / f"{writer}-{number}", content(writer, number))]


def holds(path, expected):
    """Whether a file is there and has just that content."""
    return path.exists() and path.read_bytes() == expected


CHECKS = {"records": missing_records, "files": missing_files}
CASES = {"control": control, **{f"kill-{n + 1:02}": case_of(n) for n in range(KILLS)}}
QUICK = list(CASES)[:1 + QUICK_KILLS]

if __name__ == "__main__":
    sys.exit(main(__doc__, CASES, quick=QUICK))
