/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_RING_PROGRAM_H
#define FUZZ_RING_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Runs one input against the device half of a ring whose memory the input writes as it likes.
 * features: those that are fixed; the input chooses others.
 */
void fuzz_ring(const uint8_t *data, size_t size, uint64_t features);

#endif
