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
#include "worker/peer.h"
#include "worker/ready.h"
#include "worker/request.h"
#include "worker/transfer_copy.h"
#include "worker/transfers.h"

#define IN_A_ROW_NS 20000 /* for so long short chunks are copied without a look at anything else */
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
	bool entered;    /* the caller has taken the lock of the first worker already */
	bool owns;       /* it owns all workers */
	bool released;   /* it has released them again */
	bool observes;   /* the call that posted the only request looks at its result: observe it when it is done */
	bool silent;     /* a worker completes requests without signalling its event counts */
	int held;        /* of so many workers, from the first one, the maps are kept in place: see drive_leave() */
	int64_t spin_ns; /* how long to spin at most, as adma_spin_limit() takes it */
	int64_t begun_at; /* when the drive first found nothing that moved; 0: not yet, or its caller never sleeps */
	int64_t now;     /* when the last round found nothing that moved */
	int64_t watched_since; /* of a round after a spin that found something: when that began; 0: this is no such round */
	int64_t end; /* when the spin ends that began after the last move; -1: there was none since */
	struct adma_hints hints;
};

/* A visit that begins. The hints are not initialised: a round sets them before they are looked at. */
static void visit_begin(struct visit *visit, int64_t spin_ns)
{
	visit->entered = visit->owns = visit->released = visit->observes = visit->silent = false;
	visit->held = 0;
	visit->spin_ns = spin_ns;
	visit->begun_at = visit->watched_since = 0;
	visit->end = -1;
}

/* Take the lock of a worker whose maps may be held. 0, or why it cannot be used. */
static int drive_enter(struct visit *visit, struct adma_progress *progress, bool held)
{
	if (visit->entered) {
		visit->entered = false;
		return 0;
	}
	if (!held)
		return adma_enter_worker(progress);
	adma_worker_retake(&progress->worker);
	if (!progress->worker.closed)
		return 0;
	adma_leave_worker(progress);
	return -ADMA_E_CLOSED_HERE;
}

static bool drive_is_silent(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker)
		if (ep->ops->silent || adma_transfers_polled(ep))
			return true;
	return false;
}

/*
 * Leave a worker. `spins`: the caller is about to spin on it. For that its maps stay in place, from the look that gave
 * the hints on, so that no hint is about an endpoint that has gone since; and the lock is not taken for it once more.
 */
static void drive_leave(struct visit *visit, struct adma_progress *progress, int i, bool spins)
{
	progress->worker.watched_since = 0;
	(void)adma_publish(progress, false);
	if (!spins || visit->held != i || progress->worker.settling) {
		adma_leave_worker(progress);
		return;
	}
	visit->silent |= drive_is_silent(&progress->worker);
	visit->held++;
	adma_worker_release_for_use(&progress->worker);
}

/* The wait is over. If there is one worker, release it under the lock that this round holds anyway. */
static bool drive_release_early(const struct adma_wait *wait, const struct visit *visit)
{
	struct adma_progress *progress;

	if (adma_wait_count(wait) > 1 || !wait->nreqs || !adma_wait_is_satisfied(wait))
		return false;
	progress = adma_wait_progress(wait, 0);
	if (visit->observes)
		adma_request_observe(adma_only_endpoint(progress), wait->reqs[0]);
	adma_ownership_release(progress, true);
	return true;
}

/* A chunk was copied, and there are more: short ones are copied in a row, because a look between two takes as long as one. */
static void drive_copy_on(struct adma_endpoint *ep)
{
	int64_t end = adma_now() + IN_A_ROW_NS;

	while (adma_transfers_copy(ep, ADMA_BY_CALLER) && !adma_list_empty(&ep->transfers.open) && adma_now() < end)
		;
}

