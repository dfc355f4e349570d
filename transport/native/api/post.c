/* SPDX-License-Identifier: BSD-3-Clause */
/* post.c - requests: in by post, out by completion or cancel; small messages in one call. */
#include <errno.h>
#include <string.h>

#include "base/trace.h"
#include "worker/channel.h"
#include "worker/stages.h"

/* A blocking call copies this long before it looks at signals. */
#define RUN_BUDGET_NS 5000000

static _Thread_local struct {
	const struct adma_chan *chan;
	const void *p;
	int64_t result;
} last;
static _Thread_local uint64_t last_needed;

int64_t adma_last(const struct adma_chan *chan, const void *p)
{
	return last.chan == chan && last.p == p ? last.result : -ADMA_E_PENDING;
}

static int64_t remember(const struct adma_chan *chan, const void *p, int64_t result)
{
	last.chan = chan;
	last.p = p;
	last.result = result;
	return result;
}

uint64_t adma_needed(void)
{
	return last_needed;
}

void adma_complete(struct adma_chan *chan, struct adma_req *req, int error, uint64_t nbytes)
{
	req->error = error;
	req->done_bytes = error ? 0 : nbytes;
	if (req->flags & ADMA_REQ_LONG) {
		req->flags &= (uint8_t)~ADMA_REQ_LONG;
		chan->long_reads--;
	}
	if (req->flags & ADMA_REQ_SHORT) {
		req->flags &= (uint8_t)~ADMA_REQ_SHORT;
		chan->short_reads--;
		chan->short_bytes -= req->length;
	}
	if (req->is_read) {
		chan->reads_pending--;
		if (!error)
			chan->stats.reads++, chan->stats.bytes_in += nbytes;
	} else {
		chan->writes_pending--;
		if (!error)
			chan->stats.writes++, chan->stats.bytes_out += nbytes;
	}
	if (!(req->flags & ADMA_REQ_DROPPED)) {
		req->observed = 0;
		chan->unobserved++;
	}
	adma_trace_moment(ADMA_TRACE_COMPLETE, req, req->done_bytes, (uint64_t)error, 0);
	adma_stamp(req, &req->times.ended);
	/* Last: whoever sees DONE sees the result, and may free the request. */
	__atomic_store_n(&req->state, ADMA_DONE_STATE, __ATOMIC_RELEASE);
	adma_wake_waiters(chan);
}

void adma_observe(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_enter(chan))
		return;
	if (req->state != ADMA_DONE_STATE) {
		req->flags |= ADMA_REQ_DROPPED;
	} else {
		adma_stages_seen(req, &chan->stats);
		if (!req->observed && !(req->flags & ADMA_REQ_DROPPED))
			req->observed = 1, chan->unobserved--;
	}
	adma_leave(chan);
}

/* ---- publishing ---- */

static int free_slot(struct adma_chan *chan)
{
	if (!chan->free_slots)
		return -1;
	for (int i = 0; i < ADMA_SLOTS; i++)
		if (chan->slots[i].use == SLOT_FREE)
			return i;
	return -1;
}

static void publish_slot(struct adma_chan *chan, struct adma_req *req, struct adma_desc *desc, int index)
{
	struct own_slot *own = &chan->slots[index];
	struct adma_slot *slot = &chan->out.segment->slots[index];

	own->use = SLOT_POSTED;
	own->gen++;
	own->req = req;
	chan->free_slots--;
	chan->posted_slots++;
	slot->source = (uintptr_t)req->address;
	slot->length = req->length;
	slot->offered = adma_offer(chan);
	adma_slot_post(slot, own->gen);
	adma_stamp(req, &req->times.published);

	desc->u.slot.index = (uint32_t)index;
	desc->u.slot.gen = own->gen;
	req->slot_index = (uint32_t)index;
	req->slot_gen = own->gen;
	__atomic_store_n(&req->state, ADMA_POSTED_STATE, __ATOMIC_RELEASE);
	chan->stats.rendezvous++;
	adma_ring_put_slot(&chan->out, desc);
}

