/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * part.h - parts of copies that cores make: claimed, run, retired.
 *
 * Several parts of one copy may be run at once, by several threads.
 */
#ifndef ADMA_PART_H
#define ADMA_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"
#include "copy/kernels.h"

struct adma_part {
	uint64_t number;
	enum adma_kernel kernel; /* the way to copy it */
	int64_t ns;              /* that it took */
};

/* With the engine lock. False: none can be begun just now. */
bool adma_part_claim(struct adma_copy *copy, struct adma_part *part);

/* After a claim, with the lock: could another one be made now? */
bool adma_part_more(const struct adma_copy *copy);

/* Without the lock. */
void adma_part_run(const struct adma_copy *copy, struct adma_part *part);

/* With the lock. True: the next one of a copy that is made in order may be claimed now. Else it may be gone afterwards. */
bool adma_part_retire(struct adma_copy *copy, const struct adma_part *part);

#endif
