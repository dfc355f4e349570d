/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memory.h - one side of a transfer: some user memory, and how to get at its pages.
 *
 * Taken at the post, in the poster's context: the ranges are checked against
 * the poster's mappings, so that a bad address is an error of the post, and
 * the first window is pinned there, as far as no page fault has to be waited for. The rest is
 * pinned when its turn comes, with the mm entered for that one window only.
 *
 * A memory holds its mm by mmgrab(), never by mmget(): a process can exit with
 * requests pending.
 */
#ifndef ADMA_MEMORY_H
#define ADMA_MEMORY_H

#include <linux/types.h>

#include <uapi/linux/adma.h>

struct adma_fetch;
struct adma_pin;
struct adma_tally;
struct mm_struct;
struct adma_user;
struct adma_waiter;
struct page;
struct user_struct;

/* What pinning may wait for. */
enum adma_patience {
	ADMA_PIN_AT_ONCE, /* nobody: a transfer's. What would have to be waited for is fetched */
	ADMA_PIN_OWN,     /* what current does to its own memory: at the post */
	ADMA_PIN_WAIT,    /* page faults too, whoever serves them: a fetch's */
};

struct adma_range {
	unsigned long address;
	size_t length;
};

/* A physically contiguous run of a pinned window. */
struct adma_extent {
	struct page *page; /* the first one */
	u32 offset;        /* into it, below PAGE_SIZE */
	size_t length;     /* bytes; may go on over following pages */
};

struct adma_memory {
	struct mm_struct *mm;
	struct user_struct *user; /* who is charged for long-term pins */
	unsigned long memlock;    /* pages this user may pin; ULONG_MAX: any number */
	struct adma_tally *tally; /* of the poster's end; outlives the memory */
	u32 policy;               /* ADMA_BY_* */
	bool write;               /* a destination */
	u32 count;
	struct adma_range *ranges;
	u64 length;               /* bytes of all ranges */
	bool lasting;             /* may be pinned for long */
	enum adma_patience patience;
	struct adma_pin *held;    /* pinned at the post: of the first ranges, in their order */
	u32 holds;
	struct adma_user *poster; /* its request's: in whose lane it waits */
	struct adma_waiter *waiter; /* who is told that a fetch is over */
	struct adma_fetch *fetch; /* what is pinned elsewhere meanwhile, or was; fetch.h */
	u64 pin_ns;               /* spent pinning so far */
};

/*
 * Take what an ADMA_IOC_POST describes. 0, or the negated errno of the post;
 * then nothing is held. Process context, current is the poster.
 */
int adma_memory_take(struct adma_memory *memory, const struct adma_iovec __user *iov, u32 count,
		     bool write, u32 policy, struct adma_tally *tally);

/* The same for one range (ADMA_IOC_COPY). */
int adma_memory_take_range(struct adma_memory *memory, u64 address, u64 length, bool write,
			   u32 policy, struct adma_tally *tally);

/* Let go: may sleep. A memory of all zeroes is fine. */
void adma_memory_drop(struct adma_memory *memory);

/* A window: what of a memory is pinned right now. One at a time for each memory. */
struct adma_window {
	struct adma_extent *extents;
	u32 count;
	u64 length;          /* bytes of all extents */
	bool lasting;        /* pinned for long: an engine may have it. Else it is the CPU's */
	struct adma_pin *pins; /* one for each range touched */
	u32 pinned;
};

/*
 * Pin from byte @at on, at most @most bytes and at most the window's size; at
 * least one byte. 0 or a negated errno of struct adma_entry (EFAULT, ESRCH, ENOMEM,
 * EOPNOTSUPP), or EAGAIN: a fetch was begun, whose end memory->waiter is told, for what would
 * have had to be waited for. Process context; enters memory->mm for the duration of the call.
 */
int adma_window_pin(struct adma_window *window, struct adma_memory *memory, u64 at, u64 most);

/* Copied: destinations become dirty. -EFAULT or -ESRCH when a range was unmapped meanwhile. */
int adma_window_unpin(struct adma_window *window, struct adma_memory *memory);

/* A lasting one: an engine may still write. Its pages stay pinned for good, and are counted. */
void adma_window_abandon(struct adma_window *window, struct adma_memory *memory);

/* Cached pins of all processes, for debugfs; and the cache's end, at module exit. */
u64 adma_pins_cached(void); /* bytes */
int adma_pins_init(void);
void adma_pins_exit(void);

/* Parameters, for ADMA_IOC_INFO. */
u64 adma_window_bytes(void);
u64 adma_pin_limit(void);

#endif
