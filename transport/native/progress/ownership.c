/* SPDX-License-Identifier: BSD-3-Clause */
/* ownership.c - owners, and the delegation to the progress thread; see ownership.h. */
#include "progress/ownership.h"

#include "base/clock.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"
#include "shm/eventcount.h"

void adma_delegation_end(struct adma_chan *chan)
{
	chan->ownership.delegated = false;
	/* An event count that is left armed costs the peer a system call and the progress thread a wake-up. */
	if (!chan->waiters.sleepers && !adma_poll_descriptor_is_open(chan) && !adma_watch_is_quiet(&chan->watch))
		adma_ec_disarm(&chan->ep.connection.config.local->event_count);
}

void adma_ownership_acquire(struct adma_chan *chan)
{
	struct adma_ownership *ownership = &chan->ownership;

	if (ownership->delegated) {
		ownership->resumes_at = ownership->left_at;
		ownership->owned_at = adma_now();
		adma_delegation_end(chan);
	} else if (!ownership->owners) {
		ownership->resumes_at = 0;
	}
	ownership->owners++;
	adma_tell_waits(&chan->ep, true);
}

void adma_ownership_release(struct adma_chan *chan, bool for_good)
{
	chan->ownership.owners--;
	adma_mark(&chan->ep, ADMA_MARK_REARM);
	if (for_good)
		adma_ownership_hand_over(chan);
}

void adma_ownership_announce(struct adma_chan *chan)
{
	adma_tell_waits(&chan->ep, true);
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

void adma_ownership_hand_over(struct adma_chan *chan)
{
	struct adma_ownership *ownership = &chan->ownership;

	if (ownership->owners || chan->ep.control.closing)
		return;
	adma_tell_waits(&chan->ep, false);
	if (ownership->delegated || !chan->ep.ops->needs_progress(&chan->ep))
		return;
	if (!adma_progress_take(chan))
		return; /* chunks are then copied only by threads in calls */
	ownership->delegated = true;
	adma_mark(&chan->ep, ADMA_MARK_REARM);
	adma_progress_note_caller();
	ownership->left_at = ownership_left_at(ownership);
}

void adma_delegation_rearm(struct adma_chan *chan, bool more, bool by_progress_thread)
{
	const struct adma_endpoint_ops *ops = chan->ep.ops;

	if (!ops->needs_progress(&chan->ep)) {
		adma_delegation_end(chan);
		return;
	}
	int64_t then = chan->ownership.left_at + chan->ownership.grace_ns;
	short data = ops->events(&chan->ep, false);
	/* The descriptor of a byte stream has events most of the time: it is not polled before the grace is over. */
	bool early = data && !ops->silent && adma_now() < then;

	/*
	 * While the grace lasts, nobody polls the data descriptor. The grace may end before the progress
	 * thread, at the end of its visit, reads the clock again, and finds nothing that is due later. So
	 * in this case it is called for the end of the grace even if it is the caller.
	 */
	if ((more && !by_progress_thread) || early)
		adma_progress_call(chan, then);
	adma_progress_poll(chan, early ? 0 : data);
}
