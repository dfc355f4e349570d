/* SPDX-License-Identifier: BSD-3-Clause */
/* policy.c - how long the progress thread waits for owners and for the peer; see policy.h. */
#include "progress/policy.h"

#include "base/clock.h"
#include "progress/ownership.h"
#include "worker/ready.h"
#include "worker/transfer_copy.h"
#include "worker/transfer_lists.h"

#define PATIENCE_NS 60000             /* for a peer where no thread waits */
#define PATIENCE_WAITING_NS 10000000  /* for a peer where one waits: it may copy, but may be unable to */
#define SLEEP_NS 500000               /* between two looks at a peer that copies; doubles */
#define SLEEP_MAX_NS 32000000
#define ASSIST_FROM 2 /* chunks that are left: for only one, a copy worker thread would wake too late */

/*
 * So many of the transfers of which chunks can be claimed are looked at, from the first one. Both
 * endpoints claim from there. If the peer copies nothing of these, they are due, and leave the list.
 */
#define POLICY_LOOKS 8

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* An endpoint of a worker, at a time. */
struct policy_view {
	const struct adma_progress *progress;
	struct adma_endpoint *ep;
	int64_t now;
};

static int64_t policy_patience(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	if (adma_peer_waits(ep))
		return PATIENCE_WAITING_NS;
	return t->span.outbound ? 2 * PATIENCE_NS : PATIENCE_NS;
}

/* The peer is copying a chunk: returns when to look again. The sleep until then doubles each time. */
static int64_t policy_sleep_end(struct adma_transfer_watch *watch, int64_t now)
{
	watch->changed_at = now;
	if (now >= watch->sleep_end) {
		watch->sleep = watch->sleep ? earlier(2 * watch->sleep, SLEEP_MAX_NS) : SLEEP_NS;
		watch->sleep_end = now + watch->sleep;
	}
	return watch->sleep_end;
}

/* When we may copy the next chunk of a transfer that either endpoint may copy, if the peer claims none until then. */
static int64_t policy_due_shared(const struct policy_view *view, struct adma_transfer *t)
{
	const struct adma_ownership *ownership = &view->progress->ownership;
	struct adma_transfer_watch *watch = &t->watch;
	struct adma_slot_result r;

	if (adma_slot_look(t->slot, t->gen, &r) || r.closed || adma_transfer_holds_up(t))
		return ADMA_NEVER;
	if (r.next == t->chunks && r.next - r.retired <= t->busy)
		return ADMA_NEVER; /* our own threads copy all that is left */
	if (!watch->changed_at || r.next - t->claimed != watch->claims) {
		/* If a local owner has just left, the peer's time began then. */
		bool fresh = !watch->changed_at && view->now - ownership->left_at < 2 * ownership->grace_ns;

		watch->claims = r.next - t->claimed;
		watch->changed_at = fresh ? ownership->left_at : view->now;
	}
	if (r.next - r.retired > t->busy)
		return policy_sleep_end(watch, view->now);
	watch->sleep = watch->sleep_end = 0;
	return watch->changed_at + policy_patience(view->ep, t);
}

/* When a chunk of this transfer is due, as things are now; ADMA_NEVER: not before something changes. */
static int64_t policy_due(const struct policy_view *view, struct adma_transfer *t)
{
	const struct adma_ownership *ownership = &view->progress->ownership;
	int64_t left = ownership->left_at + ownership->grace_ns, at;

	/* After the grace, its descriptor is polled and tells. */
	if (adma_transfer_is_polled(t) && !adma_transfer_ready(view->ep, t))
		return view->now < left ? left : ADMA_NEVER;
	if (!adma_transfer_ready(view->ep, t))
		return ADMA_NEVER;
	at = adma_transfer_is_stream(t) ? view->now : policy_due_shared(view, t);
	return at > left ? at : left;
}

/* A transfer for which several chunks are left that either endpoint may copy, or NULL. */
static const struct adma_transfer *policy_find_long(const struct adma_endpoint *ep, uint64_t *left)
{
	int looks = POLICY_LOOKS;

	adma_list_for_each(at, &ep->transfers.open) {
		const struct adma_transfer *t = adma_transfer_of_movable(at);
		struct adma_slot_result r;

		if (!looks--)
			return NULL;
		if (adma_slot_look(t->slot, t->gen, &r) || r.next + ASSIST_FROM > t->chunks ||
		    adma_transfer_holds_up(t))
			continue;
		*left = t->chunks - r.next;
		return t;
	}
	return NULL;
}

