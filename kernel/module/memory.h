/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memory.h - some memory of a process, as a post describes it.
 *
 * It is described in the poster's context: the ranges are checked against the poster's
 * mappings, so that a bad address is an error of the post.
 *
 * A memory holds its mm by mmgrab(), never by mmget(): a process can exit with
 * requests pending.
 */
#ifndef ADMA_MEMORY_H
#define ADMA_MEMORY_H

#include <linux/bits.h>
#include <linux/types.h>

#include <uapi/linux/adma.h>

#define ADMA_LENGTH_MAX BIT_ULL(40) /* bytes; small enough that no sum of lengths wraps around */

struct adma_tally;
struct adma_user;
struct mm_struct;
struct user_struct;

/* What pinning may wait for. */
enum adma_pin_wait {
	ADMA_PIN_NOWAIT,   /* nothing: for a transfer, which has the rest fetched (fetch.h) */
	ADMA_PIN_WAIT_OWN, /* what current's own process does: for a post */
	ADMA_PIN_WAIT,     /* anything, page faults that other processes serve too: for a fetch */
};

/* Who posts memory. Both outlive the memory. */
struct adma_poster {
	struct adma_user *user;
	struct adma_tally *tally; /* of its endpoint */
};

struct adma_range {
	unsigned long address;
	size_t length;
};

struct adma_memory {
	struct mm_struct *mm;
	struct user_struct *user; /* who is charged for long-term pins */
	struct adma_user *poster; /* whose owner is charged for them, too */
	unsigned long memlock;    /* pages that this user may pin; ULONG_MAX: any number */
	struct adma_tally *tally; /* of the poster's endpoint; or NULL */
	u32 policy; /* ADMA_BY_* */
	bool write; /* it is a destination */
	u32 count;
	struct adma_range *ranges;
	u64 length; /* bytes of all ranges */
	bool long_term; /* it may be pinned for long */
	enum adma_pin_wait wait;
	u64 pin_ns; /* spent pinning so far */
};

/*
 * Begin a description of current's memory, with room for @count ranges. 0 or -ENOMEM. The
 * other functions may be used after it, up to adma_memory_free().
 */
int adma_memory_init(struct adma_memory *memory, u32 count, bool write, u32 policy,
		     const struct adma_poster *poster);

/* Add a range. 0, -EINVAL or -EFAULT. */
int adma_memory_add(struct adma_memory *memory, u64 base, u64 length);

/* Add what an ADMA_IOC_POST describes. Errors as of adma_memory_add(). */
int adma_memory_add_all(struct adma_memory *memory, const struct adma_iovec __user *iov, u32 count);

/*
 * Check all ranges against the mappings. -EFAULT or -EINTR. Clears @memory's long_term where
 * adma_memory_fit() is false.
 */
int adma_memory_check(struct adma_memory *memory);

/*
 * May an engine write to what is mapped there now? Takes mmap_lock. A post checks its
 * whole memory; whoever pins it for long asks again, within an interval that a change of the
 * mapping would invalidate.
 */
bool adma_memory_fit(struct mm_struct *mm, unsigned long start, unsigned long end);

/* A memory of all zeroes is fine. */
void adma_memory_free(struct adma_memory *memory);

#endif
