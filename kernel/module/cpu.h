/* SPDX-License-Identifier: GPL-2.0 */
/* cpu.h - the kernel-mapped copy: map a page of each side for a moment, and memcpy(). */
#ifndef ADMA_CPU_H
#define ADMA_CPU_H

#include "extent.h"

/* Copy @n bytes and advance both places. For process context; it may reschedule. */
void adma_cpu_copy(const struct adma_extent *to, struct adma_place *to_at,
		   const struct adma_extent *from, struct adma_place *from_at, size_t n);

#endif
