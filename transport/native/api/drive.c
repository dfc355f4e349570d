/* SPDX-License-Identifier: BSD-3-Clause */
/* drive.c - making progress for a caller that waits, and spinning when there is none to make. */
#include "api/drive.h"

#include <sched.h>

#include "api/entry.h"
#include "base/clock.h"
#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/progress_thread.h"
#include "progress/spin.h"
#include "progress/waiters.h"
#include "worker/ending.h"
#include "worker/ready.h"
#include "worker/transfer_copy.h"
#include "worker/transfers.h"

#define PEER_CHECK_NS 1000000 /* how often a thread that never sleeps looks for the peer's death */

/* ---- what is waited for ---- */

bool adma_request_is_ready(const struct adma_req *req)
{
	int32_t state = __atomic_load_n(&req->state, __ATOMIC_ACQUIRE);

	return state == ADMA_DONE_STATE || state == ADMA_NEED_STATE;
}

static bool drive_reads_no_more(const struct adma_progress *progress)
{
	return !adma_is_shared(progress) && adma_only_endpoint(progress)->control.draining;
}

static bool message_is_ready(struct adma_progress *progress)
{
	bool ready;

	if (adma_enter_worker(progress))
		return true;
	/* A channel that drains reads no more: who waits for a message is told so. */
	ready = adma_worker_find_message(&progress->worker) || drive_reads_no_more(progress);
	adma_publish_and_leave_untold(progress);
	return ready;
}

static bool worker_is_drained(struct adma_progress *progress)
{
	bool drained = true;

	if (adma_enter_worker(progress))
		return true;
	adma_list_for_each_entry(ep, &progress->worker.endpoints, struct adma_endpoint, member)
		drained &= !ep->control.draining || adma_ending_is_drained(ep);
	adma_leave_worker(progress);
	return drained;
}

static bool drive_is_drained(const struct adma_wait *wait)
{
	for (int i = 0; i < adma_wait_count(wait); i++)
		if (!worker_is_drained(adma_wait_progress(wait, i)))
			return false;
	return true;
}

/*
 * The last requests are looked at first. Most of the time requests complete in post order, so one that waits
 * for all of many sees at the first one whether it has to wait on.
 */
bool adma_wait_is_satisfied(const struct adma_wait *wait)
{
	int missing = 0;

	if (wait->drained)
		return drive_is_drained(wait);
	if (wait->nreqs == 0)
		return message_is_ready(adma_wait_progress(wait, 0));
	for (int i = wait->nreqs - 1; i >= 0; i--) {
		if (!adma_request_is_ready(wait->reqs[i]) && ++missing > wait->nreqs - wait->need)
			return false;
		if (wait->nreqs - i - missing >= wait->need)
			return true;
	}
	return false;
}

/* ---- a round ---- */

/* What a drive knows of its workers between two rounds. */
struct visit {
	bool owns;     /* it owns all workers */
	bool released; /* it has released them again */
	int64_t begun_at; /* the drive; 0 if its caller never sleeps */
	struct adma_hints hints;
};

/* The wait is over. If there is one worker, release it under the lock that this round holds anyway. */
static bool drive_release_early(const struct adma_wait *wait)
{
	if (adma_wait_count(wait) > 1 || !wait->nreqs || !adma_wait_is_satisfied(wait))
		return false;
	adma_ownership_release(adma_wait_progress(wait, 0), true);
	return true;
}

/* Copy at most one chunk, for any endpoint. Drops the lock meanwhile. True when anything changed. */
static bool drive_copy(struct adma_progress *progress, enum adma_copied_by by)
{
	adma_worker_for_each_active(ep, &progress->worker) {
		if (!adma_has_transfers(ep) || !adma_transfers_copy(ep, by))
			continue;
		(void)adma_transfers_complete(ep);
		return true;
	}
	return false;
}

/* What may not be in memory is left to the progress thread, where there is one. */
static enum adma_copied_by drive_with_care(const struct adma_progress *progress)
{
	return adma_progress_count() && !progress->entry.incomplete ? ADMA_BY_CHECK : ADMA_BY_CALLER;
}

/* Take note of what happened, and copy at most one chunk. True when anything changed. */
static bool drive_progress(struct adma_progress *progress, enum adma_copied_by by)
{
	bool changed = adma_worker_advance(&progress->worker);

	if (!adma_worker_has_transfers(&progress->worker))
		return changed;
	adma_waiters_wake_marked(progress); /* waiters of what completed just now are woken before the chunk */
	return drive_copy(progress, by) || changed;
}

