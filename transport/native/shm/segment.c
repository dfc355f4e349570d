/* SPDX-License-Identifier: BSD-3-Clause */
/* segment.c - the sealed shared memory of an endpoint; see adma_handshake.h. */
#include "adma_handshake.h"

#include <errno.h>
#include <sys/mman.h>

#include "adma.h"
#include "shm/layout.h"
#include "shm/sealed.h"

/* At the handshake the part is allocated that every channel needs. More slots are allocated when they are (growth.h). */
#define SEGMENT_FIRST adma_segment_bytes_of(ADMA_SLOTS_FIRST / ADMA_SLOT_BLOCK)

static size_t segment_bytes(void)
{
	return adma_sealed_size(sizeof(struct adma_segment));
}

uint64_t adma_segment_size(void)
{
	return segment_bytes();
}

void adma_segment_init(struct adma_segment *segment)
{
	/* A fresh memfd reads as zeros: no cell is published, and no slot has a life. */
	adma_shared_store_u64(&segment->magic, ADMA_SEGMENT_MAGIC);
}

int adma_segment_make(int *fd, struct adma_segment **segment)
{
	void *map;
	int rc = adma_sealed_make("adma-segment", SEGMENT_FIRST, segment_bytes(), fd, &map);

	if (rc)
		return rc;
	*segment = map;
	adma_segment_init(*segment);
	return 0;
}

/* 0, or why the segment that a peer passed cannot be used. Until its pages are there, nothing of another user's is read. */
static int segment_check(struct adma_segment *segment, bool same_user)
{
	int rc = adma_sealed_make_sure(segment, adma_sealed_size(SEGMENT_FIRST), true, same_user);

	if (rc)
		return rc;
	return adma_shared_load_u64(&segment->magic) == ADMA_SEGMENT_MAGIC ? 0 : -EPROTO;
}

int adma_segment_map(int fd, bool same_user, struct adma_segment **segment)
{
	void *map;
	int rc = adma_sealed_map(fd, segment_bytes(), same_user, &map);

	if (rc)
		return rc;
	rc = segment_check(map, same_user);
	if (rc) {
		adma_segment_unmap(map);
		return rc;
	}
	*segment = map;
	return 0;
}

void adma_segment_unmap(struct adma_segment *segment)
{
	if (segment)
		munmap(segment, segment_bytes());
}
