# SPDX-License-Identifier: BSD-3-Clause
"""Does KVM work here? The only honest answer is a guest that ran.

/dev/kvm may exist and refuse, or accept and then hang, so a guest that does
nothing but say its verdict is booted with it. The answer is kept until the
machine is booted again.
"""

import subprocess
import tempfile
from pathlib import Path

from . import cache, qemu
from .guest import PASSED
from .initramfs import Archive

TIMEOUT = 3


def works(vm_dir, kernel, verdict):
    """Whether a guest whose only program is `verdict` can run under KVM."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    answer = cache.obtain(vm_dir, "kvm", boot + kernel.manifest,
                          lambda d: (d / "works").write_text(_probe(kernel, verdict)))
    return (answer / "works").read_text() == "yes"


def _probe(kernel, verdict):
    if not Path("/dev/kvm").exists():
        return "no"
    with tempfile.NamedTemporaryFile() as image:
        archive = Archive(image)
        archive.file("/init", verdict.read_bytes(), executable=True)
        archive.end()
        image.flush()
        command = qemu.system().command(
            "qemu-system-x86_64", "-accel", "kvm", "-M", "q35", "-m", "256", "-nodefaults",
            "-display", "none", "-no-reboot", "-kernel", kernel.image,
            "-initrd", image.name, "-append", "panic=-1 quiet -- 0",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
        try:
            done = subprocess.run(command, timeout=TIMEOUT, check=False,
                                  stdin=subprocess.DEVNULL, capture_output=True)
        except subprocess.TimeoutExpired:
            return "no"
    return "yes" if done.returncode == PASSED else "no"
