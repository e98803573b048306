# SPDX-License-Identifier: BSD-3-Clause
"""What a test case runs in, and the command line of a test program.

A test program is a table of cases, each a function that gets a Case: the
machine's artefacts, directories of its own for logs and for disks, and the
means to make guests and back-ends. Cases run side by side in threads, since
nearly all they do is wait for other processes. A case's logs stay if it fails,
and their ends are printed.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from . import cache, initramfs, kernel, kvm, qemu
from .backend import KINDS
from .errors import Failure, Skip, Unavailable

REPOSITORY = Path(__file__).resolve().parents[3]
SKIPPED = 77
TAIL = 40           # lines of each log that are printed when a case fails


class Machine:
    """What all cases share, made or fetched once."""

    def __init__(self, vm_dir):
        self.vm_dir = vm_dir
        self.kernel = kernel.obtain(vm_dir)
        made = initramfs.obtain(vm_dir, self.kernel)
        self.initramfs = made / "initramfs.cpio"
        self.kvm = kvm.works(vm_dir, self.kernel, made / "verdict")
        self.emulators = {"7.2": qemu.system(), "11.1": qemu.private(vm_dir)}


class Case:
    """One running test case."""

    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def __init__(self, machine, options, program, name):
        self.machine = machine
        self.quick = options.quick
        self.kind = options.backend
        self.build_dir = options.build_dir
        self.name = name
        self._logs = machine.vm_dir / "logs" / program / name
        self._disks = machine.vm_dir / "scratch" / program / name
        self._sockets = Path(tempfile.mkdtemp(prefix="outboard-"))   # 108 bytes at most
        for directory in (self._logs, self._disks):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)

    def log(self, name):
        """Where the log of that name goes."""
        return self._logs / name

    def socket(self, name):
        """A path for a socket."""
        return self._sockets / name

    def file(self, name, size=None):
        """A path for a file of the case's own; with a size, a hole of that size."""
        path = self._disks / name
        if size is not None:
            with open(path, "wb") as file:
                file.truncate(size)
        return path

    def backend(self, source, **options):
        """A back-end of the kind that was asked for."""
        return KINDS[self.kind](self, source, **options)

    def emulator(self, version="7.2"):
        """QEMU 7.2 or 11.1."""
        return self.machine.emulators[version]

    def check_filesystem(self, image):
        """Complain unless the ext4 file system in a file is clean."""
        checked = subprocess.run(["e2fsck", "-fn", image], stdin=subprocess.DEVNULL, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                 env=self.environment)
        if checked.returncode:
            raise Failure(f"e2fsck finds faults from outside:\n{checked.stdout}")

    def close(self, failed):
        """Remove what the case made; if it failed, keep and show its logs."""
        for directory in [self._sockets, self._disks] + ([] if failed else [self._logs]):
            shutil.rmtree(directory, ignore_errors=True)

    def tails(self):
        """The ends of all logs."""
        for path in sorted(self._logs.iterdir()):
            lines = path.read_text(errors="replace").splitlines()
            yield f"--- last lines of {path}"
            yield from lines[-TAIL:]


def arguments(description):
    """The arguments that every test program has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-dir", type=lambda p: Path(p).resolve(),
                        default=REPOSITORY / "build")
    parser.add_argument("--backend", choices=KINDS, default="outboard",
                        help="what serves the disks (qsd: QEMU's own, to test the tests)")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    return parser


def main(description, cases, quick=None):
    """Run a test program: `cases` maps names to functions of a Case; those named in
    `quick`, otherwise all, are run with --quick."""
    parser = arguments(description)
    parser.add_argument("--case", action="append", choices=cases, metavar="NAME",
                        help="run only this case; may be repeated: " + ", ".join(cases))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    names = options.case or (quick if quick and options.quick else cases)
    program = Path(sys.argv[0]).stem
    try:
        machine = Machine(options.build_dir / "vm")
    except Unavailable as reason:
        return unavailable(reason)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(
            lambda name: _run(machine, options, program, name, cases[name]), names))
    return _summary(results)


def unavailable(reason):
    """Say why nothing was tested; return the exit status for that."""
    required = os.environ.get("OUTBOARD_REQUIRE_VM") == "1"
    print(f"{'FAIL' if required else 'SKIP'}: {reason}")
    return 1 if required else SKIPPED


def _run(machine, options, program, name, function):
    """Run a case to its end, report it, and return 'ok', 'skip' or 'FAIL'."""
    with cache.locked(machine.vm_dir / "locks" / f"{program}-{name}"):
        start = time.monotonic()
        case = Case(machine, options, program, name)
        result, said = _outcome(case, function)
        case.close(result == "FAIL")
    line = f"{result:4}  {name:24} {time.monotonic() - start:6.1f} s  {said}"
    print(line.rstrip(), flush=True)
    return result


def _outcome(case, function):
    """What became of a case, and what is to be said of it."""
    try:
        return "ok", function(case) or ""
    except Skip as reason:
        return "skip", reason
    except Failure as reason:
        return "FAIL", "\n".join([str(reason), *case.tails()])
    except Exception:           # a fault in the test fails the test, too
        return "FAIL", "\n".join([traceback.format_exc(), *case.tails()])


def _summary(results):
    passed, failed, skipped = (results.count(r) for r in ("ok", "FAIL", "skip"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0 if passed else SKIPPED
