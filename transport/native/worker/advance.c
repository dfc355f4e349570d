/* SPDX-License-Identifier: BSD-3-Clause */
/* progress.c - one round of a channel: take note, publish, match, settle. */
#include <errno.h>
#include <string.h>

#include "base/trace.h"
#include "worker/channel.h"
#include "worker/stages.h"

static void fail_reads(struct adma_chan *chan, int error)
{
	while (chan->reads.first) {
		struct adma_req *req = chan->reads.first;

		adma_queue_remove(&chan->reads, req);
		adma_complete(chan, req, error, 0);
	}
}

static void fail_writes(struct adma_chan *chan, int error)
{
	while (chan->backlog.first) {
		struct adma_req *req = chan->backlog.first;

		adma_queue_remove(&chan->backlog, req);
		adma_complete(chan, req, error, 0);
	}
	for (uint32_t i = 0; chan->posted_slots && i < ADMA_SLOTS; i++) {
		struct adma_req *req = chan->slots[i].req;

		if (chan->slots[i].use == SLOT_POSTED && adma_withdraw(chan, req))
			adma_complete(chan, req, error, 0);
	}
}

/* The peer spoilt the slot: no word in it tells any more what becomes of the write. */
static void give_up(struct adma_chan *chan, struct own_slot *own)
{
	struct adma_req *req = own->req;

	own->use = SLOT_LINGERS;
	own->req = NULL;
	chan->posted_slots--;
	chan->lingering_slots++;
	adma_terminate(chan, ADMA_E_PROTOCOL);
	req->held = 1; /* it may still read the buffer */
	adma_complete(chan, req, ADMA_E_PROTOCOL, 0);
}

/* Our posted writes that the peer matched become transfers. */
static bool note_matches(struct adma_chan *chan)
{
	bool changed = false;

	for (uint32_t i = 0, left = chan->posted_slots; left && i < ADMA_SLOTS; i++) {
		struct own_slot *own = &chan->slots[i];
		int state, rc = -EPROTO;

		if (own->use != SLOT_POSTED)
			continue;
		left--;
		state = adma_slot_state(&chan->out.segment->slots[i], own->gen);
		if (state == ADMA_POSTED)
			continue;
		if (state == ADMA_MATCHED || state == ADMA_DONE || state == ADMA_ABORTED)
			rc = adma_transfer_begin_write(chan, i);
		if (rc == -EPROTO)
			give_up(chan, own);
		changed |= rc != -ENOMEM; /* which the next look tries again */
	}
	return changed;
}

/* Slots whose reader is through, too, are free again. */
static bool note_seen(struct adma_chan *chan)
{
	bool changed = false;

	for (uint32_t i = 0, left = chan->lingering_slots; left && i < ADMA_SLOTS; i++) {
		struct own_slot *own = &chan->slots[i];

		if (own->use != SLOT_LINGERS)
			continue;
		left--;
		if (!adma_slot_seen(&chan->out.segment->slots[i], own->gen))
			continue;
		chan->lingering_slots--;
		adma_slot_release(chan, i);
		changed = true;
	}
	return changed;
}

/* The first message leaves the line. An object announces the parts that come behind it. */
static void take(struct adma_chan *chan)
{
	const struct adma_desc *desc = &chan->in.desc;

	if (desc->kind == ADMA_PART)
		chan->parts_due--;
	else if (desc->kind == ADMA_OBJECT)
		chan->parts_due = desc->parts;
	if (!chan->parts_due)
		chan->parts_spoilt = false;
	if (adma_ring_take(&chan->in))
		adma_signal_peer(chan);
}

/* Pass over a first message that its writer withdrew. True when one went. */
static bool skip_withdrawn(struct adma_chan *chan)
{
	const struct adma_desc *desc = &chan->in.desc;
	struct adma_slot *slot;
	int state;

	if (desc->carry != ADMA_SLOT)
		return false;
	slot = &chan->in.segment->slots[desc->u.slot.index];
	state = adma_slot_state(slot, desc->u.slot.gen);
	if (state == ADMA_POSTED)
		return false;
	if (state != ADMA_CANCELLED) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return false;
	}
	adma_slot_see(slot, desc->u.slot.gen);
	take(chan);
	adma_signal_peer(chan); /* it may wait for the slot */
	return true;
}

/* Pass over a part whose object failed on its way to us. True when one went. */
static bool skip_spoilt(struct adma_chan *chan)
{
	int rc = 0;

	if (!chan->parts_spoilt || chan->in.desc.kind != ADMA_PART)
		return false;
	if (chan->in.desc.carry == ADMA_SLOT)
		rc = adma_transfer_refuse(chan, &chan->in.desc, ECANCELED);
	if (rc == -ECANCELED)
		return true; /* withdrawn this moment: the next look passes over it */
	if (rc) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return false;
	}
	take(chan);
	adma_signal_peer(chan);
	return true;
}

/* Parts follow their object, as many as it told, and nothing comes between. */
static bool in_order(const struct adma_chan *chan)
{
	return (chan->in.desc.kind == ADMA_PART) == (chan->parts_due > 0);
}

/* The first message in line that can still be had: 1, 0 or -EPROTO. */
static int first_message(struct adma_chan *chan)
{
	int rc;

	do {
		rc = adma_ring_peek(&chan->in);
		if (rc < 0 || (rc > 0 && !in_order(chan)))
			adma_terminate(chan, ADMA_E_PROTOCOL);
		if (chan->over == ADMA_E_PROTOCOL)
			return -EPROTO;
		if (rc == 0)
			return 0;
	} while (skip_withdrawn(chan) || skip_spoilt(chan));
	if (chan->over == ADMA_E_PROTOCOL)
		return -EPROTO;
	/* Who is gone took along what waited in its memory. */
	return !(chan->over && chan->in.desc.carry == ADMA_SLOT);
}

