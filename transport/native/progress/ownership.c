/* SPDX-License-Identifier: BSD-3-Clause */
/* ownership.c - owners, and the delegation to the progress thread; see ownership.h. */
#include "progress/ownership.h"

#include "base/clock.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"

void adma_delegation_end(struct adma_progress *progress)
{
	progress->ownership.delegated = false;
	/* An event count that is left armed costs the peer a system call and the progress thread a wake-up. */
	if (!progress->waiters.sleepers && !adma_poll_descriptor_is_open(progress) &&
	    !adma_watch_is_quiet(&progress->watch))
		adma_worker_disarm(&progress->worker);
}

void adma_ownership_acquire(struct adma_progress *progress)
{
	struct adma_ownership *ownership = &progress->ownership;

	if (ownership->delegated) {
		ownership->resumes_at = ownership->left_at;
		ownership->owned_at = adma_now();
		adma_delegation_end(progress);
	} else if (!ownership->owners) {
		ownership->resumes_at = 0;
	}
	ownership->owners++;
	adma_worker_tell_waits(&progress->worker, true);
}

void adma_ownership_release(struct adma_progress *progress, bool for_good)
{
	progress->ownership.owners--;
	progress->worker.marks |= ADMA_MARK_REARM;
	if (for_good)
		adma_ownership_hand_over(progress);
}

void adma_ownership_announce(struct adma_progress *progress)
{
	adma_worker_tell_waits(&progress->worker, true);
}

/*
 * When the last owner left. A short ownership, such as a check, does not count as a return of the
 * owner: otherwise a caller that checks often would keep the progress thread from ever copying.
 */
static int64_t ownership_left_at(struct adma_ownership *ownership)
{
	int64_t now = adma_now(), before = ownership->resumes_at;

	ownership->resumes_at = 0;
	return before && now - ownership->owned_at < ADMA_GRACE_NS ? before : now;
}

static void ownership_delegate(struct adma_progress *progress)
{
	if (!adma_progress_take(progress))
		return; /* chunks are then copied only by threads in calls */
	progress->ownership.delegated = true;
	progress->worker.marks |= ADMA_MARK_REARM;
	progress->ownership.left_at = ownership_left_at(&progress->ownership);
}

/* Rings that are half full wake the progress thread, whatever is pending (worker/tagged_endpoint.c). */
static void ownership_watch(struct adma_progress *progress)
{
	if (progress->worker.tags && adma_progress_take(progress))
		adma_progress_poll(progress, 0);
}

void adma_ownership_hand_over(struct adma_progress *progress)
{
	struct adma_ownership *ownership = &progress->ownership;

	if (ownership->owners || progress->worker.closed)
		return;
	adma_worker_tell_waits(&progress->worker, false);
	if (ownership->delegated)
		return;
	if (!adma_worker_needs_progress(&progress->worker)) {
		ownership_watch(progress);
		return;
	}
	ownership_delegate(progress);
	adma_progress_note_caller();
}

void adma_ownership_resume(struct adma_progress *progress)
{
	const struct adma_ownership *ownership = &progress->ownership;

	if (!progress->worker.tags || ownership->owners || ownership->delegated || progress->worker.closed)
		return;
	if (adma_worker_needs_progress(&progress->worker))
		ownership_delegate(progress);
	else
		ownership_watch(progress);
}

/* The epoll of a shared worker polls the data descriptors of its endpoints itself. */
static short ownership_data_events(const struct adma_progress *progress)
{
	const struct adma_endpoint *ep;

	if (adma_is_shared(progress))
		return 0;
	ep = adma_only_endpoint(progress);
	return ep->ops->events(ep, false);
}

void adma_delegation_rearm(struct adma_progress *progress, bool more, bool by_progress_thread)
{
	if (!adma_worker_needs_progress(&progress->worker)) {
		adma_delegation_end(progress);
		ownership_watch(progress);
		return;
	}
	int64_t then = progress->ownership.left_at + progress->ownership.grace_ns;
	short data = ownership_data_events(progress);
	/* The descriptor of a byte stream has events most of the time: it is not polled before the grace is over. */
	bool early = data && !adma_worker_is_silent(&progress->worker) && adma_now() < then;

	/*
	 * While the grace lasts, nobody polls the data descriptor. The grace may end before the progress
	 * thread, at the end of its visit, reads the clock again, and finds nothing that is due later. So
	 * in this case it is called for the end of the grace even if it is the caller.
	 */
	if ((more && !by_progress_thread) || early)
		adma_progress_call(progress, then);
	adma_progress_poll(progress, early ? 0 : data);
}
