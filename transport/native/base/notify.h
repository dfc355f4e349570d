/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * notify.h - telling event loops of completed requests; adma_notify.h tells what that is for.
 *
 * The list of notifications has a lock of its own, which is a leaf: requests complete under the lock of a worker or under
 * the engine lock.
 */
#ifndef ADMA_BASE_NOTIFY_H
#define ADMA_BASE_NOTIFY_H

#include "adma_notify.h"

/* Tell of it when it is complete. Called with the lock under which it completes. */
static inline void adma_hold_notify(struct adma_hold *hold)
{
	hold->notifies = 1;
}

/*
 * Is anybody to be told of it? It is asked before the state is stored by which the caller may free it, and told after
 * that: whoever is told first arms its notification, and then looks at the state.
 */
static inline bool adma_hold_notifies(const struct adma_hold *hold)
{
	return hold->notifies;
}

/* The lock is held while the process forks. The child's notifications are closed: their owners are the parent's. */
void adma_notify_before_fork(void);
void adma_notify_after_fork_parent(void);
void adma_notify_after_fork_child(void);

#endif
