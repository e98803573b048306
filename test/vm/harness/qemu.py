# SPDX-License-Identifier: BSD-3-Clause
"""The emulators: the machine's own QEMU 7.2, and 11.1 in a private root.

The private root holds Debian's next release as far as QEMU needs it, unpacked
by mmdebstrap without running a single package script. Its programs are started
through the root's own dynamic loader, so they use its C library and still see
the machine's files, sockets and processes: no chroot, no mounts, no root.
The root also holds qemu-storage-daemon, qemu-img and qemu-io with the libblkio
block driver.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import apt, cache
from .errors import Unavailable

SUITE = "trixie"
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-utils", "qemu-block-extra",
            "seabios")
PINS = f"""\
Package: qemu* seabios ovmf
Pin: release n={SUITE}-backports
Pin-Priority: 900
"""


class Emulator:
    """One installation of QEMU: how its programs are started."""

    def __init__(self, name, prefix=Path("/"), wrap=lambda program: [program]):
        self.name = name
        self.prefix = prefix
        self._wrap = wrap

    def command(self, program, *arguments):
        """The argument vector that runs one of the installation's programs."""
        return [*self._wrap(program), *map(str, arguments)]

    def environment(self):
        """The environment to run it in: modules of this installation only."""
        modules = self.prefix / "usr/lib/x86_64-linux-gnu/qemu"
        return {**os.environ, "QEMU_MODULE_DIR": str(modules)}

    def run(self, program, *arguments, timeout=60):
        """Run a program to its end; return the finished process with its output."""
        return subprocess.run(self.command(program, *arguments), env=self.environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              check=False)

    def version(self, program="qemu-system-x86_64"):
        """What the program says its version is, such as 7.2.22."""
        found = re.search(r"version (\d+\.\d+\.\d+)", self.run(program, "--version").stdout)
        if not found:
            raise Unavailable(f"{program} of {self.name} does not run")
        return found.group(1)

    def accelerator(self, kvm, cpus):
        """The -accel value. Two emulated CPUs in two threads make guests of QEMU 7.2
        die now and then, so there all CPUs share one thread."""
        if kvm:
            return "kvm"
        one_thread = cpus > 1 and self.prefix == Path("/")
        return "tcg,thread=single" if one_thread else "tcg"


def system():
    """The QEMU that is installed on the machine."""
    if not shutil.which("qemu-system-x86_64"):
        raise Unavailable("qemu-system-x86 is not installed (see test/vm/packages.txt)")
    return Emulator("qemu-7.2")


def private(vm_dir):
    """QEMU 11.1 in BUILD/vm/qemu-11, fetched if it is not there yet."""
    root = cache.obtain(vm_dir, "qemu-11", f"{SUITE}\n{PACKAGES}\n{PINS}", _make_root)
    libraries = root / "usr/lib/x86_64-linux-gnu"

    def through_loader(program):
        return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path",
                f"{libraries}:{libraries}/pulseaudio", "--argv0", program,
                str(root / "usr/bin" / program), *_data_directories(root, program)]

    return Emulator("qemu-11.1", root, through_loader)


def _data_directories(root, program):
    """Firmware is looked up beside the program's own file, which here is the loader."""
    if not program.startswith("qemu-system-"):
        return []
    return [a for d in ("qemu", "seabios") for a in ("-L", str(root / "usr/share" / d))]


def _make_root(directory):
    with tempfile.TemporaryDirectory() as scratch:
        pins, conf = Path(scratch, "pins"), Path(scratch, "apt.conf")
        pins.write_text(PINS)
        conf.write_text("\n".join([*apt.settings(), 'Acquire::Languages "none";',
                                   'APT::Install-Recommends "false";', ""]))
        apt.run("mmdebstrap", "--variant=extract", f"--aptopt={conf}",
                f"--setup-hook=cp {pins} \"$1\"/etc/apt/preferences.d/qemu",
                f"--include={','.join(PACKAGES)}", SUITE, directory,
                f"deb {apt.mirror()} {SUITE} main",
                f"deb {apt.mirror()} {SUITE}-backports main")