void adma_policy_ask_assist(struct adma_progress *progress)
{
	adma_worker_for_each_active(ep, &progress->worker) {
		uint64_t left;
		const struct adma_transfer *t = policy_find_long(ep, &left);

		if (!t)
			continue;
		adma_engine_assist(&progress->assist, t->span.length, left - 1);
		return;
	}
}

/* Copy one chunk that is due, of a transfer that either endpoint may copy. */
static bool policy_copy_open(const struct policy_view *view, enum adma_copied_by by)
{
	int looks = POLICY_LOOKS;

	adma_list_for_each_safe(at, after, &view->ep->transfers.open) {
		struct adma_transfer *t = adma_transfer_of_movable(at);

		if (!adma_transfer_ready(view->ep, t)) {
			adma_transfer_shut(t); /* the peer has claimed what was left */
			continue;
		}
		if (!looks--)
			return false;
		if (policy_due(view, t) <= view->now && adma_transfer_step(view->ep, t, by))
			return true;
		if (view->ep->control.over)
			return true;
	}
	return false;
}

static bool policy_copy_streams(const struct policy_view *view)
{
	adma_list_for_each(at, &view->ep->transfers.heads) {
		struct adma_transfer *t = adma_transfer_of_movable(at);
		int64_t due = policy_due(view, t);
		/* Only a try can tell whether a descriptor has room or bytes. */
		bool try = due == ADMA_NEVER && adma_transfer_is_polled(t);

		if ((due <= view->now || try) && adma_transfer_step(view->ep, t, ADMA_BY_PROGRESS_THREAD))
			return true;
		if (view->ep->control.over)
			return true;
	}
	return false;
}

static bool policy_assist_endpoint(const struct policy_view *view)
{
	return policy_copy_open(view, ADMA_BY_ASSIST);
}

static bool policy_copy_endpoint(const struct policy_view *view)
{
	if (adma_transfers_begin_with_streams(&view->ep->transfers))
		return policy_copy_streams(view) || policy_copy_open(view, ADMA_BY_PROGRESS_THREAD);
	return policy_copy_open(view, ADMA_BY_PROGRESS_THREAD) || policy_copy_streams(view);
}

/* The lock may be dropped in a step, and the list may change then: after a step the caller begins anew. */
static bool policy_try_each(struct adma_progress *progress, int64_t now, bool (*step)(const struct policy_view *view))
{
	adma_worker_for_each_active(ep, &progress->worker) {
		struct policy_view view = {.progress = progress, .ep = ep, .now = now};

		if (!ep->control.over && step(&view))
			return true;
	}
	return false;
}

bool adma_policy_assist(struct adma_progress *progress, int64_t now)
{
	return policy_try_each(progress, now, policy_assist_endpoint);
}

bool adma_policy_copy(struct adma_progress *progress, int64_t now)
{
	return policy_try_each(progress, now, policy_copy_endpoint);
}

void adma_policy_learn(struct adma_progress *progress)
{
	struct adma_ownership *ownership = &progress->ownership;
	bool vain = !ownership->delegated || adma_now() < ownership->left_at + ownership->grace_ns;

	if (vain)
		ownership->grace_ns = earlier(2 * ownership->grace_ns, ADMA_GRACE_MAX_NS);
}

/* When there will be something to copy for an endpoint. */
static int64_t policy_next_of(const struct policy_view *view)
{
	int64_t next = ADMA_NEVER;
	int looks = POLICY_LOOKS;

	adma_list_for_each(at, &view->ep->transfers.heads)
		next = earlier(next, policy_due(view, adma_transfer_of_movable(at)));
	adma_list_for_each(at, &view->ep->transfers.open) {
		if (!looks--)
			break;
		next = earlier(next, policy_due(view, adma_transfer_of_movable(at)));
	}
	return next;
}

int64_t adma_policy_next(struct adma_progress *progress, int64_t now)
{
	int64_t next = ADMA_NEVER;

	if (!progress->ownership.delegated)
		return next;
	adma_worker_for_each_active(ep, &progress->worker) {
		struct policy_view view = {.progress = progress, .ep = ep, .now = now};

		next = earlier(next, policy_next_of(&view));
	}
	return next;
}
