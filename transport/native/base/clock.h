/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h - the one clock of the core. */
#ifndef ADMA_CLOCK_H
#define ADMA_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline int64_t adma_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

#endif