static void ask(struct adma_chan *chan, struct adma_req *req)
{
	const struct adma_desc *desc = &chan->in.desc;

	req->needed = desc->total;
	req->need_length = desc->length;
	req->need_parts = desc->parts;
	__atomic_store_n(&req->state, ADMA_NEED_STATE, __ATOMIC_RELEASE);
	adma_wake_waiters(chan);
}

/* Deliver the first message to the read it matches. False: it cannot go on now. */
static bool deliver(struct adma_chan *chan, struct adma_req *req)
{
	const struct adma_desc *desc = &chan->in.desc;
	int rc;

	req->needed = desc->total;
	if (desc->carry != ADMA_SLOT) {
		uint64_t length = desc->length;

		if (length)
			memcpy(req->address, adma_ring_payload(&chan->in), length);
		adma_trace_moment(ADMA_TRACE_MATCH, req, length, ADMA_MECH_NONE, 0);
		adma_stamp(req, &req->times.matched);
		take(chan);
		adma_queue_remove(&chan->reads, req);
		adma_complete(chan, req, 0, length);
		return true;
	}
	req->need_parts = desc->parts;
	rc = adma_transfer_begin_read(chan, req, desc);
	if (rc == -ECANCELED)
		return true; /* withdrawn this very moment: the next look passes over it */
	if (rc == -EPROTO) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return false;
	}
	adma_queue_remove(&chan->reads, req);
	if (rc) {
		adma_complete(chan, req, -rc, 0);
		return true;
	}
	take(chan);
	adma_signal_peer(chan);
	return true;
}

static void refuse(struct adma_chan *chan, struct adma_req *req, int error)
{
	req->needed = chan->in.desc.total;
	adma_queue_remove(&chan->reads, req);
	adma_complete(chan, req, error, 0);
}

/* One step of matching; false when nothing more can be matched now. */
static bool match_one(struct adma_chan *chan)
{
	struct adma_req *req;

	if (first_message(chan) <= 0)
		return false;
	switch (adma_match(&chan->reads, &chan->in.desc, ADMA_KEEP, &req)) {
	case ADMA_ASK:
		if (req->state == ADMA_NEED_STATE)
			return false;
		ask(chan, req);
		return false;
	case ADMA_TOO_LONG:
		refuse(chan, req, ADMA_E_TOOLONG);
		return true;
	case ADMA_WRONG_KIND:
		refuse(chan, req, ADMA_E_KIND);
		return true;
	case ADMA_MATCH:
		return deliver(chan, req);
	case ADMA_TRUNCATE: /* the MPI layer's; channels keep */
	case ADMA_NO_READ:
		break;
	}
	return false;
}

static bool match_reads(struct adma_chan *chan)
{
	uint32_t before = chan->reads.count;

	while (chan->reads.first && match_one(chan))
		;
	/* What was published is delivered first, also to a read that is just being given its buffer. */
	if (chan->over && chan->reads.first &&
	    (chan->closing || chan->reads.first->state != ADMA_NEED_STATE))
		fail_reads(chan, chan->over);
	return chan->reads.count != before;
}

bool adma_advance(struct adma_chan *chan)
{
	bool changed = false;

	if (chan->fifo && adma_ring_fresh(&chan->in)) /* nobody uses the ring beside the kernel's line */
		adma_terminate(chan, ADMA_E_PROTOCOL);
	if (!chan->over && adma_peer_closed(chan)) {
		adma_terminate(chan, ADMA_E_CLOSED);
		changed = true;
	}
	if (chan->posted_slots)
		changed |= note_matches(chan);
	if (chan->lingering_slots)
		changed |= note_seen(chan);
	if (chan->bulk_fd >= 0)
		adma_send_bulk(chan);
	if (chan->backlog.first)
		changed |= adma_flush(chan);
	if (chan->fifo)
		changed |= adma_fifo_advance(chan);
	if (chan->reads.first)
		changed |= match_reads(chan);
	if (chan->transfers)
		changed |= adma_transfers_settle(chan);
	if (chan->over && (chan->backlog.first || chan->posted_slots))
		fail_writes(chan, chan->over), changed = true;
	return changed;
}

bool adma_advance_copying(struct adma_chan *chan)
{
	bool changed = adma_advance(chan);

	if (chan->transfers && adma_transfers_copy(chan)) {
		(void)adma_transfers_settle(chan);
		changed = true;
	}
	return changed;
}

/* ---- looking, for callers ---- */

static bool find_first(struct adma_chan *chan, struct adma_message *message)
{
	if (chan->fifo)
		return !chan->over && adma_fifo_head(chan, message);
	if (first_message(chan) <= 0)
		return false;
	message->present = 1;
	message->kind = chan->in.desc.kind;
	message->nbytes = chan->in.desc.total;
	return true;
}

int adma_peek(struct adma_chan *chan, struct adma_message *message)
{
	int rc = adma_enter(chan);
	bool found;

	memset(message, 0, sizeof(*message));
	if (rc)
		return rc;
	(void)adma_advance(chan);
	found = find_first(chan, message);
	if (!found && !chan->over) {
		(void)adma_peer_check(chan);
		/* It ended just now: what it published before that is still first. */
		found = chan->over && find_first(chan, message);
	}
	if (!found)
		rc = -chan->over;
	adma_leave(chan);
	return rc;
}