static void count_carry(struct adma_chan *chan, const struct adma_desc *desc)
{
	if (desc->carry == ADMA_INLINE)
		chan->stats.inlined++;
	else
		chan->stats.eager++;
}

/* 1: it is in the ring; 0: no room; -EPROTO. */
static int publish(struct adma_chan *chan, struct adma_req *req)
{
	struct adma_desc desc = {
		.length = req->length,
		.total = req->total > req->length ? req->total : req->length,
		.kind = req->kind,
		.parts = req->parts,
	};
	int rc = adma_ring_room(&chan->out);
	int index;

	if (rc <= 0)
		return rc;
	if (req->flags & ADMA_REQ_SLOT || adma_takes_slot(chan, req->length)) {
		/* A part that its object announced has to go out: the reader refuses it. */
		if (!adma_offer(chan) && req->kind != ADMA_PART) {
			adma_queue_remove(&chan->backlog, req);
			adma_complete(chan, req, ADMA_E_NO_MECHANISM, 0);
			return 1;
		}
		index = free_slot(chan);
		if (index < 0)
			return 0;
		adma_queue_remove(&chan->backlog, req);
		publish_slot(chan, req, &desc, index);
		return 1;
	}
	rc = adma_ring_put(&chan->out, &desc, req->address);
	if (rc <= 0)
		return rc;
	count_carry(chan, &desc);
	adma_queue_remove(&chan->backlog, req);
	adma_stamp(req, &req->times.published);
	adma_complete(chan, req, 0, req->length);
	return 1;
}

bool adma_flush(struct adma_chan *chan)
{
	bool out = false;

	while (chan->backlog.first && !chan->over) {
		int fault = ADMA_FAULT(ADMA_FAULT_PUBLISH);
		struct adma_req *req = chan->backlog.first;
		int rc;

		if (fault) {
			adma_queue_remove(&chan->backlog, req);
			if (chan->fifo)
				adma_fifo_drop_parts(chan, req, fault);
			adma_complete(chan, req, fault, 0);
			continue;
		}
		rc = chan->fifo ? adma_fifo_post(chan, req) : publish(chan, req);
		if (rc < 0)
			adma_terminate(chan, ADMA_E_PROTOCOL);
		if (rc <= 0)
			break;
		out = true;
	}
	if (out && !chan->fifo) /* else the kernel has told the peer */
		adma_signal_peer(chan);
	return out;
}

/* ---- post, supply, cancel ---- */

static int room_for(const struct adma_chan *chan, struct adma_req **reqs, int n)
{
	uint32_t reads = chan->reads_pending, writes = chan->writes_pending;

	for (int i = 0; i < n; i++) {
		uint32_t *count = reqs[i]->is_read ? &reads : &writes;

		if (++*count > ADMA_PENDING_MAX && !(reqs[i]->flags & ADMA_REQ_BLOCKING))
			return -ADMA_E_FULL;
		/* A write has nowhere to go after the end; a read may still find what was published. */
		if (!reqs[i]->is_read && chan->over)
			return -chan->over;
	}
	return 0;
}

/* An open read stops at its match: what comes then is its caller's. */
static void count_unmatched(struct adma_chan *chan, struct adma_req *req)
{
	if (req->flags & ADMA_REQ_OPEN)
		return;
	if (adma_takes_slot(chan, req->length)) {
		req->flags |= ADMA_REQ_LONG;
		chan->long_reads++;
	} else {
		req->flags |= ADMA_REQ_SHORT;
		chan->short_reads++;
		chan->short_bytes += req->length;
	}
}

