/* SPDX-License-Identifier: BSD-3-Clause */
/* summary.c - taking the bits of a summary; its memory; see summary.h. */
#include "shm/summary.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUMMARY_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static size_t summary_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct adma_summary) + page - 1) / page * page;
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

static int summary_map(int fd, struct adma_summary **summary)
{
	void *p = mmap(NULL, summary_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*summary = p;
	return 0;
}

static int summary_seal(int fd)
{
	/* The pages are allocated now: if memory ran out later, an access would raise SIGBUS. */
	int err = posix_fallocate(fd, 0, (off_t)summary_bytes());

	if (err)
		return -err;
	return fcntl(fd, F_ADD_SEALS, SUMMARY_SEALS) ? -errno : 0;
}

int adma_summary_make(int *fd, struct adma_summary **summary)
{
	int made = memfd_create("adma-summary", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (made < 0)
		return -errno;
	rc = summary_seal(made);
	if (!rc)
		rc = summary_map(made, summary);
	if (rc) {
		close(made);
		return rc;
	}
	*fd = made;
	return 0;
}

int adma_summary_map(int fd, struct adma_summary **summary)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SUMMARY_SEALS) != SUMMARY_SEALS || seals & F_SEAL_WRITE || fstat(fd, &st) ||
	    !S_ISREG(st.st_mode) || (size_t)st.st_size != summary_bytes())
		return -EPROTO;
	return summary_map(fd, summary);
}

void adma_summary_unmap(struct adma_summary *summary)
{
	if (summary)
		munmap(summary, summary_bytes());
}
