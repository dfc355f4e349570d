/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernels.h - ways for the CPU to copy a run of bytes, and which is the fastest here. Pure: no lock, no clock.
 *
 * libc's memcpy is right everywhere, and is what is used until another way has been measured to
 * be faster. That is measured on real copies, part by part: the first parts of each
 * class of size try the ways in turn, then the one with the best median serves, and now and
 * then another is tried again, for machines change their mood. What a class is copied like
 * depends on where its bytes are (cache or memory), and so does the size: copies that
 * fit in the caches are mostly found there, larger ones are not.
 *
 * Only x86-64 has more than one way.
 */
#ifndef ADMA_KERNELS_H
#define ADMA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "adma_copy.h"

enum {
	ADMA_KERNEL_SAMPLES = 7,    /* kept of each: its last parts */
	ADMA_KERNEL_AGAIN = 256,    /* one part in this many tries another way again */
	ADMA_KERNEL_MARGIN = 10,    /* percent by which it must be faster than libc's */
};

/* Copy n bytes that do not overlap. */
void adma_kernel_copy(enum adma_kernel kernel, void *dst, const void *src, size_t n);

/* What was measured in one class of size: nanoseconds for a part, the last ones of each way. */
struct adma_kernel_samples {
	uint32_t ns[ADMA_KERNELS][ADMA_KERNEL_SAMPLES];
	uint32_t taken[ADMA_KERNELS];
	uint32_t parts; /* asked for so far */
	uint8_t best;   /* enum adma_kernel */
};

/* What to copy the next part with. */
enum adma_kernel adma_kernel_next(struct adma_kernel_samples *samples);

/* A whole part took so long. */
void adma_kernel_took(struct adma_kernel_samples *samples, enum adma_kernel kernel, int64_t ns);

/* The median of a way's samples; 0 without any. */
uint32_t adma_kernel_median(const struct adma_kernel_samples *samples, enum adma_kernel kernel);

#endif
