#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Show a person a virtual machine's disk that lives in another process.

A guest boots on a disk served over vhost-user, formats it, fills it, is reset,
and finds its files again; so does a second guest, after the back-end was stopped
and started between the two. In the end the file outside is compared with what
the guest read. Everything that this makes is removed again.
"""

import contextlib
import hashlib
import os
import sys
import time

from harness.case import Case, Machine, arguments, unavailable
from harness.errors import Failure, Unavailable
from harness.guest import Disk, Guest

MIB = 1 << 20
DISK_MIB = 64           # the last SCRATCH_MIB of it are for measuring, in no partition
SCRATCH_MIB = 16
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
        """Do something, and say how long it took and the remark that it returns."""
        print(f"  {label:{LABEL_WIDTH}}", end="", flush=True)
        begin = time.monotonic()
        remark = action()
        print(f"{time.monotonic() - begin:6.2f} s   {remark}", flush=True)

    def elapsed(self):
        """Seconds since the story began."""
        return time.monotonic() - self._begin


class Demo:
    """The steps; each returns a remark for the story."""

    def __init__(self, case):
        self.case = case
        self.image = case.file("disk.img", DISK_MIB * MIB)
        self.backend = None
        self.guest = None

    def serve(self):
        """Start the back-end."""
        self.backend = self.case.backend(self.image)
        self.backend.__enter__()
        return f"process {self.backend.pid} listens"

    def command(self):
        """The back-end's command line, as a person would type it."""
        here = f"{os.getcwd()}/"
        return " ".join(word.removeprefix(here) for word in self.backend.command)

    def boot(self):
        """Boot a guest on the disk."""
        self.guest = Guest(self.case, self.case.emulator(), Disk(self.backend.socket),
                           may_reboot=True)
        self.guest.__enter__()
        sectors = int(self.guest.run("cat /sys/block/vda/size"))
        return f"Linux {self.guest.run('uname -r')}, disk vda of {sectors >> 11} MiB"

    def format(self):
        """Partition and format."""
        self.guest.run(f"demo.sh format {DISK_MIB - SCRATCH_MIB - 1}")
        return "a GPT partition with ext4"

    def write(self):
        """Fill the file system."""
        self.guest.run(f"demo.sh write {FILES}")
        return f"{FILES} files and their checksums"

    def verify(self):
        """Check every file against its checksum, as read from the disk."""
        good = int(self.guest.run("demo.sh verify"))
        if good != FILES:
            raise Failure(f"only {good} of {FILES} files are as they were written")
        return f"{good} of {FILES} files are as they were written"

    def measure(self):
        """How fast the disk is, as the guest sees it."""
        output = self.guest.run(f"demo.sh speed {DISK_MIB - SCRATCH_MIB} {SCRATCH_MIB - 1}")
        read, write, random = ([int(n) for n in line.split(";")]
                               for line in output.splitlines())
        return (f"read {read[0] >> 10} MiB/s, write {write[2] >> 10} MiB/s, "
                f"{random[1]:,} random 4 KiB reads/s")

    def reset(self):
        """Press the guest's reset button."""
        self.guest.reset()
        return "up again"

    def power_off(self):
        """End the guest."""
        self.guest.finish()
        return "off"

    def restart(self):
        """Stop the back-end and start it anew."""
        self.backend.stop()
        before = self.backend.pid
        remark = self.serve()
        return f"process {before} ended with status 0, {remark}"

    def stop(self):
        """Stop the back-end for good."""
        self.backend.stop()
        return "ended with status 0"

    def compare(self):
        """Compare what the guest reads with the file outside."""
        inside = self.guest.run("demo.sh hash").split()[0]
        outside = hashlib.sha256(self.image.read_bytes()).hexdigest()
        if inside != outside:
            raise Failure(f"the guest reads {inside}, the file holds {outside}")
        return f"sha256 {inside[:16]}… in the guest and in the file"

    def close(self):
        """End what may still run."""
        for part in filter(None, (self.guest, self.backend)):
            part.close()


def play(story, demo):
    """The whole story."""
    story.tell("A first life")
    story.step("start the back-end", demo.serve)
    story.tell(f"      $ {demo.command()}")
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
    story.step("stop the back-end", demo.stop)


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
    story.tell(f"QEMU {machine.emulators['7.2'].version()} on "
               f"{'KVM' if machine.kvm else 'an emulated CPU: there is no KVM here'}\n")
    case = Case(machine, options, "demo", "demo")
    trouble = "it was interrupted"
    try:
        with contextlib.closing(Demo(case)) as demo:
            play(story, demo)
        trouble = None
    except Failure as reason:
        trouble = reason
    finally:
        if trouble:
            story.tell(f"\n\nIt did not work: {trouble}\n" + "\n".join(case.tails()))
        case.close(failed=bool(trouble))
    if not trouble:
        story.tell(f"\nEvery byte that the guest wrote is there. {story.elapsed():.0f} s in all.")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
