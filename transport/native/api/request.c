/* SPDX-License-Identifier: BSD-3-Clause */
/* request.c - what callers do with requests: post, supply, cancel, observe; and post and drive in one call. */
#include <errno.h>

#include "adma_notify.h"
#include "api/channel.h"
#include "api/drive.h"
#include "api/message.h"
#include "base/fault.h"
#include "progress/ownership.h"
#include "worker/request.h"

/* For how long a blocking call copies before it looks at signals. */
#define RUN_BUDGET_NS 5000000

/* These are requests of a blocking call, which cannot have been freed yet. */
static bool requests_are_done(struct adma_req **reqs, int n)
{
	for (int i = 0; i < n; i++)
		if (reqs[i]->state != ADMA_DONE_STATE)
			return false;
	return true;
}

/* Queue the requests in order, all or none. 0; -ADMA_E_FULL; or why the channel is terminated. */
static int requests_enqueue(struct adma_endpoint *ep, struct adma_req **reqs, int n)
{
	int rc;

	(void)adma_note_peer_closed(ep);
	rc = -ADMA_FAULT(ADMA_FAULT_POST);
	if (!rc)
		rc = adma_requests_admit(ep, reqs, n);
	if (rc)
		return rc;
	for (int i = 0; i < n; i++)
		adma_request_enqueue(ep, reqs[i]);
	return 0;
}

static int requests_post(struct adma_chan *chan, struct adma_req **reqs, int n, uint8_t flags)
{
	bool blocking = !n || flags & ADMA_REQ_BLOCKING, tell = flags & ADMA_REQ_TELL;
	struct adma_endpoint *ep = &chan->ep;
	int rc = requests_enqueue(ep, reqs, n);

	if (rc)
		return rc;
	if (blocking)
		adma_ownership_announce(&chan->progress);
	(void)adma_endpoint_advance(ep);
	for (int i = 0; i < n && tell; i++)
		(void)adma_request_tell(reqs[i]);
	/* A blocking call whose requests are done already will not own the channel, although it has announced that. */
	if (!blocking || requests_are_done(reqs, n))
		adma_ownership_hand_over(&chan->progress);
	return 0;
}

int adma_post(struct adma_chan *chan, struct adma_req **reqs, int n)
{
	/* Read before the post, because a request that is done may be freed. A blocking call will own the channel. */
	uint8_t flags = n ? reqs[0]->flags : 0;
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = requests_post(chan, reqs, n, flags);
	adma_publish_and_leave_untold(&chan->progress);
	return rc;
}

int adma_post_one(struct adma_chan *chan, struct adma_req *req)
{
	return adma_post(chan, &req, 1);
}

int adma_try_post_one(struct adma_chan *chan, struct adma_req *req)
{
	uint8_t flags = req->flags; /* as in adma_post() */
	int rc = adma_try_enter(chan);

	if (rc)
		return rc;
	rc = requests_post(chan, &req, 1, flags);
	adma_publish_and_leave_untold(&chan->progress);
	return rc;
}

int64_t adma_run(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n)
{
	int rc;

	req->address = p;
	req->length = n;
	req->total = n;
	req->state = ADMA_IDLE_STATE;
	if (!req->is_read && adma_wants_bulk(chan, n))
		return -ADMA_E_BULK;
	rc = adma_enter(chan);
	if (rc)
		return rc;
	rc = requests_enqueue(&chan->ep, &req, 1);
	if (rc) {
		adma_publish_and_leave_untold(&chan->progress);
		return rc;
	}
	/* It is posted: until it is done the result is PENDING, even if another thread closes the channel. */
	if (adma_drive_posted(chan, req, RUN_BUDGET_NS) != ADMA_READY)
		return -ADMA_E_PENDING;
	if (!req->observed)
		adma_observe(chan, req);
	adma_set_needed(req->needed);
	return req->error ? -req->error : (int64_t)req->done_bytes;
}

