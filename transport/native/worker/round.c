/* SPDX-License-Identifier: BSD-3-Clause */
/* round.c - which endpoints of a worker are looked at; see worker.h and round.h. */
#include "worker/round.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/eventcount.h"
#include "shm/summary.h"
#include "worker/peer.h"
#include "worker/ready.h"
#include "worker/tags.h"

/* ---- endpoints come and go ---- */

void adma_worker_init(struct adma_worker *worker)
{
	pthread_mutex_init(&worker->lock, NULL);
	adma_list_init(&worker->endpoints);
	adma_list_init(&worker->direct);
	adma_list_init(&worker->rearm);
	adma_list_init(&worker->active);
	adma_list_init(&worker->untold);
	worker->summary_fd = -1;
}

void adma_worker_forget(struct adma_worker *worker)
{
	if (worker->tags)
		adma_tags_free(worker);
	adma_summary_unmap(worker->summary);
	free(worker->by_bit);
}

static void round_note_active(struct adma_endpoint *ep)
{
	bool active = adma_has_transfers(ep) || ep->send.pending || ep->receive.pending || ep->ops->silent;

	if (active == adma_list_listed(&ep->active))
		return;
	if (active)
		adma_list_push_back(&ep->worker->active, &ep->active);
	else
		adma_list_remove(&ep->active);
}

void adma_worker_add(struct adma_worker *worker, struct adma_endpoint *ep)
{
	ep->worker = worker;
	adma_list_push_back(&worker->endpoints, &ep->member);
	adma_list_push_back(&worker->direct, &ep->direct);
	worker->count++;
	adma_tell_waits(ep, worker->waits);
	round_note_active(ep);
	adma_mark(ep, ADMA_MARK_WAITERS | ADMA_MARK_REARM); /* its peer may have published something already */
}

void adma_worker_remove(struct adma_worker *worker, struct adma_endpoint *ep)
{
	adma_list_remove(&ep->member);
	adma_list_remove(&ep->direct);
	adma_list_remove(&ep->rearm);
	adma_list_remove(&ep->active);
	adma_list_remove(&ep->untold);
	if (ep->bit != ADMA_NO_BIT)
		worker->by_bit[ep->bit] = NULL;
	ep->bit = ADMA_NO_BIT;
	worker->count--;
	worker->removed++;
}

/* ---- the summary ---- */

static bool round_find_bit(struct adma_worker *worker, uint32_t *bit)
{
	uint32_t bits = worker->bits ? 2 * worker->bits : 64;
	struct adma_endpoint **grown;

	for (*bit = 0; *bit < worker->bits; ++*bit)
		if (!worker->by_bit[*bit])
			return true;
	if (bits > ADMA_SUMMARY_BITS)
		return false;
	grown = realloc(worker->by_bit, bits * sizeof(*grown));
	if (!grown)
		return false;
	for (uint32_t i = worker->bits; i < bits; i++)
		grown[i] = NULL;
	worker->by_bit = grown;
	worker->bits = bits;
	return true;
}

/* The ring of a peer that gets no bit is looked at directly. */
static void round_offer_summary(struct adma_worker *worker, struct adma_endpoint *ep)
{
	uint32_t bit;

	if (ep->summary_passed || !ep->connection.config.same_user || !ep->ops->ring || ep->control.over)
		return;
	if (ep->bit == ADMA_NO_BIT) {
		if (!round_find_bit(worker, &bit))
			return;
		worker->by_bit[bit] = ep;
		ep->bit = bit;
	}
	adma_offer_summary(ep);
}

void adma_worker_summarise(struct adma_worker *worker)
{
	if (worker->count <= ADMA_FEW_ENDPOINTS)
		return;
	if (!worker->summary) {
		if (adma_summary_make(&worker->summary_fd, &worker->summary))
			return; /* without it all rings are looked at directly */
		worker->summary_own = adma_own_note(worker->summary_fd);
		atomic_store_explicit(&worker->summary->waiting, worker->waits, memory_order_relaxed);
	}
	adma_list_for_each_entry(ep, &worker->direct, struct adma_endpoint, direct)
		round_offer_summary(worker, ep);
}

/* Does the peer set our bit? Acquire: a look that follows sees what the peer published before it began to. */
static bool round_is_named(const struct adma_endpoint *ep)
{
	return ep->summary_passed && atomic_load_explicit(&ep->connection.config.remote->summing, memory_order_acquire);
}

struct round_visit {
	struct adma_worker *worker;
	bool changed;
};

static void round_visit(void *arg, uint32_t bit)
{
	struct round_visit *visit = arg;
	struct adma_endpoint *ep = bit < visit->worker->bits ? visit->worker->by_bit[bit] : NULL;

	if (ep)
		visit->changed |= adma_endpoint_advance(ep);
}

