/* SPDX-License-Identifier: BSD-3-Clause */
/* summary.c - taking the bits of a summary; its memory; see summary.h. */
#include "shm/summary.h"

#include <stddef.h>
#include <sys/mman.h>

#include "shm/sealed.h"

static size_t summary_bytes(void)
{
	return adma_sealed_size(sizeof(struct adma_summary));
}

static uint32_t summary_lowest(uint64_t bits)
{
	return (uint32_t)__builtin_ctzll(bits);
}

void adma_summary_take(struct adma_summary *summary, void (*visit)(void *arg, uint32_t bit), void *arg)
{
	uint64_t top;

	if (!adma_summary_has_news(summary))
		return;
	/* The top word is taken first: a bit that a peer sets in between is found now or stays named there. */
	top = atomic_exchange_explicit(&summary->top, 0, memory_order_acq_rel);
	for (; top; top &= top - 1) {
		uint32_t word = summary_lowest(top);
		uint64_t bits = atomic_exchange_explicit(&summary->words[word], 0, memory_order_acq_rel);

		for (; bits; bits &= bits - 1)
			visit(arg, word * 64 + summary_lowest(bits));
	}
}

int adma_summary_make(int *fd, struct adma_summary **summary)
{
	void *map;
	int rc = adma_sealed_make("adma-summary", summary_bytes(), summary_bytes(), fd, &map);

	if (!rc)
		*summary = map;
	return rc;
}

int adma_summary_map(int fd, struct adma_summary **summary)
{
	void *map;
	int rc = adma_sealed_map(fd, summary_bytes(), false, &map);

	if (!rc)
		*summary = map;
	return rc;
}

void adma_summary_unmap(struct adma_summary *summary)
{
	if (summary)
		munmap(summary, summary_bytes());
}
