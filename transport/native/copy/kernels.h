/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernels.h - the ways in which the CPU can copy a run of bytes, and which is the fastest here.
 * Pure: no lock, no clock.
 *
 * libc's memcpy() is correct everywhere. It is used until another way has been measured to be
 * faster. The measurements are the parts of real copies: the first parts of each class of size
 * try each way, and then the way with the best median is used. Now and then another way
 * is tried again, because the speed of a machine changes. Each class of size has its own
 * measurements, because the fastest way depends on where the bytes are, in a cache or in memory,
 * and the size tells: the bytes of copies that fit in the caches are mostly found there, and
 * those of larger copies are not.
 *
 * Only x86-64 has more than one way.
 */
#ifndef ADMA_KERNELS_H
#define ADMA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "adma_copy.h"

enum {
	ADMA_KERNEL_SAMPLES = 7,    /* how many samples of each way are kept: the latest ones */
	ADMA_KERNEL_AGAIN = 256,    /* one part in so many tries another way again */
	ADMA_KERNEL_MARGIN = 10,    /* percent by which a way must be faster than libc's */
};

/* Copy n bytes. Source and destination do not overlap. */
void adma_kernel_copy(enum adma_kernel kernel, void *dst, const void *src, size_t n);

/* The measurements of one class of size: nanoseconds for a part, the latest samples of each way. */
struct adma_kernel_samples {
	uint32_t ns[ADMA_KERNELS][ADMA_KERNEL_SAMPLES];
	uint32_t taken[ADMA_KERNELS]; /* samples so far */
	uint32_t parts;               /* how often adma_kernel_next() was called */
	uint8_t best;                 /* enum adma_kernel */
};

/* The way in which to copy the next part. */
enum adma_kernel adma_kernel_next(struct adma_kernel_samples *samples);

/* Add a sample: a whole part took `ns` in this way. */
void adma_kernel_took(struct adma_kernel_samples *samples, enum adma_kernel kernel, int64_t ns);

/* The median of a way's samples; 0 when there are none. */
uint32_t adma_kernel_median(const struct adma_kernel_samples *samples, enum adma_kernel kernel);

#endif
