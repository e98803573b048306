/* SPDX-License-Identifier: BSD-3-Clause
 *
 * durable records NAME WRITERS sync|nosync: writes numbered records to /dev/NAME
 * durable files NAME WRITERS DIRECTORY:     writes numbered files to a directory
 *
 * Several writers at once, each a process with its own part of the disk or its
 * own names, never end by themselves. As soon as a record or file must survive
 * the death of the device, and not before, its writer prints "NAME WRITER NUMBER".
 * With `nosync` that is when the write has completed, otherwise after a sync.
 *
 * A record is BLOCK bytes that repeat a text telling whose it is, so each sector
 * of it can be told from any other. The host computes the same text.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
#define TEXT 32		/* divides the sector size, so all sectors are alike */
#define PART (4 << 20)	/* of the disk, for each writer */

static char *block;

static void fill(int writer, int number)
{
	char text[2 * TEXT];

	snprintf(text, sizeof text, "writer %4d record %11d;\n", writer, number);
	for (int i = 0; i < BLOCK; i += TEXT)
		memcpy(block + i, text, TEXT);
}

static void report(const char *name, int writer, int number)
{
	char line[64];
	int length = snprintf(line, sizeof line, "%s %d %d\n", name, writer, number);

	if (write(STDOUT_FILENO, line, length) != length)	/* one write, one line */
		err(1, "report");
}

static void records(const char *name, int writer, int sync)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/dev/%s", name);
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", path);
	for (int number = 0; number < PART / BLOCK; number++) {
		fill(writer, number);
		if (pwrite(fd, block, BLOCK, (off_t)writer * PART + number * BLOCK) != BLOCK)
			err(1, "write to %s", path);
		if (sync && fdatasync(fd))
			err(1, "sync of %s", path);
		report(name, writer, number);
	}
}

static void files(const char *name, int writer, const char *directory)
{
	char path[256];

	for (int number = 0;; number++) {
		snprintf(path, sizeof path, "%s/%d-%d", directory, writer, number);
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0)
			err(1, "%s", path);
		fill(writer, number);
		if (write(fd, block, BLOCK) != BLOCK || fsync(fd) || close(fd))
			err(1, "%s", path);
		report(name, writer, number);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: durable records|files NAME WRITERS sync|nosync|DIRECTORY");
	for (int writer = 0; writer < atoi(argv[3]); writer++) {
		if (fork())
			continue;
		block = aligned_alloc(BLOCK, BLOCK);
		if (!strcmp(argv[1], "records"))
			records(argv[2], writer, !strcmp(argv[4], "sync"));
		else
			files(argv[2], writer, argv[4]);
		return 0;
	}
	return 0;
}
