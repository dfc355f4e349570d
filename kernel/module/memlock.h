/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memlock.h - charges pages that are pinned for long against RLIMIT_MEMLOCK.
 *
 * They are charged to the kernel's user_struct, together with what io_uring and others have pinned
 * for that user; and to the owner of the user's namespace (owner.h), because each of his users has
 * a limit. All of them together may have pinned what one of them may. Whoever has CAP_IPC_LOCK has
 * no limit, and is not charged: what he pins takes nothing from others of the same user. All pinned
 * pages are told as such of their mm (VmPin in /proc/PID/status).
 */
#ifndef ADMA_MEMLOCK_H
#define ADMA_MEMLOCK_H

#include <linux/types.h>

struct adma_memory;
struct adma_user;
struct mm_struct;
struct user_struct;

struct adma_charge {
	struct user_struct *user; /* with a reference, as the next */
	struct adma_user *poster; /* whose owner is charged */
	struct mm_struct *mm;     /* the memory's, or the entry's notifier holds it */
	unsigned long pages;
	bool free;                /* without a charge to the two, because there is no limit */
};

/* Charge for @count pages of @memory. False: the limit does not allow that. */
bool adma_memlock_charge(struct adma_charge *charge, const struct adma_memory *memory,
			 unsigned long count);
void adma_memlock_uncharge(struct adma_charge *charge);

/* For how many pages could be charged right now. */
unsigned long adma_memlock_room(const struct adma_memory *memory);

#endif
