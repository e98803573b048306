/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verdict N: ends the guest and tells the host N, twice: as a line on the serial
 * console, and as QEMU's exit status through the isa-debug-exit device, which
 * makes it 2 * value + 1. We write N + 1, so that a guest which ends in any
 * other way (QEMU then exits with 0 or 1) can't be taken for one that passed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <termios.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4

int main(int argc, char **argv)
{
	int rc = argc > 1 ? atoi(argv[1]) : 1;
	int console = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);

	dprintf(console, "\nTEST-RC %d\n", rc);
	tcdrain(console);
	if (ioperm(DEBUG_EXIT_PORT, 4, 1))
		return 1;
	outb(rc + 1, DEBUG_EXIT_PORT);
	return 0;
}
