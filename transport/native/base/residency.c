/* SPDX-License-Identifier: BSD-3-Clause */
/* residency.c - what mincore(2) and /proc/PID/pagemap tell of pages; see residency.h. */
#include "base/residency.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES_AT_ONCE 4096
#define ENTRIES_AT_ONCE 512
#define PRESENT (1ull << 63) /* of an entry of pagemap, see Documentation/admin-guide/mm/pagemap.rst */

struct pages {
	uint64_t first, count, size;
};

static struct pages pages_of(uint64_t address, uint64_t n)
{
	uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE), first = address / size;

	return (struct pages){first, n ? (address + n - 1) / size - first + 1 : 0, size};
}

static bool pages_are_resident(const struct pages *pages, uint64_t from, uint64_t count)
{
	unsigned char vector[PAGES_AT_ONCE];

	if (mincore((void *)(uintptr_t)((pages->first + from) * pages->size), count * pages->size, vector))
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!(vector[i] & 1))
			return false;
	return true;
}

bool adma_is_resident(const void *p, uint64_t n)
{
	struct pages pages = pages_of((uintptr_t)p, n);
	uint64_t count;

	for (uint64_t from = 0; from < pages.count; from += count) {
		count = pages.count - from < PAGES_AT_ONCE ? pages.count - from : PAGES_AT_ONCE;
		if (!pages_are_resident(&pages, from, count))
			return false;
	}
	return true;
}

static bool entries_are_present(int fd, uint64_t first, uint64_t count)
{
	uint64_t entries[ENTRIES_AT_ONCE];
	ssize_t bytes = (ssize_t)(count * sizeof(entries[0]));

	if (pread(fd, entries, (size_t)bytes, (off_t)(first * sizeof(entries[0]))) != bytes)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!(entries[i] & PRESENT))
			return false;
	return true;
}

bool adma_is_resident_in(pid_t pid, uint64_t address, uint64_t n)
{
	struct pages pages = pages_of(address, n);
	bool resident = true;
	uint64_t count;
	char path[40];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	for (uint64_t from = 0; from < pages.count && resident; from += count) {
		count = pages.count - from < ENTRIES_AT_ONCE ? pages.count - from : ENTRIES_AT_ONCE;
		resident = entries_are_present(fd, pages.first + from, count);
	}
	close(fd);
	return resident;
}
