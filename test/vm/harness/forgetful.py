# SPDX-License-Identifier: BSD-3-Clause
"""Back-ends that lose what was not flushed when they are killed.

The host's page cache hides a missing flush: it survives the process. These do
not let it. Ours is a build of the program with a store made for that purpose.
qemu-storage-daemon comes close with a qcow2 image: where the clusters of a disk
are is kept in memory until a flush, so what was written to new clusters since
then is gone with the process.
"""

from .backend import Outboard, StorageDaemon
from .errors import Failure


class ForgetfulOutboard(Outboard):
    """The program with a store that keeps unflushed writes to itself."""

    def __init__(self, case, name, size):
        self._image = case.file(f"{name}.img", size)
        super().__init__(case, f"forget:{self._image}", name, program="test/outboard-forget")

    def survivors(self):
        """After a kill: a file with what is left of the disk."""
        return self._image


class ForgetfulDaemon(StorageDaemon):
    """qemu-storage-daemon on a new qcow2 image."""

    def __init__(self, case, name, size):
        super().__init__(case, case.file(f"{name}.qcow2"), name)
        self._qemu_img("create", "-f", "qcow2", self.source, size)

    def survivors(self):
        """After a kill: a file with what is left of the disk."""
        image = self._case.file(f"{self.name}.img")
        self._qemu_img("convert", "-f", "qcow2", "-O", "raw", self.source, image)
        return image

    def _qemu_img(self, *arguments):
        done = self._case.emulator("11.1").run("qemu-img", *arguments)
        if done.returncode:
            raise Failure(f"qemu-img: {done.stdout.strip()}")

    def _blockdev(self):
        return ("driver=qcow2,node-name=disk,file.driver=file,cache.direct=on,discard=unmap,"
                f"file.filename={self.source}")


KINDS = {"outboard": ForgetfulOutboard, "qsd": ForgetfulDaemon}
