// SPDX-License-Identifier: GPL-2.0
/* memlock.c - charges against RLIMIT_MEMLOCK; see memlock.h. */
#include <linux/atomic.h>
#include <linux/sched/user.h>

#include "memlock.h"
#include "memory.h"

/*
 * Pins that are made at the post are held while the request waits for a match. They may take
 * half of the limit only, so that the other half is left for what is being copied.
 */
static unsigned long memlock_limit(const struct adma_memory *memory)
{
	return memory->wait == ADMA_PIN_WAIT_OWN ? memory->memlock / 2 : memory->memlock;
}

bool adma_memlock_charge(const struct adma_memory *memory, unsigned long count)
{
	atomic_long_t *locked = &memory->user->locked_vm;
	unsigned long limit = memlock_limit(memory);
	long now = atomic_long_read(locked);

	do {
		if (count > limit || now > limit - count)
			return false;
	} while (!atomic_long_try_cmpxchg(locked, &now, now + count));
	return true;
}

void adma_memlock_uncharge(struct user_struct *user, unsigned long count)
{
	atomic_long_sub(count, &user->locked_vm);
}

unsigned long adma_memlock_room(const struct adma_memory *memory)
{
	unsigned long now = atomic_long_read(&memory->user->locked_vm);
	unsigned long limit = memlock_limit(memory);

	return limit > now ? limit - now : 0;
}
