# SPDX-License-Identifier: BSD-3-Clause
"""A virtual machine with its disks, driven step by step.

A Guest boots on entry to its `with` block, runs shell scripts that the test
sends it one after the other, and must be told to finish. It passes only if it
says so twice (see guest/verdict.c). Everything else is a failure with a name:
it panicked, it ended early, it hung. Whatever happens, QEMU is gone when the
block ends; the console and QEMU's own words stay in the log directory.
"""

import base64
import re
import subprocess

from .errors import Failure
from .lines import Lines
from .qmp import Qmp

BOOT_TIMEOUT = 60
STEP_TIMEOUT = 120
VERDICT_TIMEOUT = 10
PASSED = 3          # what isa-debug-exit makes of verdict 0

# The plainest CPU boots fastest under emulation. It must have RDRAND: without it
# the kernel has no entropy, and every program that makes a UUID waits for seconds.
CPU = "qemu64,+rdrand"
KERNEL_ARGUMENTS = ("console=ttyS0 panic=-1 oops=panic mitigations=off nokaslr "
                    "no_timer_check tsc=reliable 8250.nr_uarts=1 cryptomgr.notests "
                    "initcall_blacklist=jent_mod_init quiet")


class Disk:
    """A vhost-user-blk device of the guest and where its back-end is to be found.

    `path` is the back-end's socket, or with server=True the one on which QEMU
    itself listens for it; a socket object as `connected` is used as it is.
    """

    def __init__(self, path=None, server=False, connected=None, queues=1, packed=False,
                 **properties):
        self.queues = queues
        self.connected = connected
        self._chardev = (f"fd={connected.fileno()}" if connected else
                         f"path={path},server={'on' if server else 'off'}")
        switches = {"num-queues": queues, "packed": "on" if packed else "off",
                    **properties}
        self._switches = "".join(f",{k}={v}" for k, v in switches.items())

    def arguments(self, index):
        """QEMU's arguments for the disk that the guest sees as number `index`."""
        return ("-chardev", f"socket,id=disk{index},{self._chardev}",
                "-device", f"vhost-user-blk-pci,chardev=disk{index},addr={index + 4:#x}"
                           f"{self._switches}")


class Guest:
    """One virtual machine; `case` is what the test runs in (see case.py)."""

    def __init__(self, case, emulator, *disks, name="guest", cpus=1, memory=512,
                 may_reboot=False):
        self.name = name
        self._case = case
        self._disks = disks
        self._console = case.log(f"{name}-console.log")
        self._console.touch()
        self._log = case.log(f"{name}-qemu.log")
        self._shell = Lines(record=case.log(f"{name}-shell.log"))
        self.qmp = Qmp()
        self._steps = 0
        self._status = None
        self._process = None
        self._emulator = emulator
        self._arguments = emulator.command("qemu-system-x86_64", *self._machine(cpus, memory),
                                           *([] if may_reboot else ["-no-reboot"]))

    def _machine(self, cpus, memory):
        machine = self._case.machine
        yield from ("-name", self.name, "-nodefaults", "-display", "none", "-M", "q35",
                    "-bios", "qboot.rom", "-cpu", "max" if machine.kvm else CPU,
                    "-accel", self._emulator.accelerator(machine.kvm, cpus),
                    "-smp", cpus, "-m", f"{memory}M", "-machine", "memory-backend=ram",
                    "-object", f"memory-backend-memfd,id=ram,size={memory}M,share=on",
                    "-kernel", machine.kernel.image, "-initrd", machine.initramfs,
                    "-append", KERNEL_ARGUMENTS,
                    "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                    "-serial", f"file:{self._console}",
                    "-chardev", f"socket,id=shell,fd={self._shell.far.fileno()}",
                    "-device", "virtio-serial-pci,addr=0x3",
                    "-device", "virtserialport,chardev=shell,nr=1",
                    "-chardev", f"socket,id=monitor,fd={self.qmp.lines.far.fileno()}",
                    "-mon", "chardev=monitor,mode=control")
        for index, disk in enumerate(self._disks):
            yield from disk.arguments(index)

    def __enter__(self):
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        self.close()

    def start(self):
        """Start QEMU without waiting for anything."""
        inherited = [self._shell.far, self.qmp.lines.far]
        inherited += [d.connected for d in self._disks if d.connected]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._emulator.environment(), pass_fds=[s.fileno() for s in inherited])
        for end in inherited:
            end.close()

    def wait_ready(self):
        """Wait until the guest has booted and obeys."""
        self._talk(self.qmp.greet, BOOT_TIMEOUT, "QEMU's start")
        self._talk(self._ready, BOOT_TIMEOUT, "boot")

    def _ready(self, timeout):
        while self._shell.read(timeout) != "@ready":
            pass

    def send(self, script):
        """Let the guest start on a script; its output is read with `lines`."""
        self._steps += 1
        self._shell.write(f"{self._steps} {base64.b64encode(script.encode()).decode()}")

    def hear(self, timeout=STEP_TIMEOUT):
        """Return the next line that a script which runs in the background prints."""
        return self._talk(self._shell.read, timeout, "the background") or self.hear(timeout)

    def lines(self, timeout=STEP_TIMEOUT):
        """Yield the lines that the running script prints, to its end."""
        while True:
            line = self._talk(self._shell.read, timeout, f"step {self._steps}")
            if line == "@ready":
                raise Failure(self._panic() or f"{self.name} rebooted unasked")
            if line.startswith("@done "):
                self._status = int(line.split()[2])
                return
            if line:
                yield line

    def run(self, script, timeout=STEP_TIMEOUT):
        """Run a script to its end and return what it printed; complain if it fails."""
        self.send(script)
        output = list(self.lines(timeout))
        if self._status:
            raise Failure(f"{self.name}: `{script.strip()}` failed with {self._status}:\n  "
                          + "\n  ".join(output[-10:]))
        return "\n".join(output)

    def finish(self):
        """End the guest and check that it ends well."""
        self._shell.write("exit 0")
        if self._wait() != PASSED:
            raise Failure(self._obituary())
        if not re.search(r"^TEST-RC 0\r?$", self._console.read_text(errors="replace"), re.M):
            raise Failure(f"{self.name} ended well but did not say so on its console")

    def reset(self):
        """Press the reset button and wait until the guest has booted again."""
        self.qmp.command("system_reset")
        self._talk(self._ready, BOOT_TIMEOUT, "reboot")

    def close(self):
        """End QEMU at once, if it has not ended."""
        if self._process:
            self._process.kill()
            self._process.wait()
        self._shell.close()
        self.qmp.lines.close()

    def _talk(self, action, timeout, during):
        """Do something that waits for the guest, and name what goes wrong."""
        try:
            return action(timeout)
        except TimeoutError:
            raise Failure(f"{self.name} hangs: nothing for {timeout} s in {during}") from None
        except (EOFError, BrokenPipeError):
            raise Failure(self._obituary()) from None

    def _wait(self):
        """QEMU's exit status; it must be about to end."""
        try:
            return self._process.wait(VERDICT_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} hangs at its end") from None

    def _obituary(self):
        """What a guest that is gone died of."""
        status = self._wait()
        if self._panic():
            return self._panic()
        if status >= PASSED and status % 2:
            return f"{self.name} ended with verdict {status // 2 - 1}"
        said = self._log.read_text(errors="replace").strip().splitlines()
        return f"{self.name} ended early: QEMU's status {status} {' / '.join(said[-3:])}"

    def _panic(self):
        found = re.search(r"Kernel panic - .*", self._console.read_text(errors="replace"))
        return found and f"{self.name} panicked: {found.group().strip()}"
