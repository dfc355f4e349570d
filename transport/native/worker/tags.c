/* SPDX-License-Identifier: BSD-3-Clause */
/* tags.c - receives and messages meet by source and tag; see tags.h. */
#include "worker/tags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "shm/slot.h"
#include "worker/arrived.h"
#include "worker/eager_limit.h"
#include "worker/peer.h"
#include "worker/request.h"
#include "worker/stages.h"
#include "worker/transfers.h"

/* ---- life ---- */

int adma_tags_make(struct adma_worker *worker, uint64_t secret)
{
	struct adma_tags *tags = calloc(1, sizeof(*tags));

	if (!tags)
		return -ENOMEM;
	adma_posted_init(&tags->posted, secret);
	adma_unexpected_init(&tags->unexpected, secret);
	adma_list_init(&tags->orphans);
	worker->tags = tags;
	return 0;
}

void adma_tags_free(struct adma_worker *worker)
{
	struct adma_tags *tags = worker->tags;

	adma_arrived_free_taken(&tags->orphans);
	adma_posted_free(&tags->posted);
	adma_unexpected_free(&tags->unexpected);
	free(tags->by_number);
	free(tags);
}

int adma_tags_number(struct adma_worker *worker, struct adma_endpoint *ep)
{
	struct adma_tags *tags = worker->tags;
	/* The capacity is the next power of two, so that it grows when the count is one. */
	bool full = !(tags->numbers & (tags->numbers - 1));
	uint32_t capacity = tags->numbers ? 2 * tags->numbers : 1;
	struct adma_endpoint **grown;

	if (full) {
		grown = realloc(tags->by_number, capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		tags->by_number = grown;
	}
	ep->number = tags->numbers;
	tags->by_number[tags->numbers++] = ep;
	adma_unexpected_source_init(&ep->receive.arrived, ep->number);
	return 0;
}

struct adma_endpoint *adma_tags_endpoint(const struct adma_worker *worker, uint32_t number)
{
	return number < worker->tags->numbers ? worker->tags->by_number[number] : NULL;
}

/* ---- posted receives ---- */

static struct adma_req *tags_receive_of(struct adma_posted_entry *entry)
{
	return adma_container_of(entry, struct adma_req, posted);
}

/* Does it take its message whole? Then it has no buffer. */
static bool tags_takes(const struct adma_req *req)
{
	return req->flags & ADMA_REQ_TAKE;
}

/* May its message need our help? One that takes its message copies nothing. */
static bool tags_is_long(const struct adma_req *req)
{
	return req->length > ADMA_EAGER_MAX && !tags_takes(req);
}

static void tags_post(struct adma_tags *tags, struct adma_req *req)
{
	adma_posted_add(&tags->posted, &req->posted, req->source, req->tag, req->mask);
	tags->long_receives += tags_is_long(req);
}

static void tags_unpost(struct adma_tags *tags, struct adma_req *req)
{
	adma_posted_remove(&tags->posted, &req->posted);
	tags->long_receives -= tags_is_long(req);
}

void adma_tags_complete(struct adma_worker *worker, struct adma_req *req, int error)
{
	adma_request_finish(worker, req, error, 0);
}

void adma_tags_withdraw(struct adma_worker *worker, struct adma_req *req)
{
	tags_unpost(worker->tags, req);
}

void adma_tags_fail_source(struct adma_endpoint *ep, int error)
{
	struct adma_tags *tags = ep->worker->tags;

	adma_list_for_each_safe(at, after, &tags->posted.all) {
		struct adma_req *req = adma_container_of(at, struct adma_req, posted.all);

		if (req->source != ep->number)
			continue;
		tags_unpost(tags, req);
		adma_tags_complete(ep->worker, req, error);
	}
}

/* ---- deliver ---- */

static void tags_name_message(const struct adma_offer *offer, struct adma_req *req)
{
	req->source = offer->ep->number;
	req->tag = offer->tag;
	req->needed = offer->length;
}

/*
 * The message of this offer goes to this receive. It leaves the posted queue, if it is there, before it
 * completes: a thread that sees it complete may free it.
 */
static void deliver_to(const struct adma_offer *offer, struct adma_req *req, bool posted)
{
	if (posted)
		tags_unpost(offer->ep->worker->tags, req);
	tags_name_message(offer, req);
	offer->ep->receive.pending++; /* until adma_complete() */
}

static void deliver_bytes(const struct adma_offer *offer, struct adma_req *req, bool posted)
{
	uint64_t n = offer->length < req->length ? offer->length : req->length;

	deliver_to(offer, req, posted);
	if (n)
		memcpy(req->address, offer->bytes, n);
	if (offer->buffered && posted)
		adma_eager_limit_took(offer->ep, offer->buffered);
	adma_trace_moment(ADMA_TRACE_MATCH, req, n, ADMA_MECH_NONE, 0);
	adma_stamp(req, &req->times.matched);
	adma_complete(offer->ep, req, n < offer->length ? ADMA_E_TOOLONG : 0, n);
}

/* 0; -ECANCELED: the message was withdrawn; -EPROTO. Unless 0 is returned, nothing has happened. */
static int deliver_slot(const struct adma_offer *offer, struct adma_req *req, bool posted)
{
	int error = offer->length > req->length ? ADMA_E_TOOLONG : 0;
	int rc = error ? 0 : adma_transfer_begin_read(offer->ep, req, offer->desc);

	if (rc == -ENOMEM) {
		error = ENOMEM; /* the message goes with its receive, and so its sender is told */
		rc = 0;
	}
	if (error)
		rc = adma_transfer_refuse(offer->ep, offer->desc, error);
	if (rc)
		return rc;
	deliver_to(offer, req, posted);
	if (error)
		adma_complete(offer->ep, req, error, 0);
	adma_signal_peer(offer->ep);
	return 0;
}

static int deliver(const struct adma_offer *offer, struct adma_req *req, bool posted)
{
	if (offer->desc)
		return deliver_slot(offer, req, posted);
	deliver_bytes(offer, req, posted);
	return 0;
}

/* This message, which was taken, goes to this receive. It is complete: a thread that sees that may free it. */
static void tags_hand_over(struct adma_worker *worker, struct adma_arrived *arrived, struct adma_req *req)
{
	req->source = arrived->message.source;
	req->tag = arrived->message.tag;
	req->needed = arrived->message.length;
	req->taken = arrived;
	adma_stamp(req, &req->times.matched);
	adma_tags_complete(worker, req, 0);
}

/* A posted receive takes this message whole. 0, or as adma_arrived_take() says: then nothing has happened. */
static int deliver_whole(const struct adma_offer *offer, struct adma_req *req)
{
	struct adma_worker *worker = offer->ep->worker;
	struct adma_arrived *arrived;
	int rc = adma_arrived_take(offer, &arrived);

	if (rc)
		return rc;
	tags_unpost(worker->tags, req);
	tags_hand_over(worker, arrived, req);
	return 0;
}

static bool tags_keeps(const struct adma_offer *offer, const struct adma_req *req)
{
	return offer->length > req->length && !(req->flags & ADMA_REQ_CONSUME);
}

/* A receive is too short for a message that stays. It names the message nevertheless. */
static void tags_refuse(const struct adma_offer *offer, struct adma_req *req)
{
	tags_name_message(offer, req);
	adma_tags_complete(offer->ep->worker, req, ADMA_E_TOOLONG);
}

/* ---- messages ---- */

int adma_tags_offer(const struct adma_offer *offer)
{
	struct adma_tags *tags = offer->ep->worker->tags;
	struct adma_posted_entry *entry;

	while ((entry = adma_posted_find(&tags->posted, offer->ep->number, offer->tag))) {
		struct adma_req *req = tags_receive_of(entry);

		if (tags_takes(req))
			return deliver_whole(offer, req);
		if (!tags_keeps(offer, req))
			return deliver(offer, req, true);
		tags_unpost(tags, req);
		tags_refuse(offer, req);
	}
	return adma_arrived_store(offer);
}

/* ---- receives ---- */

struct adma_arrived *adma_tags_find(struct adma_worker *worker, uint32_t source, uint64_t tag, uint64_t mask)
{
	const struct adma_endpoint *ep = source == ADMA_ANY_SOURCE ? NULL : adma_tags_endpoint(worker, source);
	struct adma_arrived *arrived;

	if (source != ADMA_ANY_SOURCE && !ep)
		return NULL;
	for (;;) {
		arrived = adma_arrived_of(
			adma_unexpected_find(&worker->tags->unexpected, ep ? &ep->receive.arrived : NULL, tag, mask));
		if (!arrived || !adma_arrived_drop_withdrawn(arrived))
			return arrived;
	}
}

/* The receive takes this message whole. False: it was withdrawn just now, and is gone. */
static bool take_arrived(struct adma_worker *worker, struct adma_arrived *arrived, struct adma_req *req)
{
	if (adma_tags_take(arrived))
		return false;
	tags_hand_over(worker, arrived, req);
	return true;
}

/* Deliver this message. False: it was withdrawn just now, and is gone. */
static bool receive_arrived(struct adma_arrived *arrived, struct adma_req *req)
{
	struct adma_endpoint *ep = arrived->ep;
	struct adma_desc desc = adma_arrived_desc(arrived);
	struct adma_offer offer = adma_arrived_offer(arrived, &desc);
	int rc;

	if (tags_keeps(&offer, req)) {
		tags_refuse(&offer, req);
		return true;
	}
	rc = deliver(&offer, req, false);
	if (rc != -ECANCELED || !adma_arrived_drop_withdrawn(arrived))
		adma_arrived_drop(arrived);
	if (rc == -EPROTO)
		adma_terminate(ep, ADMA_E_PROTOCOL);
	return !rc;
}

void adma_tags_receive(struct adma_worker *worker, struct adma_req *req)
{
	const struct adma_endpoint *ep = adma_tags_endpoint(worker, req->source);
	struct adma_arrived *arrived;

	req->taken = NULL;
	while ((arrived = adma_tags_find(worker, req->source, req->tag, req->mask)))
		if (tags_takes(req) ? take_arrived(worker, arrived, req) : receive_arrived(arrived, req))
			return;
	if (req->source != ADMA_ANY_SOURCE && (!ep || ep->receive.ended))
		adma_tags_complete(worker, req, ep ? adma_receive_error(ep) : ADMA_E_CLOSED_HERE);
	else
		tags_post(worker->tags, req);
}

int adma_tags_take(struct adma_arrived *arrived)
{
	struct adma_endpoint *ep = arrived->ep;
	int rc = 0;

	if (arrived->slot)
		rc = adma_slot_reserve(adma_arrived_slot(arrived), arrived->slot_gen);
	if (rc == -EPROTO)
		adma_terminate(ep, ADMA_E_PROTOCOL);
	if (rc) {
		if (!adma_arrived_drop_withdrawn(arrived))
			adma_arrived_drop(arrived);
		return -ECANCELED;
	}
	adma_arrived_leave(arrived);
	adma_list_push_back(&ep->receive.taken, &arrived->taken);
	return 0;
}

/* 0, or the error for the receive. A message that was reserved cannot be withdrawn. */
static int taken_deliver(const struct adma_offer *offer, struct adma_req *req)
{
	struct adma_endpoint *ep = offer->ep;

	if (offer->desc && ep->control.over) {
		/* Its bytes are lost with the peer, which may wait for us to say that we do not want them. */
		(void)adma_transfer_refuse(ep, offer->desc, ADMA_E_ENDED);
		adma_signal_peer(ep);
		ep->receive.hole |= ep->control.over == ADMA_E_CLOSED;
		return adma_receive_error(ep);
	}
	return deliver(offer, req, false) ? EPROTO : 0;
}

int adma_tags_receive_taken(struct adma_worker *worker, struct adma_arrived *arrived, struct adma_req *req)
{
	struct adma_endpoint *ep = arrived->ep;
	struct adma_desc desc = adma_arrived_desc(arrived);
	struct adma_offer offer = adma_arrived_offer(arrived, &desc);
	int rc = ADMA_E_CLOSED_HERE;

	if (tags_keeps(&offer, req)) {
		req->needed = offer.length;
		return -ADMA_E_TOOLONG;
	}
	adma_request_start(req);
	adma_list_remove(&arrived->taken);
	if (ep)
		rc = taken_deliver(&offer, req);
	if (rc)
		adma_tags_complete(worker, req, rc == EPROTO ? ADMA_E_PROTOCOL : rc);
	if (ep && rc == EPROTO)
		adma_terminate(ep, ADMA_E_PROTOCOL);
	free(arrived);
	return 0;
}
