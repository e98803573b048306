/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the device half of split rings. The input is a program that ring_program.c runs;
 * see there.
 */

#include "ring_program.h"

#include "wire/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_ring(data, size, 0);
    return 0;
}
