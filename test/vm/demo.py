#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Show a person a virtual machine's disk that lives in another process.

A guest boots on a disk served over vhost-user, formats it, fills it, is reset,
and finds its files again; so does a second guest, after the back-end was stopped
and started between the two. In the end the file outside is compared with what
the guest read. Everything that this makes is removed again.
"""

import hashlib
import sys
import time

from harness.case import Case, Machine, arguments, unavailable
from harness.errors import Failure, Unavailable
from harness.guest import Disk, Guest

MIB = 1 << 20
DISK_MIB = 96           # the last SCRATCH_MIB of it are for measuring
SCRATCH_MIB = 32
FILES = 32              # of about one MB each
LABEL_WIDTH = 44


class Story:
    """Tells what happens, one aligned line a step: what, how long, what came of it."""

    def __init__(self):
        self._begin = time.monotonic()

    def tell(self, text=""):
        """Print a line of plain text."""
        print(text, flush=True)

    def step(self, label, action):
        """Do something, say how long it took and what it returns: (value, remark)."""
        print(f"  {label:{LABEL_WIDTH}}", end="", flush=True)
        begin = time.monotonic()
        value, remark = action()
        print(f"{time.monotonic() - begin:6.2f} s   {remark}", flush=True)
        return value

    def elapsed(self):
        """Seconds since the story began."""
        return time.monotonic() - self._begin


class Demo:
    """The steps; each returns its value and a remark for the story."""

    def __init__(self, case):
        self.case = case
        self.image = case.file("disk.img", DISK_MIB * MIB)
        self.backend = None
        self.guest = None

    def serve(self):
        """Start the back-end."""
        self.backend = self.case.backend(self.image)
        self.backend.__enter__()
        return None, f"process {self.backend.pid} listens on {self.backend.socket}"

    def boot(self):
        """Boot a guest on the disk."""
        self.guest = Guest(self.case, self.case.emulator(), Disk(self.backend.socket),
                           may_reboot=True)
        self.guest.__enter__()
        sectors = int(self.guest.run("cat /sys/block/vda/size"))
        return None, f"Linux {self.guest.run('uname -r')}, disk vda of {sectors >> 11} MiB"

    def format(self):
        """Partition and format."""
        self.guest.run("demo.sh format")
        return None, "a GPT partition with ext4"

    def write(self):
        """Fill the file system."""
        self.guest.run(f"demo.sh write {FILES}")
        return None, f"{FILES} files and their checksums"

    def verify(self):
        """Check every file against its checksum, as read from the disk."""
        good = int(self.guest.run("demo.sh verify"))
        if good != FILES:
            raise Failure(f"only {good} of {FILES} files are as they were written")
        return None, f"{good} of {FILES} files are as they were written"

    def measure(self):
        """How fast the disk is, as the guest sees it."""
        output = self.guest.run(f"demo.sh speed {DISK_MIB - SCRATCH_MIB} {SCRATCH_MIB - 1}")
        read, write, random = ([int(n) for n in line.split(";")]
                               for line in output.splitlines())
        return None, (f"read {read[0] >> 10} MiB/s, write {write[2] >> 10} MiB/s, "
                      f"{random[1]:,} random 4 KiB reads/s")

    def reset(self):
        """Press the guest's reset button."""
        self.guest.reset()
        return None, "up again"

    def power_off(self):
        """End the guest."""
        self.guest.finish()
        return None, "off"

    def restart(self):
        """Stop the back-end and start it anew."""
        self.backend.stop()
        before = self.backend.pid
        _, remark = self.serve()
        return None, f"process {before} has ended well, {remark.split(' listens')[0]} serves"

    def compare(self):
        """Compare what the guest reads with the file outside."""
        inside = self.guest.run("demo.sh hash").split()[0]
        outside = hashlib.sha256(self.image.read_bytes()).hexdigest()
        if inside != outside:
            raise Failure(f"the guest reads {inside}, the file holds {outside}")
        return None, f"sha256 {inside[:16]}… in the guest and in the file"

    def close(self):
        """End what may still run."""
        for part in (self.guest, self.backend):
            if part:
                part.__exit__(None, None, None)


def play(story, demo):
    """The whole story."""
    story.tell("A first life")
    story.step("start the back-end", demo.serve)
    story.step("boot a guest on its disk", demo.boot)
    story.step("partition and format", demo.format)
    story.step(f"write {FILES} files", demo.write)
    story.step("measure", demo.measure)
    story.tell("The guest is reset")
    story.step("reboot", demo.reset)
    story.step("verify", demo.verify)
    story.step("switch the guest off", demo.power_off)
    story.tell("The back-end is restarted between two boots")
    story.step("stop and start the back-end", demo.restart)
    story.step("boot a second guest", demo.boot)
    story.step("verify", demo.verify)
    story.step("compare the disk with the file outside", demo.compare)
    story.step("switch the guest off", demo.power_off)
    story.step("stop the back-end", lambda: (demo.backend.stop(), "drained, flushed, ended with 0"))


def main():
    """Set the stage, play, clear up."""
    options = arguments(__doc__).parse_args()
    story = Story()
    story.tell("Outboard: a virtual machine's disk, served by another process")
    vm_dir = options.build_dir / "vm"
    if not (vm_dir / "kernel").exists():
        story.tell("(fetching a guest kernel and QEMU first; this happens once)")
    try:
        machine = Machine(vm_dir)
    except Unavailable as reason:
        return unavailable(reason)
    case = Case(machine, options, "demo", "demo")
    cpu = "KVM" if machine.kvm else "an emulated CPU: there is no KVM here"
    story.tell(f"QEMU {case.emulator().version()} on {cpu}\n")
    demo = Demo(case)
    try:
        play(story, demo)
        failed = None
    except Failure as reason:
        failed = reason
    finally:
        demo.close()
    if failed:
        story.tell(f"\n\nIt went wrong: {failed}\n" + "\n".join(case.tails()))
    else:
        story.tell(f"\nEvery byte that the guest wrote is there. {story.elapsed():.0f} s in all.")
    case.close(bool(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
