/* SPDX-License-Identifier: BSD-3-Clause */
/* segment.c - the sealed shared memory of an endpoint; see adma_handshake.h. */
#include "adma_handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adma.h"
#include "shm/layout.h"

/* At the handshake the part is allocated that every channel needs. More slots are allocated when they are (growth.h). */
#define SEGMENT_FIRST adma_segment_bytes_of(ADMA_SLOTS_FIRST / ADMA_SLOT_BLOCK)
#define SEGMENT_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static size_t segment_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct adma_segment) + page - 1) / page * page;
}

uint64_t adma_segment_size(void)
{
	return segment_bytes();
}

void adma_segment_init(struct adma_segment *segment)
{
	/* A fresh memfd reads as zeros: no cell is published, and no slot has a life. */
	segment->magic = ADMA_SEGMENT_MAGIC;
}

static int segment_map(int fd, struct adma_segment **segment)
{
	void *p = mmap(NULL, segment_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*segment = p;
	return 0;
}

static int segment_seal(int fd)
{
	/* These pages are allocated now: if memory ran out later, an access would raise SIGBUS. */
	int err = posix_fallocate(fd, 0, (off_t)SEGMENT_FIRST);

	if (err)
		return -err;
	if (ftruncate(fd, (off_t)segment_bytes()))
		return -errno;
	return fcntl(fd, F_ADD_SEALS, SEGMENT_SEALS) ? -errno : 0;
}

int adma_segment_make(int *fd, struct adma_segment **segment)
{
	int made = memfd_create("adma-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (made < 0)
		return -errno;
	rc = segment_seal(made);
	if (!rc)
		rc = segment_map(made, segment);
	if (rc) {
		close(made);
		return rc;
	}
	adma_segment_init(*segment);
	*fd = made;
	return 0;
}

static bool segment_is_sealed(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEGMENT_SEALS) == SEGMENT_SEALS && !(seals & F_SEAL_WRITE) && !fstat(fd, &st) &&
	       S_ISREG(st.st_mode) && (size_t)st.st_size == segment_bytes();
}

int adma_segment_map(int fd, struct adma_segment **segment)
{
	int rc;

	if (!segment_is_sealed(fd))
		return -EPROTO;
	rc = segment_map(fd, segment);
	if (rc)
		return rc;
	if ((*segment)->magic != ADMA_SEGMENT_MAGIC) {
		adma_segment_unmap(*segment);
		return -EPROTO;
	}
	return 0;
}

void adma_segment_unmap(struct adma_segment *segment)
{
	if (segment)
		munmap(segment, segment_bytes());
}