uint32_t adma_limit_pending(struct adma_chan *chan, uint32_t limit)
{
	uint32_t before;

	if (adma_enter(chan))
		return 0;
	before = chan->ep.pending_max;
	chan->ep.pending_max = limit;
	adma_leave(chan);
	return before;
}

int adma_supply(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	if (chan->ep.control.draining) {
		rc = -ADMA_E_CLOSED_HERE;
	} else if (req->state != ADMA_NEED_STATE || n < req->need_length) {
		rc = -EINVAL;
	} else {
		bool posted = req->flags & ADMA_REQ_TELL; /* read before: a request that is done may be freed */

		adma_request_supply(&chan->ep, req, p, n);
		(void)adma_endpoint_advance(&chan->ep);
		if (posted) /* nobody waits for it */
			adma_ownership_hand_over(&chan->progress);
	}
	adma_publish_and_leave(chan);
	return rc;
}

static bool request_cancel(struct adma_endpoint *ep, struct adma_req *req)
{
	switch (req->state) {
	case ADMA_QUEUED_STATE:
	case ADMA_NEED_STATE:
		adma_drop_queued_parts(ep, req, ADMA_E_CANCELLED);
		adma_request_dequeue(ep, req);
		break;
	case ADMA_POSTED_STATE:
		if (!ep->ops->cancel(ep, req))
			return false;
		break;
	default:
		return false;
	}
	adma_complete(ep, req, ADMA_E_CANCELLED, 0);
	return true;
}

int adma_cancel(struct adma_chan *chan, struct adma_req *req)
{
	int won;

	if (adma_enter(chan))
		return 0;
	won = request_cancel(&chan->ep, req);
	(void)adma_endpoint_advance(&chan->ep); /* take note of a match that won, or let the next requests move up */
	adma_ownership_hand_over(
		&chan->progress); /* if the cancel came too late, nobody may be waiting for the request */
	adma_publish_and_leave(chan);
	return won;
}

int adma_tell(struct adma_chan *chan, struct adma_req *req)
{
	bool pending;

	if (adma_enter(chan))
		return 1; /* the close completes all requests */
	if (req->state != ADMA_DONE_STATE)
		req->flags |= ADMA_REQ_TELL;
	pending = adma_request_tell(req);
	adma_leave(chan);
	return !pending;
}

int adma_notify(struct adma_chan *chan, struct adma_req *req)
{
	bool pending;

	if (adma_enter(chan))
		return 1; /* the close completes all requests */
	pending = adma_request_notify(req);
	adma_leave(chan);
	return !pending;
}

void adma_refresh(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_enter(chan))
		return;
	if (chan->ep.ops->refresh)
		chan->ep.ops->refresh(&chan->ep, req);
	adma_leave(chan);
}

uint64_t adma_remainder(struct adma_chan *chan, struct adma_req **reqs, int n)
{
	uint64_t left;

	if (adma_enter(chan))
		return 0;
	left = chan->ep.ops->remainder(&chan->ep, reqs, n);
	adma_leave(chan);
	return left;
}

uint32_t adma_peer_reads(struct adma_chan *chan)
{
	uint32_t reads;

	if (adma_enter(chan))
		return 0;
	reads = adma_reads_of_peer(&chan->ep);
	adma_leave(chan);
	return reads;
}

void adma_tell_times(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_enter(chan))
		return;
	if (chan->ep.ops->tell_times)
		chan->ep.ops->tell_times(&chan->ep, req);
	adma_leave(chan);
}

void adma_observe(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_enter(chan))
		return;
	adma_request_observe(&chan->ep, req);
	adma_publish_and_leave_untold(&chan->progress);
}

int adma_try_observe(struct adma_chan *chan, struct adma_req *req)
{
	int rc = adma_try_enter(chan);

	if (rc)
		return rc == -ADMA_E_BUSY ? rc : 0;
	adma_request_observe(&chan->ep, req);
	adma_publish_and_leave_untold(&chan->progress);
	return 0;
}
