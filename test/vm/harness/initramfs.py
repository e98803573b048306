# SPDX-License-Identifier: BSD-3-Clause
"""The guest's whole user space: one cpio archive that the kernel unpacks into RAM.

It holds busybox, the machine's own copies of a few programs with the libraries
they load, the kernel modules with a file that gives their order, two small C
programs of ours, and everything in test/vm/guest. It is written here, byte by
byte, in the `newc` format, which needs no root and no tool. Uncompressed:
unpacking is dearer under emulation than reading.
"""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from . import cache
from .errors import Unavailable

SOURCES = Path(__file__).resolve().parent.parent / "guest"
MODULES = ("virtio_blk",)
# Engines of fio that we don't use bring 80 MB of libraries, which cost seconds to
# unpack and to link under emulation; empty ones that define the same names do.
UNUSED = re.compile(r"/lib(gfapi|ibverbs|nbd|pmem|pmemblk|rados|rbd|rdmacm)\.so\.\d+")
PROGRAMS = ("blkdiscard", "blockdev", "e2fsck", "fio", "fstrim", "mkfs.ext4", "sfdisk")


def obtain(vm_dir, kernel):
    """Return a directory with `initramfs.cpio`, made for this kernel and of this
    machine's programs, and beside it our own programs that went into it."""
    files = _files_of_machine()
    stamps = [f"{p} {os.stat(p).st_size} {os.stat(p).st_mtime_ns}" for p in files]
    sources = [p.name + p.read_text() for p in sorted(SOURCES.iterdir())]
    recipe = cache.digest(kernel.manifest, Path(__file__).read_text(), *stamps, *sources)
    return cache.obtain(vm_dir, "initramfs", recipe,
                        lambda directory: _make(directory, kernel, files))


def _files_of_machine():
    """The programs, found on the machine, and the libraries that they load."""
    found = {}
    for name in ("busybox", *PROGRAMS):
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if not path:
            raise Unavailable(f"{name} is not installed (see test/vm/packages.txt)")
        found[path] = None
        _add_libraries(path, found)
    return list(found)


def _add_libraries(path, found):
    """Add what ldd finds for a file, leaving out what only the unused ones need."""
    listing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    located = dict(re.findall(r"(\S+) => (/\S+)", listing.stdout))
    loader = re.search(r"^\s(/\S+)", listing.stdout, re.M)
    if loader:
        found[loader.group(1)] = None
    dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True,
                             check=False)
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic.stdout):
        library = located.get(name)
        if library and library not in found:
            found[library] = None
            if not UNUSED.search(library):
                _add_libraries(library, found)


def _make(directory, kernel, files):
    stub = _stub(directory)
    with open(directory / "initramfs.cpio", "wb") as out:
        archive = Archive(out)
        for path in files:
            place = path if ".so" in path else f"/bin/{os.path.basename(path)}"
            data = (stub if UNUSED.search(path) else Path(path)).read_bytes()
            archive.file(place, data, executable=True)
        for applet in _applets():
            archive.link(f"/bin/{applet}", "busybox")
        modules = kernel.modules(*MODULES)
        for name, data in modules:
            archive.file(f"/modules/{name}", data)
        archive.file("/modules/order", "".join(f"{n}\n" for n, _ in modules).encode())
        for source in sorted(SOURCES.iterdir()):
            _add_source(archive, source, directory)
        archive.end()


def _applets():
    """What busybox can be called as, and is not the name of a real program."""
    listing = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    return sorted(set(listing.stdout.split()) - {"busybox", *PROGRAMS})


def _stub(directory):
    """A library that defines every name that fio takes from the unused ones, in the
    versions that it asks for."""
    names = subprocess.run(["nm", "-D", "--undefined-only", shutil.which("fio")],
                           capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r" U ((?:glfs|ibv|nbd|pmem|rados|rbd|rdma)\w*)(?:@(\S+))?", names)
    versions = {version: "" for _, version in wanted if version}
    for name, version in wanted:
        if version:
            versions[version] += f"{name};"
    (directory / "stub.c").write_text("".join(f"void {n}(void) {{}}\n" for n, _ in wanted))
    (directory / "stub.map").write_text("".join(f"{v} {{ {n} }};\n"
                                                for v, n in versions.items()))
    subprocess.run(["gcc", "-shared", "-Wl,--version-script=stub.map", "-o", "stub.so",
                    "stub.c"], cwd=directory, check=True)
    return directory / "stub.so"


def _add_source(archive, source, directory):
    """Scripts go in as they are, C programs compiled; `init` is what the kernel runs."""
    if source.suffix == ".c":
        program = directory / source.stem
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-static", "-o", program, source],
                       check=True)
        archive.file(f"/bin/{source.stem}", program.read_bytes(), executable=True)
    else:
        place = "/init" if source.name == "init" else f"/bin/{source.name}"
        archive.file(place, source.read_bytes(), executable=True)


class Archive:
    """Writes a cpio archive in the newc format (initramfs-buffer-format of Linux)."""

    def __init__(self, out):
        self._out = out
        self._inode = 0
        self._directories = set()

    def file(self, place, data, executable=False):
        """Add a regular file and the directories above it."""
        self._parents(place)
        self._entry(place, stat.S_IFREG | (0o755 if executable else 0o644), data)

    def link(self, place, target):
        """Add a symbolic link."""
        self._parents(place)
        self._entry(place, stat.S_IFLNK | 0o777, target.encode())

    def end(self):
        """Close the archive; nothing can be added after this."""
        self._entry("/TRAILER!!!", 0, b"")

    def _parents(self, place):
        for parent in list(Path(place).parents)[-2::-1]:
            if parent not in self._directories:
                self._directories.add(parent)
                self._entry(str(parent), stat.S_IFDIR | 0o755, b"")

    def _entry(self, place, mode, data):
        name = place.lstrip("/").encode() + b"\0"
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self._padded(b"070701" + b"".join(b"%08X" % f for f in fields) + name)
        self._padded(data)

    def _padded(self, data):
        self._out.write(data + b"\0" * (-len(data) % 4))
