/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.c - what both kinds of endpoints share: termination, and hints in the segments. */
#include "worker/endpoint.h"

#include "shm/summary.h"

/* The peer stored these words before it closed. They speak of its own messages, and can spoil no others. */
static void endpoint_note_loss(struct adma_endpoint *ep)
{
	const struct adma_segment *remote = ep->connection.config.remote;

	ep->receive.peer_lost = atomic_load_explicit(&remote->withdrawn, memory_order_relaxed);
	ep->receive.peer_posted = atomic_load_explicit(&remote->posted, memory_order_relaxed);
}

void adma_terminate(struct adma_endpoint *ep, int why)
{
	if (ep->control.over)
		return;
	ep->control.over = why;
	if (why == ADMA_E_CLOSED)
		endpoint_note_loss(ep);
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

bool adma_note_peer_ending(struct adma_endpoint *ep)
{
	/* Relaxed: the word says only that the peer matches no more. What it matched before, the slots tell. */
	if (ep->send.ended || !atomic_load_explicit(&ep->connection.config.remote->ending, memory_order_relaxed))
		return false;
	ep->send.ended = true;
	adma_mark(ep, ADMA_MARK_WAITERS | ADMA_MARK_REARM);
	return true;
}

int adma_send_error(const struct adma_endpoint *ep)
{
	if (ep->control.over && ep->control.over != ADMA_E_CLOSED)
		return ep->control.over;
	return ep->control.over || ep->send.ended ? ADMA_E_ENDED : 0;
}

int adma_receive_error(const struct adma_endpoint *ep)
{
	if (ep->control.draining)
		return ADMA_E_CLOSED_HERE;
	if (ep->control.over != ADMA_E_CLOSED)
		return ep->control.over;
	return ep->receive.hole || ep->receive.peer_lost ? ADMA_E_LOST : ADMA_E_CLOSED;
}

bool adma_is_undecided(const struct adma_endpoint *ep)
{
	return ep->ops->ring && ep->control.over == ADMA_E_CLOSED && ep->receive.pending > ep->receive.reads.count;
}

void adma_note_lost(struct adma_endpoint *ep, uint16_t kind, uint64_t bytes)
{
	if (kind == ADMA_PART)
		return;
	ep->send.lost++;
	ep->send.lost_bytes += bytes;
}

void adma_note_lost_request(struct adma_endpoint *ep, const struct adma_req *req)
{
	adma_note_lost(ep, req->kind, req->total > req->length ? req->total : req->length);
}

void adma_note_lost_slot(struct adma_endpoint *ep, const struct adma_req *req, uint32_t slot_index)
{
	ep->send.slots.own[slot_index].lost = true;
	adma_note_lost_request(ep, req);
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

void adma_tell_reads(struct adma_endpoint *ep)
{
	const struct adma_receive_side *receive = &ep->receive;

	atomic_store_explicit(&ep->connection.config.local->reads,
			      receive->reads.count + receive->probes + receive->shown, memory_order_relaxed);
}

void adma_note_shown(struct adma_endpoint *ep)
{
	ep->receive.shown = true;
	adma_tell_reads(ep);
}

uint32_t adma_reads_of_peer(const struct adma_endpoint *ep)
{
	return atomic_load_explicit(&ep->connection.config.remote->reads, memory_order_relaxed);
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
