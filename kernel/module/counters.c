// SPDX-License-Identifier: GPL-2.0
/* counters.c - reads tallies out for user space; see counters.h. */
#include <linux/build_bug.h>
#include <linux/stddef.h>

#include "counters.h"

struct adma_tally adma_total;

static_assert(offsetof(struct adma_counters, times) ==
	      offsetof(struct adma_counters, posts) + ADMA_COUNT_TIMES * sizeof(u64));
static_assert(sizeof(struct adma_counters) ==
	      offsetof(struct adma_counters, posts) + ADMA_COUNTS * sizeof(u64));

void adma_tally_read(struct adma_tally *tally, struct adma_counters *out)
{
	u64 *field = (void *)out + offsetof(struct adma_counters, posts);
	unsigned int i;

	for (i = 0; i < ADMA_COUNTS; i++)
		field[i] = atomic64_read(&tally->count[i]);
}
