/* SPDX-License-Identifier: BSD-3-Clause */
/* ready.c - readiness of transfers; see ready.h. */
#include "worker/ready.h"

#include <poll.h>

bool adma_transfer_is_next(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	if (t->busy || t->at == t->span.length)
		return false;
	if (t->span.outbound)
		return ep->send.base[t->mechanism_id] == t->span.base;
	for (const struct adma_list *at = t->link.prev; at != &ep->transfers; at = at->prev) {
		const struct adma_transfer *before = adma_container_of(at, struct adma_transfer, link);

		if (!before->span.outbound && before->mechanism_id == t->mechanism_id &&
		    before->at < before->span.length)
			return false;
	}
	return true;
}

void adma_transfer_pass_stream(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	if (t->span.outbound && adma_transfer_is_stream(t) && ep->send.base[t->mechanism_id] == t->span.base)
		ep->send.base[t->mechanism_id] = t->span.base + t->chunks;
}

bool adma_transfer_ready(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	struct adma_slot_result r;

	if (!t->mechanism || !t->chunks || ep->control.over)
		return false;
	if (adma_transfer_is_shared(t))
		return t->mechanism->able(&ep->connection, t->span.outbound) && !adma_slot_look(t->slot, t->gen, &r) &&
		       !r.closed;
	return t->mechanism->ready && adma_transfer_is_next(ep, t) &&
	       t->mechanism->ready(&ep->connection, &t->span, t->at);
}

bool adma_transfers_ready(const struct adma_endpoint *ep)
{
	adma_list_for_each(at, &ep->transfers) {
		const struct adma_transfer *t = adma_transfer_of(at);

		if (!t->busy && adma_transfer_ready(ep, t))
			return true;
	}
	return false;
}

short adma_transfers_events(const struct adma_endpoint *ep, int fd)
{
	short events = 0;

	adma_list_for_each(at, &ep->transfers) {
		const struct adma_transfer *t = adma_transfer_of(at);

		if (adma_transfer_is_polled(t) && t->mechanism->pollfd(&ep->connection) == fd &&
		    adma_transfer_is_next(ep, t))
			events |= t->span.outbound ? POLLOUT : POLLIN;
	}
	return events;
}

bool adma_transfers_polled(const struct adma_endpoint *ep)
{
	adma_list_for_each(at, &ep->transfers)
		if (adma_transfer_is_polled(adma_transfer_of(at)))
			return true;
	return false;
}
