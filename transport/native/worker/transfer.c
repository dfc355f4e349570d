/* SPDX-License-Identifier: BSD-3-Clause */
/* transfer.c - matched pairs: begin, copy chunk by chunk, finish. */
#include <errno.h>
#include <stdlib.h>

#include "base/trace.h"
#include "worker/channel.h"
#include "worker/stages.h"

/* What names a transfer at both ends, beside its channel and direction. */
#define NAME(t) ((uint64_t)(t)->gen << 32 | (uint64_t)(t)->outbound << 31 | (t)->slot_index)

static void link_last(struct adma_chan *chan, struct adma_transfer *t)
{
	t->next = NULL;
	t->prev = chan->transfers_last;
	if (t->prev)
		t->prev->next = t;
	else
		chan->transfers = t;
	chan->transfers_last = t;
}

static void unlink_transfer(struct adma_chan *chan, struct adma_transfer *t)
{
	if (t->prev)
		t->prev->next = t->next;
	else
		chan->transfers = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		chan->transfers_last = t->prev;
}

static bool is_stream(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->flags & ADMA_STREAM;
}

/* A private description of the match; 0 or -EPROTO when the numbers are impossible. */
static int describe(struct adma_transfer *t, uint32_t mechanism, uint64_t chunk, uint64_t length)
{
	uint64_t chunks = 0;

	t->mechanism_id = mechanism;
	t->mechanism = adma_mechanism(mechanism);
	t->length = length;
	t->chunk = chunk;
	if (mechanism != ADMA_MECH_NONE) {
		/* Both ends compute the chunk alike; another number would overrun a cell. */
		if (!t->mechanism || chunk != t->mechanism->chunk(length))
			return -EPROTO;
		chunks = adma_chunk_count(length, chunk);
	}
	if (chunks > ADMA_CHUNKS_MAX)
		return -EPROTO;
	t->chunks = (uint32_t)chunks;
	return 0;
}

static void fail(struct adma_chan *chan, struct adma_transfer *t, int error)
{
	if (adma_slot_fail(t->slot, t->gen, error))
		adma_terminate(chan, ADMA_E_PROTOCOL);
	adma_signal_peer(chan);
}

static void adopt(struct adma_chan *chan, struct adma_transfer *t, struct adma_req *req)
{
	t->req = req;
	t->local = req->address;
	req->transfer = t;
	req->mechanism = t->mechanism_id;
	adma_trace_moment(ADMA_TRACE_MATCH, req, t->length, t->mechanism_id, NAME(t));
	adma_stamp(req, &req->times.matched);
	__atomic_store_n(&req->state, ADMA_MATCHED_STATE, __ATOMIC_RELEASE);
	link_last(chan, t);
	if (t->mechanism && t->mechanism->waitfd)
		adma_wake_waiters(chan); /* who sleeps has to sleep on that one, too */
}

/* Fill in the reader's side of the slot and swap it to MATCHED. */
static int match_slot(struct adma_chan *chan, struct adma_transfer *t)
{
	struct adma_slot *slot = t->slot;

	slot->mechanism = t->mechanism_id;
	slot->destination = (uintptr_t)t->local;
	slot->chunk = t->chunk;
	slot->base = t->base = chan->in_base[t->mechanism_id];
	return adma_slot_match(slot, t->gen);
}

int adma_transfer_begin_read(struct adma_chan *chan, struct adma_req *req, const struct adma_desc *desc)
{
	struct adma_slot *slot = &chan->in.segment->slots[desc->u.slot.index];
	uint32_t gen = desc->u.slot.gen;
	uint64_t length = slot->length;
	int error = ADMA_FAULT(ADMA_FAULT_MATCH);
	/* With no mechanism nobody can claim a chunk before the error is in place. */
	uint32_t id = error ? ADMA_MECH_NONE : adma_select(chan, desc->length, slot->offered);
	const struct adma_mechanism *mechanism = adma_mechanism(id);

	if (length != desc->length)
		return -EPROTO;
	struct adma_transfer *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->slot = slot;
	t->slot_index = desc->u.slot.index;
	t->gen = gen;
	t->local = req->address;
	t->remote = slot->source;
	int rc = describe(t, id, mechanism ? mechanism->chunk(length) : 0, length);
	if (!rc)
		rc = match_slot(chan, t);
	if (rc) {
		free(t);
		return rc;
	}
	chan->in_base[id] += t->chunks;
	adopt(chan, t, req);
	if (id == ADMA_MECH_NONE)
		rc = adma_slot_fail(slot, gen, error ? error : ADMA_E_NO_MECHANISM);
	else if (!t->chunks)
		rc = adma_slot_close(slot, gen);
	if (rc)
		adma_terminate(chan, ADMA_E_PROTOCOL);
	return 0;
}

