/* SPDX-License-Identifier: BSD-3-Clause */
/* work.h - what stands in the lines of a schedule: part of a copy, or of a lending (lending.h). */
#ifndef ADMA_WORK_H
#define ADMA_WORK_H

#include <stdint.h>

struct adma_work {
	uint64_t bytes; /* of the whole: small work goes first */
	uint32_t lent;  /* it is no copy */

	/* the schedule's own */
	struct adma_work *next, *prev;
	uint32_t line; /* the line it stands in */
	uint32_t listed;
};

#endif
