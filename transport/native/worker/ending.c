/* SPDX-License-Identifier: BSD-3-Clause */
/* ending.c - an orderly end; see ending.h. */
#include "worker/ending.h"

#include "worker/peer.h"
#include "worker/ring_send.h"
#include "worker/round.h"

void adma_ending_begin(struct adma_endpoint *ep)
{
	if (ep->control.draining)
		return;
	(void)adma_endpoint_advance(ep); /* what has come by now still meets the reads that wait for it */
	ep->control.draining = true;
	ep->ops->stop_reading(ep);
	/* Relaxed: see adma_note_peer_ending(). */
	atomic_store_explicit(&ep->connection.config.local->ending, 1, memory_order_relaxed);
	adma_signal_peer(ep);
	adma_mark(ep, ADMA_MARK_WAITERS | ADMA_MARK_REARM);
}

bool adma_ending_is_drained(const struct adma_endpoint *ep)
{
	return ep->control.over || (!ep->send.pending && !ep->ops->is_busy(ep));
}

void adma_ending_tell_closed(struct adma_endpoint *ep)
{
	struct adma_segment *local = ep->connection.config.local;

	if (ep->ops->ring && ep->send.lost)
		adma_ring_note_cut_off(ep);
	atomic_store_explicit(&local->posted, ep->send.posted, memory_order_relaxed);
	atomic_store_explicit(&local->withdrawn, ep->send.lost, memory_order_relaxed);
	/* Release: a peer that sees this sees these words, and all that was published or taken back before. */
	atomic_store_explicit(&local->closed, 1, memory_order_release);
	adma_signal_peer(ep);
}
