/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * holds.h - requests that are complete and that no call saw; adma_hold.h tells what that is for.
 *
 * The list has a lock of its own, which is a leaf: requests are listed under the lock of a worker or under the engine
 * lock. To tell of them is another step, made without any other lock (adma_holds_tell()): threads of the core make it
 * before they sleep, and calls as they return. Where it fails, a thread of the core does not sleep for long.
 */
#ifndef ADMA_BASE_HOLDS_H
#define ADMA_BASE_HOLDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adma_hold.h"

#define ADMA_HOLDS_RETRY_NS 10000000 /* for how long a thread of the core sleeps at most while something is untold */

/*
 * From now on, call tell() when requests are listed: once, and again after each adma_holds_first() that found one.
 * It is called from any thread, also from threads of the core, without any lock that another function of the core
 * takes, and it must not call the core. Not 0: it could not pass it on, and is called again a little later. NULL:
 * nothing is listed any more, and when this returns tell() is not running and will not be called.
 */
void adma_holds_tell_by(int (*tell)(void));

/* Is there something to tell? Written with the list's lock held. A hint: who stores it true tells by itself. */
extern _Atomic bool adma_holds_untold;
/* How many are listed; written with the lock held. */
extern _Atomic uint64_t adma_holds_listed;

/* What `hold` is in will be looked at by nobody but those whom adma_hold.h names. Called before it is posted. */
static inline void adma_hold_init(struct adma_hold *hold)
{
	*hold = (struct adma_hold){.owner = hold->owner};
}

/* List it when it is complete. Called with the lock under which it completes. */
static inline void adma_hold_want(struct adma_hold *hold)
{
	hold->wanted = 1;
}

void adma_holds_list(struct adma_hold *hold);
void adma_holds_tell_now(void);

/* It completes: list it if that is wanted. Called before the state is stored by which the caller may free it. */
static inline void adma_hold_complete(struct adma_hold *hold)
{
	if (hold->wanted)
		adma_holds_list(hold);
}

/* Tell the binding if something was listed. Called without any lock of the core. */
static inline void adma_holds_tell(void)
{
	if (atomic_load_explicit(&adma_holds_untold, memory_order_relaxed))
		adma_holds_tell_now();
}

/* For how long a thread of the core may sleep that would sleep for `ns`; -1 stands for no limit. */
static inline int64_t adma_holds_limit(int64_t ns)
{
	if (!atomic_load_explicit(&adma_holds_untold, memory_order_relaxed))
		return ns;
	return ns < 0 || ns > ADMA_HOLDS_RETRY_NS ? ADMA_HOLDS_RETRY_NS : ns;
}

/* The locks are held while the process forks. The child has nothing listed: what completes is the parent's. */
void adma_holds_before_fork(void);
void adma_holds_after_fork_parent(void);
void adma_holds_after_fork_child(void);

#endif
