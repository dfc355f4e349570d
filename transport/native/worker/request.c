/* SPDX-License-Identifier: BSD-3-Clause */
/* request.c - a request from its queue to its completion. */
#include "worker/request.h"

#include "base/fault.h"
#include "base/holds.h"
#include "base/notify.h"
#include "base/trace.h"
#include "worker/select.h"
#include "worker/stages.h"

int adma_requests_admit(const struct adma_endpoint *ep, struct adma_req **reqs, int n)
{
	uint32_t reads = ep->receive.pending, writes = ep->send.pending;
	int error = adma_send_error(ep);

	if (ep->control.draining)
		return -ADMA_E_CLOSED_HERE;
	for (int i = 0; i < n; i++) {
		uint32_t *count = reqs[i]->is_read ? &reads : &writes;
		bool counts = reqs[i]->kind != ADMA_PART && !(reqs[i]->flags & ADMA_REQ_BLOCKING);

		if (++*count > ep->pending_max && counts)
			return -ADMA_E_FULL;
		/* After a termination no write can be sent, but a read may still find what was published. */
		if (!reqs[i]->is_read && error)
			return -error;
	}
	return 0;
}

/*
 * Count a read by whether its message may need our help. An open read needs it if nobody waits for it: to ask for its
 * buffer. One of a blocking call stops at the match in any case.
 */
static void request_count_unmatched(struct adma_endpoint *ep, struct adma_req *req)
{
	bool open = req->flags & ADMA_REQ_OPEN;

	if (open && !(req->flags & ADMA_REQ_TELL))
		return;
	if (open || adma_takes_slot(ep, req->length)) {
		req->flags |= ADMA_REQ_LONG;
		ep->receive.long_reads++;
	} else {
		req->flags |= ADMA_REQ_SHORT;
		ep->receive.short_reads++;
		ep->receive.short_bytes += req->length;
	}
}

static void request_uncount_unmatched(struct adma_endpoint *ep, struct adma_req *req)
{
	if (req->flags & ADMA_REQ_LONG)
		ep->receive.long_reads--;
	if (req->flags & ADMA_REQ_SHORT) {
		ep->receive.short_reads--;
		ep->receive.short_bytes -= req->length;
	}
	req->flags &= (uint8_t)~(ADMA_REQ_LONG | ADMA_REQ_SHORT);
}

void adma_request_start(struct adma_req *req)
{
	req->error = 0;
	req->done_bytes = 0;
	req->transfer = NULL;
	req->mechanism = 0;
	req->held = 0;
	req->refused = 0;
	req->need_parts = 0;
	adma_hold_init(&req->hold);
	req->times = (struct adma_req_times){0};
	req->flags &= (uint8_t)~(ADMA_REQ_LONG | ADMA_REQ_SHORT);
	adma_stamp(req, &req->times.posted);
	adma_trace_moment(ADMA_TRACE_POST, req, req->length, req->is_read, 0);
	__atomic_store_n(&req->state, ADMA_QUEUED_STATE, __ATOMIC_RELEASE);
}

void adma_request_enqueue(struct adma_endpoint *ep, struct adma_req *req)
{
	adma_request_start(req);
	if (ep->ops->enqueue)
		ep->ops->enqueue(ep, req);
	if (req->is_read) {
		ep->receive.pending++;
		request_count_unmatched(ep, req);
		adma_stamp(req, &req->times.published);
		adma_posted_add(&ep->receive.reads, &req->posted, ADMA_CHANNEL_SOURCE, adma_channel_tag(req->kind),
				ADMA_WHOLE_TAG);
		ep->receive.shown = false; /* the read stands for it */
		adma_tell_reads(ep);
	} else {
		ep->send.pending++;
		ep->send.posted += req->kind != ADMA_PART;
		adma_req_queue_push(&ep->send.backlog, req);
	}
}

void adma_request_dequeue(struct adma_endpoint *ep, struct adma_req *req)
{
	if (req->is_read) {
		adma_posted_remove(&ep->receive.reads, &req->posted);
		adma_tell_reads(ep);
	} else {
		adma_req_queue_remove(&ep->send.backlog, req);
	}
}

void adma_drop_queued_parts(struct adma_endpoint *ep, struct adma_req *object, int error)
{
	struct adma_list *at = object->link.next;

	if (object->is_read || object->kind != ADMA_OBJECT)
		return;
	for (uint32_t i = 0; i < object->parts && at != &ep->send.backlog.list; i++) {
		struct adma_req *part = adma_req_of(at);

		at = at->next;
		adma_request_dequeue(ep, part);
		adma_complete(ep, part, error, 0);
	}
}

static void request_count_done(struct adma_endpoint *ep, const struct adma_req *req, int error, uint64_t nbytes)
{
	if (req->is_read) {
		ep->receive.pending--;
		if (!error)
			ep->stats.reads++, ep->stats.bytes_in += nbytes;
	} else {
		ep->send.pending--;
		if (!error)
			ep->stats.writes++, ep->stats.bytes_out += nbytes;
		if (error == ADMA_E_CANCELLED && req->kind != ADMA_PART)
			ep->send.posted--;
	}
}

/* The counter to which a completed request belongs until a caller has looked at it. */
static uint32_t *request_unobserved(struct adma_worker *worker, const struct adma_req *req)
{
	/* A call that waits for an object receives it later. Of one that was posted, somebody has a request. */
	bool of_object =
		req->is_read && !(req->flags & ADMA_REQ_TELL) && (req->kind == ADMA_OBJECT || req->kind == ADMA_PART);

	return of_object ? &worker->unreceived : &worker->unobserved;
}