static void queue(struct adma_chan *chan, struct adma_req *req)
{
	req->error = 0;
	req->done_bytes = 0;
	req->transfer = NULL;
	req->mechanism = 0;
	req->held = 0;
	req->need_parts = 0;
	req->times = (struct adma_req_times){0};
	adma_stamp(req, &req->times.posted);
	if (chan->fifo)
		adma_fifo_number(chan, req);
	adma_trace_moment(ADMA_TRACE_POST, req, req->length, req->is_read, 0);
	__atomic_store_n(&req->state, ADMA_QUEUED_STATE, __ATOMIC_RELEASE);
	req->flags &= (uint8_t)~(ADMA_REQ_LONG | ADMA_REQ_SHORT);
	if (req->is_read) {
		chan->reads_pending++;
		count_unmatched(chan, req);
		adma_stamp(req, &req->times.published);
		adma_queue_push(&chan->reads, req);
	} else {
		chan->writes_pending++;
		adma_queue_push(&chan->backlog, req);
	}
}

/* Of a blocking call, which owns them: nobody has freed one. */
static bool all_done(struct adma_req **reqs, int n)
{
	for (int i = 0; i < n; i++)
		if (reqs[i]->state != ADMA_DONE_STATE)
			return false;
	return true;
}

int adma_post(struct adma_chan *chan, struct adma_req **reqs, int n)
{
	/* Before the post: what is done may be freed. A blocking call attends in a moment. */
	bool waits = n && !(reqs[0]->flags & ADMA_REQ_BLOCKING);
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	if (adma_peer_closed(chan))
		adma_terminate(chan, ADMA_E_CLOSED);
	rc = -ADMA_FAULT(ADMA_FAULT_POST);
	if (!rc)
		rc = room_for(chan, reqs, n);
	if (!rc) {
		for (int i = 0; i < n; i++)
			queue(chan, reqs[i]);
		if (!waits)
			adma_announce_owner(chan);
		(void)adma_advance(chan);
		/* A blocking call that is over already will not attend, having announced it. */
		if (waits || all_done(reqs, n))
			adma_hand_over(chan);
	}
	adma_leave(chan);
	return rc;
}

int adma_post_one(struct adma_chan *chan, struct adma_req *req)
{
	return adma_post(chan, &req, 1);
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
	rc = adma_post_one(chan, req);
	if (rc)
		return rc;
	/* Posted: until it is done nothing else may be said, also when another thread closes. */
	if (adma_drive_one(chan, req, -1, RUN_BUDGET_NS) != ADMA_READY)
		return -ADMA_E_PENDING;
	adma_observe(chan, req);
	last_needed = req->needed;
	return req->error ? -req->error : (int64_t)req->done_bytes;
}

int adma_supply(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	if (req->state != ADMA_NEED_STATE || n < req->need_length) {
		rc = -EINVAL;
	} else {
		req->address = p;
		req->length = n;
		req->flags &= (uint8_t)~ADMA_REQ_OPEN;
		__atomic_store_n(&req->state, ADMA_QUEUED_STATE, __ATOMIC_RELEASE);
		(void)adma_advance(chan);
	}
	adma_leave(chan);
	return rc;
}

bool adma_withdraw(struct adma_chan *chan, struct adma_req *req)
{
	struct own_slot *own = &chan->slots[req->slot_index];
	struct adma_slot *slot = &chan->out.segment->slots[req->slot_index];
	int rc = adma_slot_cancel(slot, req->slot_gen);

	if (rc == -EBUSY)
		return false;
	if (rc) /* the peer spoilt the word: the slot is not used again, the channel is over */
		adma_terminate(chan, ADMA_E_PROTOCOL);
	own->use = SLOT_LINGERS;
	own->req = NULL;
	chan->posted_slots--;
	chan->lingering_slots++;
	adma_signal_peer(chan); /* its message may be what the peer's line waits behind */
	return true;
}

int adma_cancel(struct adma_chan *chan, struct adma_req *req)
{
	int won = 0;

	if (adma_enter(chan))
		return 0;
	switch (req->state) {
	case ADMA_QUEUED_STATE:
	case ADMA_NEED_STATE:
		adma_queue_remove(req->is_read ? &chan->reads : &chan->backlog, req);
		won = 1;
		break;
	case ADMA_POSTED_STATE:
		won = chan->fifo ? adma_fifo_cancel(chan, req) : adma_withdraw(chan, req);
		break;
	default:
		break;
	}
	if (won)
		adma_complete(chan, req, ADMA_E_CANCELLED, 0);
	(void)adma_advance(chan); /* the match that won, or the line that moves up */
	adma_hand_over(chan); /* nobody waits for a request that it came too late for */
	adma_leave(chan);
	return won;
}

