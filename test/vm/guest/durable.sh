#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# durable.sh NAME KIND CACHE WRITERS: start writers on the disk NAME that report
# what must survive, and leave them running. KIND: `records` on the bare disk, or
# `files` in a new file system. CACHE: "write back", where only what was synced
# must survive, or "write through", where every write that completed must; or
# "forgetful", which is write back with writers that wrongly rely on no sync.
set -eu
name=$1 kind=$2 cache=$3 writers=$4

sync=sync
case $cache in
forgetful) sync=nosync cache='write back' ;;
'write through') sync=nosync ;;
esac
# Both ways, so that the last is a change: qemu-storage-daemon says "write through"
# at first but means "write back", and QEMU does not pass on what is no news.
echo 'write back' > "/sys/block/$name/cache_type"
echo 'write through' > "/sys/block/$name/cache_type"
echo "$cache" > "/sys/block/$name/cache_type"
grep -qx "$cache" "/sys/block/$name/cache_type"

case $kind in
records)
    durable records "$name" "$writers" $sync
    # Beside it, somebody who keeps the queue full and syncs at times of his own.
    size=$(blockdev --getsize64 "/dev/$name")
    fio --name=noise --filename="/dev/$name" --offset=$((size / 2)) --rw=randwrite \
        --bs=4k --iodepth=8 --ioengine=libaio --direct=1 --fsync=8 --rate_iops=200 \
        --time_based --runtime=600 > /dev/null 2>&1 &
    ;;
files)
    mkfs.ext4 -q "/dev/$name"
    mkdir -p "/mnt/$name"
    mount "/dev/$name" "/mnt/$name"
    durable files "$name" "$writers" "/mnt/$name"
    ;;
esac
