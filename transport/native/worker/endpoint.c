/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.c - what both kinds of endpoints share: termination, and hints in the segments. */
#include "worker/endpoint.h"

#include "shm/summary.h"

void adma_terminate(struct adma_endpoint *ep, int why)
{
	if (ep->control.over)
		return;
	ep->control.over = why;
	adma_mark(ep, ADMA_MARK_WAITERS | ADMA_MARK_REARM);
	/* It has to be looked at once more, also if its event count is armed, or seems to be. */
	if (!adma_list_listed(&ep->rearm))
		adma_list_push_back(&ep->worker->rearm, &ep->rearm);
}

bool adma_peer_closed(const struct adma_endpoint *ep)
{
	/* Acquire: a thread that sees this sees what the peer published before it closed. */
	return atomic_load_explicit(&ep->connection.config.remote->closed, memory_order_acquire) != 0;
}

bool adma_note_peer_closed(struct adma_endpoint *ep)
{
	if (ep->control.over || !adma_peer_closed(ep))
		return false;
	adma_terminate(ep, ADMA_E_CLOSED);
	return true;
}

/* Relaxed, here and below: it is a hint, which orders nothing. */
bool adma_peer_waits(const struct adma_endpoint *ep)
{
	struct adma_summary *summary = atomic_load_explicit(&ep->summary, memory_order_acquire);

	return atomic_load_explicit(&ep->connection.config.remote->waiting, memory_order_relaxed) ||
	       (summary && atomic_load_explicit(&summary->waiting, memory_order_relaxed));
}

void adma_tell_waits(struct adma_endpoint *ep, bool waits)
{
	if (ep->control.waits == waits)
		return;
	ep->control.waits = waits;
	atomic_store_explicit(&ep->connection.config.local->waiting, waits, memory_order_relaxed);
}

void adma_endpoint_release_for_use(struct adma_endpoint *ep)
{
	ep->control.users++;
	pthread_mutex_unlock(&ep->worker->lock);
}

void adma_endpoint_retake(struct adma_endpoint *ep)
{
	pthread_mutex_lock(&ep->worker->lock);
	ep->control.users--;
}
