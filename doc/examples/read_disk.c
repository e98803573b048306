/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block client on a page: reads the first sector of a disk that somebody serves.
 *
 *   cc read_disk.c $(pkg-config --cflags --libs outboard) -o read_disk
 *   outboard blk disk.img --on vhost-user:/tmp/d.sock &
 *   ./read_disk vhost-user:/tmp/d.sock | xxd
 */

#include <outboard/driver.h>

#include <linux/virtio_blk.h>
#include <stdio.h>

/* What the device reads and writes lies in shared memory. */
struct request {
    struct virtio_blk_outhdr header;
    uint8_t data[512];
    uint8_t status;
};

static void print_log(void *ctx, enum ob_log_level level, const char *text)
{
    fprintf(stderr, "read_disk: %s\n", text);
}

static int read_sector(struct ob_driver *driver)
{
    struct ob_driver_queue *queue = ob_driver_queue(driver, 0);
    struct request *request = ob_driver_buffers(driver);
    struct ob_driver_range ranges[] = {
        {&request->header, sizeof(request->header)},
        {request->data, sizeof(request->data)},
        {&request->status, sizeof(request->status)},
    };
    struct ob_driver_used used;
    uint32_t number = 0;

    request->header.type = VIRTIO_BLK_T_IN;
    request->header.sector = 0;
    /* One range to read, then two to write. */
    if (ob_driver_lay_out(queue, number, ranges, 1, 2) < 0 || ob_driver_start(driver) < 0)
        return 1;
    ob_driver_submit(queue, &number, 1);
    if (ob_driver_wait(queue, 10000) < 0 || ob_driver_reap(queue, &used, 1) != 1 ||
        request->status != VIRTIO_BLK_S_OK)
        return 1;
    return fwrite(request->data, sizeof(request->data), 1, stdout) != 1;
}

int main(int argc, char **argv)
{
    struct ob_log log = {.write = print_log, .level = OB_LOG_WARNING};
    struct ob_driver_options options = {
        .endpoint = argc > 1 ? argv[1] : NULL,
        .log = &log,
        .buffer_bytes = sizeof(struct request),
    };
    struct ob_driver *driver;
    int status;

    if (ob_driver_new(&options, &driver) < 0)
        return 1;
    status = read_sector(driver);
    ob_driver_free(driver);
    return status;
}