int adma_transfer_refuse(struct adma_chan *chan, const struct adma_desc *desc, int error)
{
	struct adma_slot *slot = &chan->in.segment->slots[desc->u.slot.index];
	uint32_t gen = desc->u.slot.gen;
	int rc;

	slot->mechanism = ADMA_MECH_NONE;
	slot->chunk = 0;
	rc = adma_slot_match(slot, gen);
	if (!rc)
		rc = adma_slot_fail(slot, gen, error);
	if (rc)
		return rc;
	adma_slot_complete(slot, gen, true);
	adma_slot_see(slot, gen);
	return 0;
}

int adma_transfer_begin_write(struct adma_chan *chan, uint32_t slot_index)
{
	struct own_slot *own = &chan->slots[slot_index];
	struct adma_req *req = own->req;
	struct adma_slot *slot = &chan->out.segment->slots[slot_index];
	struct adma_transfer *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM; /* it stays posted; the next look tries again */
	t->slot = slot;
	t->slot_index = slot_index;
	t->gen = own->gen;
	t->outbound = true;
	t->remote = slot->destination;
	t->base = slot->base;
	uint32_t id = slot->mechanism;
	int rc = describe(t, id, slot->chunk, req->length);
	if (!rc && id != ADMA_MECH_NONE && !(chan->config.out_mask & ADMA_MECH_BIT(id)))
		rc = -EPROTO;
	if (!rc && id == ADMA_MECH_SHARED && t->chunks && !chan->bulk_out)
		rc = -EPROTO;
	if (rc) {
		free(t);
		return rc;
	}
	own->use = SLOT_MATCHED;
	own->req = NULL;
	chan->posted_slots--;
	adopt(chan, t, req);
	/* Matched before the reader knew that the byte stream had broken. */
	if (id == ADMA_MECH_TCP && chan->withdrawn & ADMA_MECH_BIT(id))
		fail(chan, t, chan->withdrawn_errno[id]);
	return 0;
}

void adma_slot_release(struct adma_chan *chan, uint32_t index)
{
	chan->slots[index].use = SLOT_FREE;
	chan->free_slots++;
}

/* Streams: once this end is through with a transfer's chunks, the next one's turn comes. */
static void pass_turn(struct adma_chan *chan, const struct adma_transfer *t)
{
	if (t->outbound && is_stream(t) && chan->out_base[t->mechanism_id] == t->base)
		chan->out_base[t->mechanism_id] = t->base + t->chunks;
}

