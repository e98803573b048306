#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# fill.sh SECONDS JOBS: use /dev/vda the way people do, and complain if it is not
# as it was left. Two partitions: a file system that takes a tree of files, and a
# raw one that fio writes at random places, one job per CPU and so per queue, and
# reads back. The last line printed is the hash of the whole disk.
set -eu
seconds=$1 jobs=$2

step() {
    echo "$(cut -d' ' -f1 /proc/uptime) $*"
}

step partition
sfdisk --quiet /dev/vda <<'END'
label: gpt
size=18M
-
END

step make a file system and fill it
mkfs.ext4 -q /dev/vda1
mount /dev/vda1 /mnt
cp -a /bin /modules /mnt
cp -a /lib /mnt/short-lived
(cd /mnt && find . -type f ! -path './short-lived/*' -exec sha256sum {} +) > /tmp/written

step write and verify at random
size=$(($(blockdev --getsize64 /dev/vda2) / jobs / 65536 * 64))k
fio --name=verify --filename=/dev/vda2 --direct=1 --ioengine=libaio --iodepth=16 \
    --rw=randwrite --bsrange=4k-64k --blockalign=4k --verify=crc32c --verify_fatal=1 \
    --verify_backlog=64 --time_based --runtime="$seconds" --thread --numjobs="$jobs" \
    --size="$size" --offset_increment="$size" --cpus_allowed="0-$((jobs - 1))" \
    --cpus_allowed_policy=split --group_reporting --minimal > /tmp/fio || {
    cat /tmp/fio
    exit 1
}

step delete, trim, remount
rm -r /mnt/short-lived
/bin/fstrim /mnt
sync
umount /mnt
echo 3 > /proc/sys/vm/drop_caches
mount /dev/vda1 /mnt

step compare
(cd /mnt && sha256sum -c /tmp/written) > /tmp/checked || {
    grep -v ': OK$' /tmp/checked
    exit 1
}
umount /mnt

step read the whole disk
blockdev --flushbufs /dev/vda
sha256sum < /dev/vda
