// SPDX-License-Identifier: GPL-2.0
/* cpu.c - the kernel-mapped copy; see cpu.h. */
#include <linux/cacheflush.h>
#include <linux/highmem.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "cpu.h"

/* One step stays within one page of each side, because pages are mapped one by one. */
static void cpu_copy_step(const struct adma_extent *to, const struct adma_place *to_at,
			  const struct adma_extent *from, const struct adma_place *from_at,
			  size_t n)
{
	size_t to_offset = adma_place_offset(to_at, to);
	size_t from_offset = adma_place_offset(from_at, from);
	struct page *to_page = to[to_at->extent].page + (to_offset >> PAGE_SHIFT);
	struct page *from_page = from[from_at->extent].page + (from_offset >> PAGE_SHIFT);
	char *into = kmap_local_page(to_page);
	const char *out_of = kmap_local_page(from_page);

	memcpy(into + offset_in_page(to_offset), out_of + offset_in_page(from_offset), n);
	kunmap_local(out_of);
	kunmap_local(into);
	flush_dcache_page(to_page); /* the page may hold instructions */
}

static size_t cpu_step_at(const struct adma_extent *extents, const struct adma_place *at)
{
	return min(adma_place_rest(at, extents),
		   PAGE_SIZE - offset_in_page(adma_place_offset(at, extents)));
}

void adma_cpu_copy(const struct adma_extent *to, struct adma_place *to_at,
		   const struct adma_extent *from, struct adma_place *from_at, size_t n)
{
	size_t step;

	for (; n; n -= step) {
		step = min3(n, cpu_step_at(to, to_at), cpu_step_at(from, from_at));
		cpu_copy_step(to, to_at, from, from_at, step);
		adma_place_advance(to_at, to, step);
		adma_place_advance(from_at, from, step);
		cond_resched();
	}
}