void adma_refresh(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_enter(chan))
		return;
	if (chan->fifo)
		adma_fifo_refresh(chan, req);
	adma_leave(chan);
}

void adma_tell_times(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_enter(chan))
		return;
	if (chan->fifo)
		adma_fifo_tell_times(chan, req);
	adma_leave(chan);
}

/* ---- small messages in one call ---- */

/* 0, -ADMA_E_PENDING when it does not go out this moment, or why the channel is over. */
static int put_now(struct adma_chan *chan, const void *p, uint64_t n)
{
	struct adma_desc desc = {.length = n, .total = n, .kind = ADMA_BYTES};
	int rc;

	if (adma_peer_closed(chan))
		adma_terminate(chan, ADMA_E_CLOSED);
	if (chan->over)
		return -chan->over;
	if (chan->backlog.first)
		return -ADMA_E_PENDING;
	rc = ADMA_FAULT(ADMA_FAULT_PUBLISH);
	if (rc)
		return -rc;
	rc = adma_ring_room(&chan->out);
	if (rc > 0)
		rc = adma_ring_put(&chan->out, &desc, p);
	if (rc < 0) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return -ADMA_E_PROTOCOL;
	}
	if (rc == 0)
		return -ADMA_E_PENDING;
	count_carry(chan, &desc);
	chan->stats.writes++;
	chan->stats.bytes_out += n;
	adma_trace_moment(ADMA_TRACE_WRITE_NOW, chan, n, 0, 0);
	adma_signal_peer(chan);
	return 0;
}

int adma_write_now(struct adma_chan *chan, const void *p, uint64_t n)
{
	int rc = -ADMA_E_PENDING;

	if (!chan || !adma_takes_slot(chan, n)) { /* depends on nothing that changes */
		rc = adma_enter(chan);
		if (!rc) {
			rc = put_now(chan, p, n);
			adma_leave(chan);
		}
	}
	return (int)remember(chan, p, rc);
}

/* Take the first message if it is there and fits; -ADMA_E_PENDING otherwise. */
static int64_t take_now(struct adma_chan *chan, void *p, uint64_t n)
{
	const struct adma_desc *desc = &chan->in.desc;
	int rc;

	if (chan->reads.first)
		return -ADMA_E_PENDING;
	rc = adma_ring_peek(&chan->in);
	if (rc < 0) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return -ADMA_E_PROTOCOL;
	}
	if (rc == 0 || desc->carry == ADMA_SLOT || desc->kind == ADMA_PART || chan->parts_due)
		return -ADMA_E_PENDING;
	if (desc->kind != ADMA_BYTES)
		return -ADMA_E_KIND;
	if (desc->length > n) {
		last_needed = desc->length;
		return -ADMA_E_TOOLONG;
	}
	uint64_t length = desc->length;
	if (length)
		memcpy(p, adma_ring_payload(&chan->in), length);
	chan->stats.reads++;
	chan->stats.bytes_in += length;
	adma_trace_moment(ADMA_TRACE_READ_NOW, chan, length, 0, 0);
	if (adma_ring_take(&chan->in))
		adma_signal_peer(chan);
	return (int64_t)length;
}

int64_t adma_read_now(struct adma_chan *chan, void *p, uint64_t n, int64_t spin_ns)
{
	int64_t result = adma_enter(chan);

	if (result)
		return remember(chan, p, result);
	result = chan->fifo ? -ADMA_E_PENDING : take_now(chan, p, n);
	/* With more to do than to wait for one message, waiting is adma_drive()'s. */
	if (result == -ADMA_E_PENDING && spin_ns && !chan->fifo && !chan->over && !chan->writes_pending &&
	    !chan->reads_pending && !chan->in.held && adma_spin_for_message(chan, spin_ns))
		result = take_now(chan, p, n);
	adma_leave(chan);
	return remember(chan, p, result);
}