/*
 * The same for a close. It leaves the worker to the progress thread, because it has to end in time, whatever holds up a
 * copy. Without such a thread it copies.
 */
static bool drive_drain(struct adma_progress *progress)
{
	const struct adma_ownership *ownership = &progress->ownership;

	adma_ownership_hand_over(progress);
	if (ownership->delegated || ownership->owners)
		return adma_worker_advance(&progress->worker);
	return drive_progress(progress, ADMA_BY_CALLER);
}

/* What a wait does for one of its workers in a round. True when anything changed. */
static bool drive_worker(const struct adma_wait *wait, struct adma_progress *progress)
{
	if (wait->drained)
		return drive_drain(progress);
	return drive_progress(progress, wait->careful ? drive_with_care(progress) : ADMA_BY_CALLER);
}

bool adma_check_peers(struct adma_progress *progress, int64_t awake_since)
{
	int64_t now = adma_now(), checked_at = progress->waiters.checked_at;
	bool changed;

	if (now - (checked_at > awake_since ? checked_at : awake_since) <= PEER_CHECK_NS)
		return false;
	progress->waiters.checked_at = now;
	/* An endpoint for which a byte came is one of those that are looked at next. */
	changed = adma_poll_check(progress);
	if (progress->worker.summary)
		changed |= adma_worker_look_at_unarmed(&progress->worker);
	return changed;
}

/* Make one round over all workers, and take hints for spinning. 1: something changed; 0; or why none can be used. */
static int drive_round(const struct adma_wait *wait, struct visit *visit)
{
	int moved = 0, usable = 0, why = -ADMA_E_CLOSED_HERE;

	adma_hints_begin(&visit->hints);
	for (int i = 0; i < adma_wait_count(wait); i++) {
		struct adma_progress *progress = adma_wait_progress(wait, i);
		int rc = adma_enter_worker(progress);

		if (rc) {
			why = rc;
			continue;
		}
		usable++;
		if (!visit->owns && !wait->drained)
			adma_ownership_acquire(progress);
		adma_hints_note_events(&visit->hints, progress);
		moved |= drive_worker(wait, progress);
		/*
		 * Whoever is about to sleep polls the peer by that. With many peers, one that is always busy may not keep
		 * us from looking at the others.
		 */
		if (adma_is_shared(progress))
			moved |= adma_check_peers(progress, 0);
		else if (!moved)
			moved |= adma_check_peers(progress, visit->begun_at);
		visit->released = drive_release_early(wait);
		if (!moved && !visit->released) /* otherwise nobody will spin on them */
			adma_hints_take(&visit->hints, progress, !wait->nreqs && !wait->drained);
		adma_publish_and_leave_untold(progress);
	}
	visit->owns = true;
	return usable ? moved : why;
}

int adma_drive_once(struct adma_progress *progress)
{
	bool changed;
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	adma_ownership_acquire(progress);
	changed = drive_progress(progress, drive_with_care(progress));
	changed |= adma_check_peers(progress, 0);
	adma_ownership_release(progress, true);
	adma_publish_and_leave_worker(progress);
	return changed;
}

/* ---- spinning ---- */

struct spinner {
	const struct adma_wait *wait;
	const struct adma_hints *hints;
	bool silent; /* a worker completes requests without signalling its event counts */
	uint32_t removed; /* endpoints that all workers together have lost */
};

static bool spinner_is_silent(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker)
		if (ep->ops->silent || adma_transfers_polled(ep))
			return true;
	return false;
}

static void spinner_let_go_of(const struct adma_wait *wait, int n)
{
	for (int i = 0; i < n; i++) {
		struct adma_progress *progress = adma_wait_progress(wait, i);

		adma_worker_retake(&progress->worker);
		adma_leave_worker(progress);
	}
}

/* Keep the maps of one worker in place without its lock. False: it is closed, or waits for us to leave. */
static bool spinner_hold(struct spinner *spinner, struct adma_progress *progress)
{
	if (adma_enter_worker(progress))
		return false;
	if (progress->worker.settling) {
		adma_leave_worker(progress);
		return false;
	}
	spinner->silent |= spinner_is_silent(&progress->worker);
	spinner->removed += progress->worker.removed;
	adma_worker_release_for_use(&progress->worker);
	return true;
}

