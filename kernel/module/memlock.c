// SPDX-License-Identifier: GPL-2.0
/* memlock.c - charges against RLIMIT_MEMLOCK; see memlock.h. */
#include <linux/atomic.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm_types.h>
#include <linux/sched/user.h>

#include "memlock.h"
#include "memory.h"
#include "user.h"

/*
 * Pins that are made at the post are held while the request waits for a match. They may take
 * half of the limit only, so that the other half is left for what is being copied.
 */
static unsigned long memlock_limit(const struct adma_memory *memory)
{
	return memory->wait == ADMA_PIN_WAIT_OWN ? memory->memlock / 2 : memory->memlock;
}

static bool memlock_add(atomic_long_t *pages, unsigned long count, unsigned long limit)
{
	long now = atomic_long_read(pages);

	do {
		if (count > limit || now > limit - count)
			return false;
	} while (!atomic_long_try_cmpxchg(pages, &now, now + count));
	return true;
}

static bool memlock_charge_both(const struct adma_memory *memory, unsigned long count)
{
	unsigned long limit = memlock_limit(memory);

	if (!memlock_add(&memory->user->locked_vm, count, limit))
		return false;
	if (memlock_add(adma_user_pages(memory->poster), count, limit))
		return true;
	atomic_long_sub(count, &memory->user->locked_vm);
	return false;
}

bool adma_memlock_charge(struct adma_charge *charge, const struct adma_memory *memory,
			 unsigned long count)
{
	bool free = memory->memlock == ULONG_MAX;

	if (!free && !memlock_charge_both(memory, count))
		return false;
	atomic64_add(count, &memory->mm->pinned_vm);
	*charge = (struct adma_charge){
		.user = get_uid(memory->user),
		.poster = adma_user_get(memory->poster),
		.mm = memory->mm,
		.pages = count,
		.free = free,
	};
	return true;
}

void adma_memlock_uncharge(struct adma_charge *charge)
{
	atomic64_sub(charge->pages, &charge->mm->pinned_vm);
	if (!charge->free) {
		atomic_long_sub(charge->pages, adma_user_pages(charge->poster));
		atomic_long_sub(charge->pages, &charge->user->locked_vm);
	}
	adma_user_put(charge->poster);
	free_uid(charge->user);
}

static unsigned long memlock_left(const atomic_long_t *pages, unsigned long limit)
{
	unsigned long now = atomic_long_read(pages);

	return limit > now ? limit - now : 0;
}

unsigned long adma_memlock_room(const struct adma_memory *memory)
{
	unsigned long limit = memlock_limit(memory);

	return min(memlock_left(&memory->user->locked_vm, limit),
		   memlock_left(adma_user_pages(memory->poster), limit));
}
