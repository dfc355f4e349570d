/* SPDX-License-Identifier: BSD-3-Clause */
/* workers.h - the workers of this process, those of channels included: made, torn down, and forgotten after a fork. */
#ifndef ADMA_API_WORKERS_H
#define ADMA_API_WORKERS_H

#include "progress/progress.h"

/* Make a worker without endpoints in memory that is zero. 0, or a negated errno: then nothing is left open. */
int adma_workers_make(struct adma_progress *progress, bool shared);

/* Let a worker be found by a fork. Its endpoints are complete. */
void adma_workers_enlist(struct adma_progress *progress);

/* It is not to be found any more, and its lock goes. */
void adma_workers_delist(struct adma_progress *progress);

/* Close the descriptors and unmap the segments of an endpoint. Called with the lock held, or in a forked child. */
void adma_workers_tear_down_endpoint(struct adma_progress *progress, struct adma_endpoint *ep);

/* The same for what the worker itself has open. */
void adma_workers_tear_down(struct adma_progress *progress);

/*
 * The worker is closed, so no thread of the library enters it. Wait until `end`, at most, for those that did so
 * before. No lock is held.
 */
void adma_workers_await_threads(struct adma_progress *progress, int64_t end);

/*
 * The worker is closed, and about to be freed. True: a page holds up threads of ours in it, and the last of them will call
 * let_go(), which asks again. False: there is none. No lock is held.
 */
bool adma_workers_leave(struct adma_progress *progress, void (*let_go)(struct adma_progress *progress));

/* Take the locks that a fork must not find held, and release them in the parent. */
void adma_workers_before_fork(void);
void adma_workers_after_fork_parent(void);

/* In the child: close its copies of the parent's endpoints and workers, which refuse all use from then on. */
void adma_workers_after_fork_child(void);

#endif
