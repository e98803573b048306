# SPDX-License-Identifier: BSD-3-Clause
"""The guest kernel: Debian's 6.12 for cloud machines, unpacked but not installed.

It boots in about three seconds without KVM, has virtio, ext4 and the virtio
console built in, and everything else we need as modules. Kernels leave the
archive soon after their successor appears, so the one that was found is kept;
its version and the hash of its package stand in `manifest`.

The package's compressed image would unpack itself at each boot, slowly under
emulation. We unpack it once; QEMU starts the bare kernel through its PVH entry.
"""

import hashlib
import lzma
import re
import shutil
import struct

from . import apt, cache
from .errors import Unavailable

PATTERN = r"^linux-image-6\.12\.[0-9.]+(\+deb[0-9]+|\+bpo)?-cloud-amd64$"

SETUP_SECTORS = 0x1f1
PAYLOAD_OFFSET = 0x248
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Kernel:
    """An unpacked kernel package."""

    def __init__(self, directory):
        self._root = directory
        self.manifest = (directory / "manifest").read_text().strip()
        self.image = directory / "vmlinux"

    def modules(self, *names):
        """[(file name, contents)] of modules and what they need, in loading order.

        A module that is built into the kernel is not in the list.
        """
        found = {}
        for name in names:
            self._add(name, found)
        return list(found.items())

    def _add(self, name, found):
        path = next(self._root.glob(f"**/{name}.ko.xz"), None)
        if f"{name}.ko" in found or path is None:
            return
        data = lzma.decompress(path.read_bytes())
        needs = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in filter(None, needs.group(1).decode().split(",")):
            self._add(other, found)
        found[f"{name}.ko"] = data


def obtain(vm_dir):
    """Return the guest kernel, fetched if it is not there yet."""
    return Kernel(cache.obtain(vm_dir, "kernel", PATTERN, _make))


def _make(directory):
    package, (name, version, sha256) = _fetch(directory)
    if hashlib.sha256(package.read_bytes()).hexdigest() != sha256:
        raise Unavailable(f"{package.name} does not have the hash that apt's lists promise")
    apt.run("dpkg-deb", "-x", package, directory)
    package.unlink()
    shutil.rmtree(directory / "apt", ignore_errors=True)
    _unpack(next(directory.glob("boot/vmlinuz-*")).read_bytes(), directory / "vmlinux")
    (directory / "manifest").write_text(f"{name} {version} {sha256}\n")


def _unpack(image, place):
    """Write the kernel proper, which Linux's x86 boot protocol (payload_offset and
    payload_length, and the size of the set-up code before them) leads to."""
    setup = (image[SETUP_SECTORS] or 4) + 1
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    payload = image[setup * 512 + offset:][:length - 4]     # its unpacked size follows
    if payload[:4] != ZSTD_MAGIC:
        raise Unavailable("the guest kernel is compressed in a way that is not known here")
    packed = place.with_suffix(".zst")
    packed.write_bytes(payload)
    apt.run("zstd", "-dq", "--rm", packed, "-o", place)


def _fetch(directory):
    """Try the machine's lists; if they lack the kernel or are stale, fresh ones."""
    try:
        return _fetch_from(apt.Lists(), directory)
    except Unavailable as reason:
        try:
            fresh = apt.Lists.private(directory / "apt", f"{apt.codename()}-backports")
            return _fetch_from(fresh, directory)
        except Unavailable as second:
            raise Unavailable(f"{reason}; with fresh lists: {second}") from None


def _fetch_from(lists, directory):
    package = lists.newest(PATTERN)
    if not package:
        raise Unavailable("apt knows no guest kernel (linux-image-6.12*-cloud-amd64)")
    return lists.download(*package[:2], directory), package