/* ---- a round ---- */

bool adma_endpoint_advance(struct adma_endpoint *ep)
{
	bool changed;

	adma_mark(ep, ADMA_MARK_REARM);
	changed = ep->ops->advance(ep);
	round_note_active(ep);
	return changed;
}

bool adma_worker_advance(struct adma_worker *worker)
{
	struct round_visit visit = {.worker = worker};

	adma_list_for_each_safe(at, after, &worker->direct) {
		struct adma_endpoint *ep = adma_container_of(at, struct adma_endpoint, direct);
		bool named = round_is_named(ep); /* before the look */

		visit.changed |= adma_endpoint_advance(ep);
		if (!named)
			continue;
		adma_tell_waits(ep, false); /* from now on the summary says whether a thread waits */
		adma_list_remove(&ep->direct);
	}
	if (!worker->summary)
		return visit.changed;
	adma_list_for_each_safe(at, after, &worker->active) {
		struct adma_endpoint *ep = adma_container_of(at, struct adma_endpoint, active);

		if (!adma_list_listed(&ep->direct))
			visit.changed |= adma_endpoint_advance(ep);
	}
	adma_summary_take(worker->summary, round_visit, &visit);
	return visit.changed;
}

/* Arm an endpoint at which nothing happened since `events` was read, unless each round looks at it anyway. */
static void round_arm_idle(struct adma_endpoint *ep, uint64_t events)
{
	if (adma_list_listed(&ep->direct) || adma_list_listed(&ep->active))
		return; /* the peer would pay for a system call that nobody needs */
	if (adma_ec_arm(&ep->connection.config.local->event_count, events))
		adma_list_remove(&ep->rearm);
}

bool adma_worker_look_at_unarmed(struct adma_worker *worker)
{
	bool changed = false;

	adma_list_for_each_safe(at, after, &worker->rearm) {
		struct adma_endpoint *ep = adma_container_of(at, struct adma_endpoint, rearm);
		uint64_t events = adma_ec_read(&ep->connection.config.local->event_count); /* before the look */

		if (adma_endpoint_advance(ep))
			changed = true;
		else
			round_arm_idle(ep, events);
	}
	return changed;
}

/* ---- questions ---- */

bool adma_worker_ready(struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker)
		if (adma_transfers_ready(ep))
			return true;
	return false;
}

bool adma_worker_needs_progress(const struct adma_worker *worker)
{
	if (worker->tags && worker->tags->long_receives)
		return true;
	adma_worker_for_each_active(ep, worker)
		if (ep->ops->needs_progress(ep))
			return true;
	return false;
}

bool adma_worker_find_message(struct adma_worker *worker)
{
	if (worker->tags)
		return worker->tags->unexpected.count;
	adma_worker_for_each(ep, worker)
		if (!adma_is_undecided(ep) && (ep->control.over || ep->ops->has_message(ep)))
			return true;
	return false;
}

bool adma_worker_has_message(const struct adma_worker *worker)
{
	if (worker->tags)
		return worker->tags->unexpected.count;
	adma_worker_for_each(ep, worker)
		if (!adma_is_undecided(ep) &&
		    (ep->control.over || ep->receive.ring.held || adma_ring_fresh(&ep->receive.ring)))
			return true;
	return false;
}

bool adma_worker_has_transfers(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker)
		if (adma_has_transfers(ep))
			return true;
	return false;
}

bool adma_worker_is_silent(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker)
		if (ep->ops->silent)
			return true;
	return false;
}

/* ---- what all endpoints share ---- */

/* Relaxed: it is a hint, which orders nothing. */
void adma_worker_tell_waits(struct adma_worker *worker, bool waits)
{
	if (worker->waits == waits)
		return;
	worker->waits = waits;
	if (worker->summary)
		atomic_store_explicit(&worker->summary->waiting, waits, memory_order_relaxed);
	adma_list_for_each_entry(ep, &worker->direct, struct adma_endpoint, direct)
		adma_tell_waits(ep, waits);
}

/* Those of many endpoints stay armed: to disarm them would cost more than the one system call that each may cost. */
void adma_worker_disarm(struct adma_worker *worker)
{
	if (worker->count > ADMA_FEW_ENDPOINTS)
		return;
	adma_worker_for_each(ep, worker) {
		adma_ec_disarm(&ep->connection.config.local->event_count);
		adma_mark(ep, ADMA_MARK_REARM);
	}
}

void adma_worker_release_for_use(struct adma_worker *worker)
{
	worker->users++;
	pthread_mutex_unlock(&worker->lock);
}

void adma_worker_retake(struct adma_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	worker->users--;
}
