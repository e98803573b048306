/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_EXPORT_H
#define OUTBOARD_EXPORT_H

/** Marks what the shared library exports; everything else is hidden. */
#define OB_PUBLIC __attribute__((visibility("default")))

#endif