/* The same for all workers. False also when an endpoint has gone since the hints were taken: they may be about it. */
static bool spinner_hold_maps(struct spinner *spinner)
{
	const struct adma_wait *wait = spinner->wait;
	int n = 0;

	while (n < adma_wait_count(wait) && spinner_hold(spinner, adma_wait_progress(wait, n)))
		n++;
	if (n == adma_wait_count(wait) && spinner->removed == spinner->hints->removed)
		return true;
	spinner_let_go_of(wait, n);
	return false;
}

static bool spinner_look(void *arg)
{
	const struct spinner *spinner = arg;

	return adma_hints_look(spinner->hints);
}

/* Sockets and the kernel do not signal the event count, and another thread may have completed our request. */
static bool spinner_look_seldom(void *arg)
{
	const struct spinner *spinner = arg;
	const struct adma_wait *wait = spinner->wait;

	return spinner->silent || (wait->nreqs == 1 && adma_request_is_ready(wait->reqs[0]));
}

/* Spin until `end`. True when a new round may find something; false when nothing happened. */
static bool drive_spin(const struct adma_wait *wait, const struct adma_hints *hints, int64_t end)
{
	struct spinner spinner = {.wait = wait, .hints = hints};
	bool found;

	if (hints->too_many)
		return false;
	if (!spinner_hold_maps(&spinner)) {
		sched_yield();
		return true; /* see what became of the requests */
	}
	found = adma_spin(end, spinner_look, spinner_look_seldom, &spinner);
	if (found)
		adma_spin_hit(adma_wait_progress(wait, 0));
	spinner_let_go_of(wait, adma_wait_count(wait));
	return found;
}

/* ---- drive ---- */

static int drive(const struct adma_wait *wait, struct visit *visit, int64_t spin_ns, int64_t budget_ns)
{
	int64_t begin = adma_now(), end = -1;

	visit->begun_at = spin_ns ? begin : 0;
	for (;;) {
		int moved = drive_round(wait, visit);
		int64_t now = adma_now();
		bool ready = visit->released || adma_wait_is_satisfied(wait);

		if (moved > 0 || (ready && !moved))
			adma_spin_moved(adma_wait_progress(wait, 0));
		if (ready)
			return ADMA_READY;
		if (moved < 0)
			return moved;
		if (moved) {
			end = -1;
			if (now - begin >= budget_ns)
				return ADMA_BUSY;
			continue;
		}
		if (end < 0)
			end = now + adma_spin_limit(adma_wait_progress(wait, 0), spin_ns, now);
		if (now >= end || !drive_spin(wait, &visit->hints, end))
			return ADMA_QUIET;
	}
}

static void drive_release_all(const struct adma_wait *wait, bool for_good)
{
	for (int i = 0; i < adma_wait_count(wait); i++) {
		struct adma_progress *progress = adma_wait_progress(wait, i);

		if (adma_enter_worker(progress))
			continue; /* it is closed: nobody counts its owners any more */
		adma_ownership_release(progress, for_good);
		adma_publish_and_leave_untold(progress);
	}
}

int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns)
{
	struct visit visit; /* not initialised: a round sets the hints before they are looked at */
	int result;

	visit.owns = visit.released = false;
	result = drive(wait, &visit, spin_ns, budget_ns);
	if (!visit.released && !wait->drained)
		drive_release_all(wait, result == ADMA_READY || result < 0 || spin_ns == 0);
	return result;
}

void adma_give_up(const struct adma_wait *wait)
{
	for (int i = 0; i < adma_wait_count(wait); i++) {
		struct adma_progress *progress = adma_wait_progress(wait, i);

		if (adma_enter_worker(progress))
			continue;
		adma_ownership_acquire(progress);
		adma_ownership_release(progress, true);
		adma_publish_and_leave_worker(progress);
	}
}

int adma_drive_one(struct adma_chan *chan, struct adma_req *req, int64_t spin_ns, int64_t budget_ns)
{
	struct adma_wait wait = adma_wait_for_one(&chan, &req);

	return adma_drive(&wait, spin_ns, budget_ns);
}

int adma_check(struct adma_chan *chan, struct adma_req *req)
{
	struct adma_wait wait = adma_wait_for_one(&chan, &req);

	wait.careful = 1;
	return adma_drive(&wait, 0, 0);
}

void adma_give_up_one(struct adma_chan *chan)
{
	struct adma_req *none = NULL;
	struct adma_wait wait = adma_wait_for_one(&chan, &none);

	adma_give_up(&wait);
}
