/* SPDX-License-Identifier: BSD-3-Clause */
/* growth.c - the pages of a segment that are not allocated at the handshake; see growth.h. */
#include "shm/growth.h"

#include <unistd.h>

#include "shm/sealed.h"

/* The pages that have the bytes [from, to) of the segment. */
static int growth_populate(struct adma_segment *segment, size_t from, size_t to)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)segment;
	uintptr_t begin = (base + from) / page * page;
	uintptr_t end = (base + to + page - 1) / page * page;

	return adma_sealed_populate((void *)begin, end - begin, true);
}

int adma_slots_populate(struct adma_segment *segment, uint32_t from, uint32_t to)
{
	return growth_populate(segment, adma_segment_bytes_of(from / ADMA_SLOT_BLOCK),
			       adma_segment_bytes_of(to / ADMA_SLOT_BLOCK));
}

int adma_buffers_populate(struct adma_segment *segment)
{
	return growth_populate(segment, offsetof(struct adma_segment, buffers), sizeof(*segment));
}
