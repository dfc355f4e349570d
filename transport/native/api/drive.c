/* SPDX-License-Identifier: BSD-3-Clause */
/* drive.c - making progress for a caller that waits, and spinning when there is none to make. */
#include "api/drive.h"

#include "api/entry.h"
#include "base/clock.h"
#include "progress/ownership.h"
#include "progress/spin.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/peer.h"
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

static bool message_is_ready(struct adma_chan *chan)
{
	struct adma_endpoint *ep = &chan->ep;
	bool ready;

	if (adma_enter(chan))
		return true;
	ready = ep->control.over || ep->ops->has_message(ep);
	adma_publish_and_leave(chan);
	return ready;
}

bool adma_wait_is_satisfied(const struct adma_wait *wait)
{
	int spare = wait->nreqs - wait->need, ready = 0;

	if (wait->nreqs == 0)
		return message_is_ready(wait->chans[0]);
	/* The last requests are ready last. Whoever waits for all of a thousand learns from one that it goes on. */
	for (int i = wait->nreqs - 1; i >= 0; i--) {
		if (adma_request_is_ready(wait->reqs[i])) {
			if (++ready >= wait->need)
				return true;
		} else if (--spare < 0) {
			return false;
		}
	}
	return false;
}

/* ---- a round ---- */

/* What a drive knows of its channels between two rounds. */
struct visit {
	bool owns;     /* it owns all channels */
	bool released; /* it has released them again */
	struct adma_hint hints[ADMA_SPIN_CHANNELS];
};

/* The wait is over. If there is one channel, release it under the lock that this round holds anyway. */
static bool drive_release_early(const struct adma_wait *wait)
{
	if (wait->nchans > 1 || !wait->nreqs || !adma_wait_is_satisfied(wait))
		return false;
	adma_ownership_release(wait->chans[0], true);
	return true;
}

/* Take note of what happened, and copy at most one chunk. Drops the lock meanwhile. True when anything changed. */
static bool drive_progress(struct adma_chan *chan)
{
	bool changed = adma_endpoint_advance(&chan->ep);

	if (!adma_has_transfers(&chan->ep))
		return changed;
	adma_waiters_wake_marked(chan); /* waiters of what completed just now are woken before the chunk */
	if (!adma_transfers_copy(&chan->ep))
		return changed;
	(void)adma_transfers_complete(&chan->ep);
	return true;
}

/* Make one round over all channels, and take hints for spinning. 1: something changed; 0; or why none can be used. */
static int drive_round(const struct adma_wait *wait, struct visit *visit)
{
	int moved = 0, usable = 0, why = -ADMA_E_CLOSED_HERE;

	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];
		int rc = adma_enter(chan);
		uint64_t events;

		if (rc) {
			why = rc;
			continue;
		}
		usable++;
		if (!visit->owns)
			adma_ownership_acquire(chan);
		events = adma_ec_read(adma_event_count(chan)); /* before the look: later signals count */
		moved |= drive_progress(chan);
		if (!moved && adma_now() - chan->ep.control.checked_at > PEER_CHECK_NS)
			moved |= adma_peer_check(&chan->ep);
		if (i < ADMA_SPIN_CHANNELS)
			visit->hints[i] = adma_hint_take(chan, events, chan->ep.receive.reads.count || !wait->nreqs);
		visit->released = drive_release_early(wait);
		adma_publish_and_leave(chan);
	}
	visit->owns = true;
	return usable ? moved : why;
}

/* ---- spinning ---- */

struct spinner {
	const struct adma_wait *wait;
	const struct adma_hint *hints;
	bool silent; /* a channel completes requests without signalling its event count */
};

/* Keep the maps of all channels in place without their locks. False: one of them is closed. */
static bool spinner_hold_maps(struct spinner *spinner)
{
	const struct adma_wait *wait = spinner->wait;

	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan)) {
			while (--i >= 0) {
				adma_endpoint_retake(&wait->chans[i]->ep);
				adma_leave(wait->chans[i]);
			}
			return false;
		}
		spinner->silent |= chan->ep.ops->silent || adma_transfers_polled(&chan->ep);
		adma_endpoint_release_for_use(&chan->ep);
	}
	return true;
}

static void spinner_let_maps_go(const struct spinner *spinner)
{
	for (int i = 0; i < spinner->wait->nchans; i++) {
		adma_endpoint_retake(&spinner->wait->chans[i]->ep);
		adma_leave(spinner->wait->chans[i]);
	}
}

static bool spinner_look(void *arg)
{
	const struct spinner *spinner = arg;

	for (int i = 0; i < spinner->wait->nchans; i++) {
		const struct adma_hint *hint = &spinner->hints[i];

		if (adma_hint_has_message(hint) || adma_hint_is_signalled(hint) || adma_hint_has_ended(hint))
			return true;
	}
	return false;
}

/* Sockets and the kernel do not signal the event count, and another thread may have completed our request. */
static bool spinner_look_seldom(void *arg)
{
	const struct spinner *spinner = arg;
	const struct adma_wait *wait = spinner->wait;

	return spinner->silent || (wait->nreqs == 1 && adma_request_is_ready(wait->reqs[0]));
}

/* Spin until `end`. True when a new round may find something; false when nothing happened. */
static bool drive_spin(const struct adma_wait *wait, const struct adma_hint *hints, int64_t end)
{
	struct spinner spinner = {.wait = wait, .hints = hints};
	bool found;

	if (wait->nchans > ADMA_SPIN_CHANNELS)
		return false;
	if (!spinner_hold_maps(&spinner))
		return true; /* a channel was closed: see what became of the requests */
	found = adma_spin(end, spinner_look, spinner_look_seldom, &spinner);
	spinner_let_maps_go(&spinner);
	return found;
}

/* ---- drive ---- */

static int drive(const struct adma_wait *wait, struct visit *visit, int64_t spin_ns, int64_t budget_ns)
{
	int64_t begin = adma_now(), end = -1;

	for (;;) {
		int moved = drive_round(wait, visit);
		int64_t now = adma_now();

		if (visit->released || adma_wait_is_satisfied(wait))
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
			end = now + adma_spin_limit(wait->chans[0], spin_ns, now);
		if (now >= end || !drive_spin(wait, visit->hints, end))
			return ADMA_QUIET;
	}
}

static void drive_release_all(const struct adma_wait *wait, bool for_good)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan))
			continue; /* it is closed: nobody counts its owners any more */
		adma_ownership_release(chan, for_good);
		adma_publish_and_leave(chan);
	}
}

int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns)
{
	struct visit visit; /* not initialised: a round sets the hints before they are looked at */
	int result;

	visit.owns = visit.released = false;
	result = drive(wait, &visit, spin_ns, budget_ns);
	if (!visit.released)
		drive_release_all(wait, result == ADMA_READY || result < 0 || spin_ns == 0);
	return result;
}

void adma_give_up(const struct adma_wait *wait)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan))
			continue;
		adma_ownership_acquire(chan);
		adma_ownership_release(chan, true);
		adma_publish_and_leave(chan);
	}
}

int adma_drive_one(struct adma_chan *chan, struct adma_req *req, int64_t spin_ns, int64_t budget_ns)
{
	struct adma_wait wait = adma_wait_for_one(&chan, &req);

	return adma_drive(&wait, spin_ns, budget_ns);
}

void adma_give_up_one(struct adma_chan *chan)
{
	struct adma_req *none = NULL;
	struct adma_wait wait = adma_wait_for_one(&chan, &none);

	adma_give_up(&wait);
}
