/* SPDX-License-Identifier: BSD-3-Clause */
/* growth.c - the pages of slots beyond the first block; see growth.h. */
#include "shm/growth.h"

#include <unistd.h>

#include "shm/sealed.h"

int adma_slots_populate(struct adma_segment *segment, uint32_t from, uint32_t to)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)segment;
	uintptr_t begin = (base + adma_segment_bytes_of(from / ADMA_SLOT_BLOCK)) / page * page;
	uintptr_t end = (base + adma_segment_bytes_of(to / ADMA_SLOT_BLOCK) + page - 1) / page * page;

	return adma_sealed_populate((void *)begin, end - begin, true);
}
