#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh STEP: the guest's part in each step of demo.py.
set -eu

case $1 in
format)
    printf 'label: gpt\nsize=%sM\n' "$2" | sfdisk --quiet /dev/vda
    mkfs.ext4 -q -L demo /dev/vda1
    ;;
write)
    mount /dev/vda1 /mnt
    head -c 1000000 /dev/urandom > /tmp/seed
    for n in $(seq 1 "$2"); do
        { echo "file $n"; cat /tmp/seed; } > "/mnt/file-$n"
    done
    sync
    (cd /mnt && sha256sum file-* > checksums)
    umount /mnt
    ;;
verify)
    mount -o ro /dev/vda1 /mnt
    (cd /mnt && sha256sum -c checksums 2>/dev/null) | grep -c ': OK$'
    umount /mnt
    ;;
speed)
    # Three lines: KiB/s read, requests/s read, KiB/s written.
    fio --filename=/dev/vda --direct=1 --ioengine=libaio --time_based --minimal \
        --offset="$2m" --size="$3m" --runtime=1 --stonewall \
        --name=read --rw=read --bs=1M --iodepth=4 \
        --name=write --rw=write --bs=1M --iodepth=4 \
        --name=random --rw=randread --bs=4k --iodepth=32 > /tmp/speed
    cut -d';' -f7,8,48 /tmp/speed
    ;;
hash)
    sha256sum /dev/vda
    ;;
esac
