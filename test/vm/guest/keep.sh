#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# keep.sh put: make a file system on the whole of /dev/vda, and files with their
# checksums in it. keep.sh check: see whether they are all there and unharmed, by
# reading them from the disk, and leave one more, so that each check sees what the
# one before it wrote.
set -eu

case $1 in
put)
    mkfs.ext4 -q /dev/vda
    mount /dev/vda /mnt
    cp -a /bin /modules /mnt
    ;;
check)
    mount /dev/vda /mnt
    (cd /mnt && sha256sum -c sums) > /tmp/checked || {
        grep -v ': OK$' /tmp/checked
        exit 1
    }
    head -c 100000 /dev/urandom > "/mnt/more-$(ls /mnt | wc -l)"
    ;;
esac
(cd /mnt && find . -type f ! -name sums -exec sha256sum {} + > sums)
umount /mnt
