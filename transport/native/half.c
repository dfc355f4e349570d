/* SPDX-License-Identifier: BSD-3-Clause */
/* half.c - sealed shared memory for one direction; see half.h. */
#include "half.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adma.h"
#include "layout.h"

#define HALF_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static size_t half_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct adma_half) + page - 1) / page * page;
}

uint64_t adma_half_size(void)
{
	return half_bytes();
}

void adma_half_init(struct adma_half *half)
{
	/* A fresh memfd reads as zeros: no cell is published, no slot has a life. */
	half->magic = ADMA_HALF_MAGIC;
}

static int map(int fd, struct adma_half **half)
{
	void *p = mmap(NULL, half_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*half = p;
	return 0;
}

static int fill_and_seal(int fd)
{
	/* Allocate now: memory that runs out later would be SIGBUS. */
	int err = posix_fallocate(fd, 0, (off_t)half_bytes());

	if (err)
		return -err;
	return fcntl(fd, F_ADD_SEALS, HALF_SEALS) ? -errno : 0;
}

int adma_half_make(int *fd, struct adma_half **half)
{
	int made = memfd_create("adma-half", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (made < 0)
		return -errno;
	rc = fill_and_seal(made);
	if (!rc)
		rc = map(made, half);
	if (rc) {
		close(made);
		return rc;
	}
	adma_half_init(*half);
	*fd = made;
	return 0;
}

static bool sealed_half(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & HALF_SEALS) == HALF_SEALS && !(seals & F_SEAL_WRITE) &&
	       !fstat(fd, &st) && S_ISREG(st.st_mode) && (size_t)st.st_size == half_bytes();
}

int adma_half_map(int fd, struct adma_half **half)
{
	int rc;

	if (!sealed_half(fd))
		return -EPROTO;
	rc = map(fd, half);
	if (rc)
		return rc;
	if ((*half)->magic != ADMA_HALF_MAGIC) {
		adma_half_unmap(*half);
		return -EPROTO;
	}
	return 0;
}

void adma_half_unmap(struct adma_half *half)
{
	if (half)
		munmap(half, half_bytes());
}
