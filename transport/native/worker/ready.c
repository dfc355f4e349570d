/* SPDX-License-Identifier: BSD-3-Clause */
/* ready.c - readiness of transfers; see ready.h. */
#include "worker/ready.h"

#include <poll.h>

#include "worker/transfer_lists.h"

bool adma_transfer_ready(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	struct adma_slot_result r;

	if (!t->mechanism || !t->chunks || ep->control.over)
		return false;
	if (adma_transfer_is_shared(t))
		return t->mechanism->able(&ep->connection, t->span.outbound) && !adma_slot_look(t->slot, t->gen, &r) &&
		       !r.closed;
	if (!adma_transfer_is_next(ep, t))
		return false;
	if (t->mechanism->ready)
		return t->mechanism->ready(&ep->connection, &t->span, t->at);
	return ep->control.data_ended && adma_transfer_is_polled(t);
}

bool adma_transfers_ready(struct adma_endpoint *ep)
{
	struct adma_transfer_lists *lists = &ep->transfers;

	if (ep->control.over)
		return false;
	adma_list_for_each(at, &lists->heads) {
		const struct adma_transfer *t = adma_transfer_of_movable(at);

		if (!t->busy && adma_transfer_ready(ep, t))
			return true;
	}
	adma_list_for_each_safe(at, after, &lists->open) {
		struct adma_transfer *t = adma_transfer_of_movable(at);

		if (!adma_transfer_ready(ep, t))
			adma_transfer_shut(t); /* the peer has claimed what was left, or has spoilt its words */
		else if (!t->busy)
			return true;
	}
	return false;
}

short adma_transfers_events(const struct adma_endpoint *ep, int fd)
{
	short events = 0;

	if (ep->control.data_ended)
		return 0; /* what waits for it is ready */
	adma_list_for_each(at, &ep->transfers.heads) {
		const struct adma_transfer *t = adma_transfer_of_movable(at);

		if (adma_transfer_is_polled(t) && t->mechanism->pollfd(&ep->connection) == fd &&
		    adma_transfer_is_next(ep, t))
			events |= t->span.outbound && !t->mechanism->stop ? POLLOUT : POLLIN;
	}
	return events;
}

void adma_transfers_note_polled(struct adma_endpoint *ep, short revents)
{
	if (!(revents & (POLLHUP | POLLERR)) || ep->control.data_ended)
		return;
	ep->control.data_ended = true;
	adma_mark(ep, ADMA_MARK_REARM); /* which transfers are ready has changed */
}

bool adma_transfers_polled(const struct adma_endpoint *ep)
{
	return ep->transfers.polled > 0;
}
