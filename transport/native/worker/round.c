/* SPDX-License-Identifier: BSD-3-Clause */
/* round.c - which endpoints of a worker are looked at; see worker.h. */
#include "worker/round.h"

#include "shm/eventcount.h"
#include "worker/ready.h"

void adma_worker_init(struct adma_worker *worker)
{
	pthread_mutex_init(&worker->lock, NULL);
	adma_list_init(&worker->endpoints);
	adma_list_init(&worker->rearm);
	adma_list_init(&worker->active);
}

static void worker_note_active(struct adma_endpoint *ep)
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
	worker->count++;
	worker_note_active(ep);
	adma_mark(ep, ADMA_MARK_WAITERS | ADMA_MARK_REARM); /* its peer may have published something already */
}

void adma_worker_remove(struct adma_worker *worker, struct adma_endpoint *ep)
{
	adma_list_remove(&ep->member);
	adma_list_remove(&ep->rearm);
	adma_list_remove(&ep->active);
	worker->count--;
}

bool adma_endpoint_advance(struct adma_endpoint *ep)
{
	bool changed;

	adma_mark(ep, ADMA_MARK_REARM);
	changed = ep->ops->advance(ep);
	worker_note_active(ep);
	return changed;
}

bool adma_worker_advance(struct adma_worker *worker)
{
	bool changed = false;

	adma_worker_for_each(ep, worker) changed |= adma_endpoint_advance(ep);
	return changed;
}

bool adma_worker_ready(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker) if (adma_transfers_ready(ep)) return true;
	return false;
}

void adma_worker_tell_waits(struct adma_worker *worker, bool waits)
{
	worker->waits = waits;
	adma_worker_for_each(ep, worker) adma_tell_waits(ep, waits);
}

bool adma_worker_needs_progress(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker) if (ep->ops->needs_progress(ep)) return true;
	return false;
}

bool adma_worker_find_message(struct adma_worker *worker)
{
	adma_worker_for_each(ep, worker) if (ep->control.over || ep->ops->has_message(ep)) return true;
	return false;
}

bool adma_worker_has_transfers(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker) if (adma_has_transfers(ep)) return true;
	return false;
}

bool adma_worker_has_message(const struct adma_worker *worker)
{
	adma_worker_for_each(ep, worker) if (ep->control.over || ep->receive.ring.held ||
					     adma_ring_fresh(&ep->receive.ring)) return true;
	return false;
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

/* Those of many endpoints stay armed: to disarm them would cost more than the one system call that each may cost. */
void adma_worker_disarm(struct adma_worker *worker)
{
	if (worker->count > ADMA_FEW_ENDPOINTS)
		return;
	adma_worker_for_each(ep, worker)
	{
		adma_ec_disarm(&ep->connection.config.local->event_count);
		adma_mark(ep, ADMA_MARK_REARM);
	}
}

bool adma_worker_is_silent(const struct adma_worker *worker)
{
	adma_worker_for_each_active(ep, worker) if (ep->ops->silent) return true;
	return false;
}
