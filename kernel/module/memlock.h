/* SPDX-License-Identifier: GPL-2.0 */
/* memlock.h - charges pages that are pinned for long against a user's RLIMIT_MEMLOCK. */
#ifndef ADMA_MEMLOCK_H
#define ADMA_MEMLOCK_H

#include <linux/types.h>

struct adma_memory;
struct user_struct;

/* Charge @count pages to @memory's user. False: the limit does not allow that. */
bool adma_memlock_charge(const struct adma_memory *memory, unsigned long count);
void adma_memlock_uncharge(struct user_struct *user, unsigned long count);

/* How many pages could be charged right now. */
unsigned long adma_memlock_room(const struct adma_memory *memory);

#endif
