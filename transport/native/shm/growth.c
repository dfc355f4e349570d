/* SPDX-License-Identifier: BSD-3-Clause */
/* growth.c - the pages of slots beyond the first block; see growth.h. */
#include "shm/growth.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Since Linux 5.14; the headers of older systems lack it. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int adma_slots_populate(struct adma_segment *segment, uint32_t from, uint32_t to)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)segment;
	uintptr_t begin = (base + adma_segment_bytes_of(from / ADMA_SLOT_BLOCK)) / page * page;
	uintptr_t end = (base + adma_segment_bytes_of(to / ADMA_SLOT_BLOCK) + page - 1) / page * page;
	int rc;

	do {
		rc = madvise((void *)begin, end - begin, MADV_POPULATE_WRITE);
	} while (rc && errno == EINTR);
	return rc ? -errno : 0;
}