/* Copy a chunk, or a few that are short, for any endpoint. Drops the lock meanwhile. True when anything changed. */
static bool drive_copy(struct adma_progress *progress, enum adma_copied_by by)
{
	adma_worker_for_each_active(ep, &progress->worker) {
		if (!adma_has_transfers(ep) || !adma_transfers_copy(ep, by))
			continue;
		if (by == ADMA_BY_CALLER && !adma_list_empty(&ep->transfers.open))
			drive_copy_on(ep);
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
	struct adma_worker *worker = &progress->worker;
	bool changed;

	worker->copies_next = true;
	changed = adma_worker_advance(worker);
	if (adma_worker_has_transfers(worker)) {
		adma_waiters_wake_marked(progress); /* waiters of what completed just now are woken before the chunk */
		changed |= drive_copy(progress, by);
	}
	adma_signal_untold(worker, NULL);
	return changed;
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

bool adma_check_peers(struct adma_progress *progress, int64_t now, int64_t awake_since)
{
	int64_t checked_at = progress->waiters.checked_at;
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

/* Look at one worker, whose lock is held. True when something changed. */
static bool drive_look(const struct adma_wait *wait, struct visit *visit, struct adma_progress *progress)
{
	bool moved;

	if (!visit->owns && !wait->drained)
		adma_ownership_acquire(progress);
	if (visit->watched_since)
		progress->worker.watched_since = visit->watched_since;
	adma_hints_note_events(&visit->hints, progress);
	moved = drive_worker(wait, progress);
	if (moved && !adma_is_shared(progress))
		return true;
	visit->now = adma_now();
	if (!visit->begun_at && visit->spin_ns)
		visit->begun_at = visit->now;
	/*
	 * Whoever is about to sleep polls the peer by that. With many peers, one that is always busy may not keep us from
	 * looking at the others.
	 */
	return adma_check_peers(progress, visit->now, adma_is_shared(progress) ? 0 : visit->begun_at) || moved;
}

/* Nothing moves. Is there time left to spin on this worker? If so, take the hints for that. */
static bool drive_may_spin(const struct adma_wait *wait, struct visit *visit, struct adma_progress *progress)
{
	if (visit->end < 0)
		visit->end = visit->now + adma_spin_limit(adma_wait_progress(wait, 0), visit->spin_ns, visit->now);
	if (visit->now >= visit->end)
		return false;
	if (visit->spin_ns < 0 && adma_spin_starves_peer(progress, visit->end - visit->now, visit->now)) {
		visit->end = visit->now;
		return false;
	}
	adma_hints_take(&visit->hints, progress, !wait->nreqs && !wait->drained);
	return true;
}

/* Make one round over all workers, and take hints for spinning. 1: something changed; 0; or why none can be used. */
static int drive_round(const struct adma_wait *wait, struct visit *visit)
{
	int moved = 0, usable = 0, why = -ADMA_E_CLOSED_HERE, held = visit->held;

	visit->held = 0;
	visit->silent = false;
	adma_hints_begin(&visit->hints);
	for (int i = 0; i < adma_wait_count(wait); i++) {
		struct adma_progress *progress = adma_wait_progress(wait, i);
		int rc = drive_enter(visit, progress, i < held);

		if (rc) {
			why = rc;
			continue;
		}
		usable++;
		moved |= drive_look(wait, visit, progress);
		visit->released = drive_release_early(wait, visit);
		drive_leave(visit, progress, i, !moved && !visit->released && drive_may_spin(wait, visit, progress));
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
	changed |= adma_check_peers(progress, adma_now(), 0);
	adma_ownership_release(progress, true);
	adma_publish_and_leave_worker(progress);
	return changed;
}

/* ---- spinning ---- */

struct spinner {
	const struct adma_wait *wait;
	const struct visit *visit;
};

static bool spinner_look(void *arg)
{
	const struct spinner *spinner = arg;

	return adma_hints_look(&spinner->visit->hints);
}

/* Sockets and the kernel do not signal the event count, and another thread may have completed our request. */
static bool spinner_look_seldom(void *arg)
{
	const struct spinner *spinner = arg;
	const struct adma_wait *wait = spinner->wait;

	return spinner->visit->silent || (wait->nreqs == 1 && adma_request_is_ready(wait->reqs[0]));
}

/* Spin until the visit's end. True when a new round may find something; false when nothing happened. */
static bool drive_spin(const struct adma_wait *wait, const struct visit *visit)
{
	struct spinner spinner = {.wait = wait, .visit = visit};

	if (visit->hints.too_many)
		return false;
	if (visit->held < adma_wait_count(wait)) {
		sched_yield(); /* one is closed, or waits for us to leave: see what became of the requests */
		return true;
	}
	if (!adma_spin(visit->end, spinner_look, spinner_look_seldom, &spinner))
		return false;
	adma_spin_hit(adma_wait_progress(wait, 0));
	return true;
}

/* ---- drive ---- */

/* The budget counts from the first round that moved something and did not end the wait. */
static int drive(const struct adma_wait *wait, struct visit *visit, int64_t budget_ns)
{
	int64_t begin = 0;

	for (;;) {
		int moved = drive_round(wait, visit);
		bool ready = visit->released || adma_wait_is_satisfied(wait);

		if (moved > 0 || (ready && !moved))
			adma_spin_moved(adma_wait_progress(wait, 0));
		if (ready)
			return ADMA_READY;
		if (moved < 0)
			return moved;
		if (!moved) {
			visit->watched_since = visit->now;
			if (visit->now >= visit->end || !drive_spin(wait, visit))
				return ADMA_QUIET;
			continue;
		}
		visit->watched_since = 0;
		visit->end = -1;
		visit->now = adma_now();
		if (!begin)
			begin = visit->now;
		if (visit->now - begin >= budget_ns)
			return ADMA_BUSY;
	}
}

/* Let go of the workers, and release them unless a round has done that. */
static void drive_end(const struct adma_wait *wait, struct visit *visit, bool for_good)
{
	bool release = !visit->released && !wait->drained;

	for (int i = 0; i < adma_wait_count(wait); i++) {
		struct adma_progress *progress = adma_wait_progress(wait, i);
		bool held = i < visit->held;

		if (!held && !release)
			continue;
		if (drive_enter(visit, progress, held))
			continue; /* it is closed: nobody counts its owners any more */
		if (release)
			adma_ownership_release(progress, for_good);
		adma_publish_and_leave_untold(progress);
	}
}

static int drive_visit(const struct adma_wait *wait, struct visit *visit, int64_t budget_ns)
{
	int result = drive(wait, visit, budget_ns);

	drive_end(wait, visit, result == ADMA_READY || result < 0 || visit->spin_ns == 0);
	return result;
}

int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns)
{
	struct visit visit;

	visit_begin(&visit, spin_ns);
	return drive_visit(wait, &visit, budget_ns);
}

int adma_drive_posted(struct adma_chan *chan, struct adma_req *req, int64_t budget_ns)
{
	struct adma_wait wait = adma_wait_for_one(&chan, &req);
	struct visit visit;

	visit_begin(&visit, -1);
	visit.entered = visit.observes = true;
	return drive_visit(&wait, &visit, budget_ns);
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