/* The chunk this end drains next, of all that were matched in this mechanism's stream. */
static uint64_t drain_position(const struct adma_chan *chan, uint32_t id)
{
	for (const struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (!t->outbound && t->mechanism_id == id && t->at < t->length)
			return t->base + t->at / t->chunk;
	return chan->in_base[id];
}

/* What was matched for a byte stream that broke would find the bytes of another message. */
static void fail_behind(struct adma_chan *chan, const struct adma_transfer *broken, int error)
{
	for (struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (t->mechanism_id == broken->mechanism_id && t->outbound == broken->outbound)
			fail(chan, t, error);
}

static void finish(struct adma_chan *chan, struct adma_transfer *t, int error)
{
	struct adma_req *req = t->req;

	(void)ADMA_FAULT(ADMA_FAULT_COMPLETE);
	unlink_transfer(chan, t);
	pass_turn(chan, t);
	/* EPERM stays EPERM for every later one; a broken byte stream stays out of step. */
	if (error == EPERM || (error && t->mechanism_id == ADMA_MECH_TCP))
		adma_withdraw_mechanism(chan, t->mechanism_id, error);
	if (error && t->mechanism_id == ADMA_MECH_TCP)
		fail_behind(chan, t, error);
	if (t->outbound) {
		chan->slots[t->slot_index].use = SLOT_LINGERS;
		chan->lingering_slots++;
	} else {
		if (t->mechanism && t->mechanism->go_on)
			t->mechanism->go_on(chan, drain_position(chan, t->mechanism_id));
		chan->parts_spoilt |= error && req->need_parts && chan->parts_due;
		adma_slot_complete(t->slot, t->gen, error != 0);
		adma_slot_see(t->slot, t->gen);
		adma_signal_peer(chan);
	}
	chan->stats.mechanism[t->mechanism_id]++;
	if (t->mechanism && t->mechanism->flags & ADMA_EITHER_ENDPOINT && !error) {
		chan->stats.chunks_peer += t->chunks - t->copied;
		adma_trace_moment(ADMA_TRACE_PEER, req, t->chunks - t->copied, t->chunks, NAME(t));
	}
	req->transfer = NULL;
	adma_complete(chan, req, error, t->length);
	free(t);
}

/* How a transfer ended, or -1 while it has not. */
static int outcome(struct adma_chan *chan, const struct adma_transfer *t, const struct adma_slot_result *r)
{
	int broken_off = r->error ? r->error : chan->over ? chan->over : ADMA_E_CLOSED;

	if (t->busy)
		return -1;
	if (r->quiet)
		return !r->error && r->next == t->chunks && t->mechanism ? 0 : broken_off;
	if (is_stream(t)) {
		/* Each end touches its own buffer only: what the other still does is its own affair. */
		bool early = r->error || (r->closed && r->next < t->chunks);

		return early || chan->over ? broken_off : -1;
	}
	if (chan->over == ADMA_E_PROTOCOL) {
		/* No word of the peer's tells any more when it is through: do not wait for one. */
		t->req->held = 1;
		return broken_off;
	}
	return chan->dead ? broken_off : -1;
}

bool adma_transfers_settle(struct adma_chan *chan)
{
	bool ended = false;

	for (struct adma_transfer *t = chan->transfers, *next; t; t = next) {
		struct adma_slot_result r;
		int error;

		next = t->next;
		if (adma_slot_look(t->slot, t->gen, &r)) {
			adma_terminate(chan, ADMA_E_PROTOCOL);
			t->req->held = !is_stream(t);
			error = t->busy ? -1 : ADMA_E_PROTOCOL;
		} else {
			t->req->done_bytes = r.retired * t->chunk < t->length ? r.retired * t->chunk : t->length;
			if (chan->over && !r.closed)
				(void)adma_slot_close(t->slot, t->gen);
			error = outcome(chan, t, &r);
		}
		if (error < 0)
			continue;
		finish(chan, t, error);
		ended = true;
	}
	return ended;
}

/* Run `work` on a transfer without the lock; nothing it uses goes away meanwhile. */
static void unlock_for(struct adma_chan *chan, struct adma_transfer *t)
{
	t->busy++;
	chan->users++;
	pthread_mutex_unlock(&chan->lock);
}

static void lock_after(struct adma_chan *chan, struct adma_transfer *t)
{
	pthread_mutex_lock(&chan->lock);
	chan->users--;
	t->busy--;
}

static void count_chunk(struct adma_chan *chan, struct adma_transfer *t)
{
	t->copied++;
	chan->stats.chunks_copied++;
	if (adma_progress_here())
		chan->stats.chunks_mover++;
}

static bool copy_claimed(struct adma_chan *chan, struct adma_transfer *t)
{
	int64_t i = adma_slot_claim(t->slot, t->gen, t->chunks);
	int error;

	if (i == -ENODATA)
		return false;
	if (i < 0) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return true;
	}
	if (t->claimed++ == t->chunks) { /* the peer has them claimed anew */
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return true;
	}
	adma_stamp(t->req, &t->req->times.started);
	int64_t begun = adma_trace_begin();
	unlock_for(chan, t);
	error = ADMA_FAULT(ADMA_FAULT_CHUNK);
	if (!error)
		error = t->mechanism->copy(chan, t, (uint64_t)i * t->chunk, adma_chunk_bytes(t, (uint32_t)i));
	(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	lock_after(chan, t);
	adma_trace_span(ADMA_TRACE_CHUNK, begun, t->req, adma_chunk_bytes(t, (uint32_t)i), (uint64_t)i, NAME(t));
	if (!error)
		count_chunk(chan, t);
	if (adma_slot_retire(t->slot, t->gen, error))
		adma_terminate(chan, ADMA_E_PROTOCOL);
	if (error == ADMA_E_DIED)
		chan->dead = true, adma_terminate(chan, ADMA_E_DIED);
	struct adma_slot_result r;
	if (!adma_slot_look(t->slot, t->gen, &r) && r.quiet)
		adma_signal_peer(chan); /* the other end may sleep until this */
	return true;
}

/* The writer's next chunk of a stream. False when there is none to begin or go on with. */
static bool claim_for_stream(struct adma_chan *chan, struct adma_transfer *t)
{
	int64_t i;

	if (t->at == t->length)
		return false;
	if (t->at < (uint64_t)t->claimed * t->chunk)
		return true; /* in the middle of one */
	i = adma_slot_claim(t->slot, t->gen, t->chunks);
	if (i == t->claimed) {
		t->claimed++;
		return true;
	}
	/* Nobody else claims of a stream: closed early is fine, and settles it; more claimed is not. */
	struct adma_slot_result r;
	if (i != -ENODATA || adma_slot_look(t->slot, t->gen, &r) || r.next != t->claimed)
		adma_terminate(chan, ADMA_E_PROTOCOL);
	return false;
}

static int move_stream(struct adma_chan *chan, struct adma_transfer *t, uint64_t *at)
{
	int fault = *at % t->chunk == 0 ? ADMA_FAULT(ADMA_FAULT_CHUNK) : 0;
	int rc;

	if (fault)
		return -fault;
	rc = t->outbound ? t->mechanism->fill(chan, t, at) : t->mechanism->drain(chan, t, at);
	if (rc > 0)
		(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	return rc;
}

static bool pump(struct adma_chan *chan, struct adma_transfer *t)
{
	int64_t begun = adma_trace_begin();
	int64_t start = !t->req->times.started && adma_is_timed(t->req) ? adma_now() : 0;
	uint64_t at = t->at;
	int rc;

	unlock_for(chan, t);
	rc = move_stream(chan, t, &at);
	lock_after(chan, t);
	if (rc > 0 && start)
		t->req->times.started = start;
	if (rc > 0)
		adma_trace_span(ADMA_TRACE_CHUNK, begun, t->req, at - t->at, t->at / t->chunk, NAME(t));
	if (rc == -ECONNRESET || rc == -EPIPE) {
		/* The other end's descriptors are closed one by one: this one came first. */
		adma_terminate(chan, adma_peer_closed(chan) ? ADMA_E_CLOSED : ADMA_E_DIED);
		return true;
	}
	if (rc < 0) {
		fail(chan, t, -rc);
		return true;
	}
	if (rc == 0)
		return false;
	t->at = at;
	if (at % t->chunk != 0 && at != t->length)
		return true;
	count_chunk(chan, t);
	if (t->outbound && at == t->length)
		pass_turn(chan, t);
	if (!t->outbound && adma_slot_retire(t->slot, t->gen, 0))
		adma_terminate(chan, ADMA_E_PROTOCOL);
	return true;
}

bool adma_transfers_copy(struct adma_chan *chan)
{
	if (chan->over)
		return false;
	for (struct adma_transfer *t = chan->transfers; t; t = t->next) {
		if (adma_transfer_step(chan, t))
			return true;
		if (chan->over)
			return true;
	}
	return false;
}

bool adma_transfer_step(struct adma_chan *chan, struct adma_transfer *t)
{
	if (!t->mechanism || !t->chunks)
		return false;
	if (is_stream(t))
		return adma_transfer_is_next(chan, t) && (!t->outbound || claim_for_stream(chan, t)) && pump(chan, t);
	return t->mechanism->able(chan, t->outbound) && copy_claimed(chan, t);
}

void adma_transfers_close(struct adma_chan *chan)
{
	for (struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (adma_slot_close(t->slot, t->gen))
			adma_terminate(chan, ADMA_E_PROTOCOL);
}

uint64_t adma_transfers_abandon(struct adma_chan *chan)
{
	uint64_t held = 0;

	for (struct adma_transfer *t = chan->transfers, *next; t; t = next) {
		next = t->next;
		held += t->length;
		t->req->held = 1;
		finish(chan, t, ADMA_E_CLOSED_HERE);
	}
	/* Matched, but there was no memory for a transfer. */
	for (uint32_t i = 0; chan->posted_slots && i < ADMA_SLOTS; i++) {
		struct own_slot *own = &chan->slots[i];

		if (own->use != SLOT_POSTED)
			continue;
		held += own->req->length;
		own->req->held = 1;
		own->use = SLOT_LINGERS;
		chan->posted_slots--;
		adma_complete(chan, own->req, ADMA_E_CLOSED_HERE, 0);
	}
	return held;
}