void adma_request_finish(struct adma_worker *worker, struct adma_req *req, int error, uint64_t nbytes)
{
	bool notifies = adma_hold_notifies(&req->hold);

	req->error = error;
	req->done_bytes = error ? 0 : nbytes;
	if (!(req->flags & ADMA_REQ_DROPPED)) {
		req->observed = 0;
		++*request_unobserved(worker, req);
	}
	adma_trace_moment(ADMA_TRACE_COMPLETE, req, req->done_bytes, (uint64_t)error, 0);
	adma_stamp(req, &req->times.ended);
	adma_hold_complete(&req->hold);
	/* The state is stored last: a thread that sees DONE sees the result, and may free the request. */
	__atomic_store_n(&req->state, ADMA_DONE_STATE, __ATOMIC_RELEASE);
	if (notifies)
		adma_notify_completion();
	worker->marks |= ADMA_MARK_WAITERS | ADMA_MARK_REARM;
}

void adma_complete(struct adma_endpoint *ep, struct adma_req *req, int error, uint64_t nbytes)
{
	request_uncount_unmatched(ep, req);
	request_count_done(ep, req, error, nbytes);
	adma_mark(ep, ADMA_MARK_REARM);
	adma_request_finish(ep->worker, req, error, nbytes);
}

void adma_request_ask(struct adma_endpoint *ep, struct adma_req *req, uint64_t total, uint64_t length, uint32_t parts)
{
	bool notifies = adma_hold_notifies(&req->hold);

	request_uncount_unmatched(ep, req);
	req->needed = total;
	req->need_length = length;
	req->need_parts = parts;
	adma_hold_complete(&req->hold); /* told, and in this order, as in adma_request_finish() */
	__atomic_store_n(&req->state, ADMA_NEED_STATE, __ATOMIC_RELEASE);
	if (notifies)
		adma_notify_completion();
	adma_mark(ep, ADMA_MARK_WAITERS | ADMA_MARK_REARM);
}

void adma_request_supply(struct adma_endpoint *ep, struct adma_req *req, void *p, uint64_t n)
{
	req->address = p;
	req->length = n;
	req->flags &= (uint8_t)~ADMA_REQ_OPEN;
	if (req->flags & ADMA_REQ_TELL)
		request_count_unmatched(ep, req);
	__atomic_store_n(&req->state, ADMA_QUEUED_STATE, __ATOMIC_RELEASE);
	adma_mark(ep, ADMA_MARK_REARM); /* a descriptor may be readable for this request alone */
}

void adma_request_refuse(struct adma_endpoint *ep, struct adma_req *req, int error, uint64_t needed)
{
	req->needed = needed;
	adma_request_dequeue(ep, req);
	adma_complete(ep, req, error, 0);
}

void adma_request_note_observed(struct adma_worker *worker, struct adma_req *req)
{
	if (req->observed || req->flags & ADMA_REQ_DROPPED)
		return;
	req->observed = 1;
	--*request_unobserved(worker, req);
	worker->marks |= ADMA_MARK_REARM; /* fileno() may be readable for this request alone */
}

void adma_request_observe(struct adma_endpoint *ep, struct adma_req *req)
{
	if (req->state != ADMA_DONE_STATE) {
		req->flags |= ADMA_REQ_DROPPED;
		return;
	}
	adma_stages_seen(req, &ep->stats);
	adma_request_note_observed(ep->worker, req);
}

bool adma_request_tell(struct adma_req *req)
{
	if (req->state == ADMA_DONE_STATE)
		return false;
	if (req->flags & ADMA_REQ_TELL)
		adma_hold_want(&req->hold);
	return true;
}

bool adma_request_notify(struct adma_req *req)
{
	if (req->state == ADMA_DONE_STATE)
		return false;
	adma_hold_notify(&req->hold);
	return true;
}

/* A fault point failed the publication of a write: complete it, and its parts with it. */
static void request_fail_publication(struct adma_endpoint *ep, struct adma_req *req, int error)
{
	adma_drop_queued_parts(ep, req, error);
	adma_request_dequeue(ep, req);
	if (ep->ops->drop_parts)
		ep->ops->drop_parts(ep, req, error);
	adma_complete(ep, req, error, 0);
}

bool adma_flush(struct adma_endpoint *ep)
{
	bool out = false;

	for (;;) {
		struct adma_req *req = adma_req_queue_first(&ep->send.backlog);
		int fault, rc;

		if (!req || adma_send_error(ep))
			break;
		fault = ADMA_FAULT(ADMA_FAULT_PUBLISH);
		if (fault) {
			request_fail_publication(ep, req, fault);
			continue;
		}
		rc = ep->ops->post(ep, req);
		if (rc < 0)
			adma_terminate(ep, ADMA_E_PROTOCOL);
		if (rc <= 0)
			break;
		out = true;
	}
	if (out)
		ep->ops->published(ep);
	return out;
}

void adma_fail_reads(struct adma_endpoint *ep, int error)
{
	for (struct adma_req *req; (req = adma_first_read(&ep->receive.reads));) {
		adma_request_dequeue(ep, req);
		adma_complete(ep, req, error, 0);
	}
}

void adma_fail_backlog(struct adma_endpoint *ep, int error)
{
	for (struct adma_req *req; (req = adma_req_queue_first(&ep->send.backlog));) {
		adma_request_dequeue(ep, req);
		if (error == ADMA_E_CLOSED_HERE)
			adma_note_lost_request(ep, req);
		adma_complete(ep, req, error, 0);
	}
}
