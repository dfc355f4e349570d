/* SPDX-License-Identifier: BSD-3-Clause */
/* transfers.c - matched pairs, from the match to the completion of their requests. */
#include "worker/transfers.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/trace.h"
#include "mech/table.h"
#include "shm/news.h"
#include "worker/eager_limit.h"
#include "worker/learning.h"
#include "worker/peer.h"
#include "worker/redo.h"
#include "worker/request.h"
#include "worker/select.h"
#include "worker/stages.h"
#include "worker/transfer_lists.h"

#define TRANSFER_ERRNO_MAX 133 /* EHWPOISON: Linux has no greater one for programs */

/* ---- begin ---- */

/* Fill in the transfer from the numbers of the match. 0, or -EPROTO when they are invalid. */
static int transfer_describe(struct adma_transfer *t, uint32_t mechanism, uint64_t chunk, uint32_t manner,
			     uint64_t length)
{
	uint64_t chunks = 0;

	t->mechanism_id = mechanism;
	t->mechanism = adma_mechanism(mechanism);
	t->span.length = length;
	t->span.chunk = chunk;
	t->span.detour = manner & ADMA_MANNER_DETOUR;
	if (mechanism != ADMA_MECH_NONE) {
		/* The reader has few chunk sizes to choose from: with another one a chunk could overrun a cell. */
		if (!t->mechanism || !t->mechanism->chunk ||
		    !adma_choice_is_possible(t->mechanism, length, chunk, manner))
			return -EPROTO;
		chunks = adma_chunk_count(length, chunk);
	}
	if (chunks > ADMA_CHUNKS_MAX)
		return -EPROTO;
	t->chunks = (uint32_t)chunks;
	return 0;
}

/* Without a signal. The caller has changed the slot. */
static void transfer_set_news(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	const struct adma_config *config = &ep->connection.config;

	if (t->span.outbound)
		adma_news_set(config->local, ADMA_NEWS_FOR_READER, t->slot_index);
	else
		adma_news_set(config->remote, ADMA_NEWS_FOR_MAKER, t->slot_index);
}

void adma_transfer_tell(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	transfer_set_news(ep, t);
	adma_list_remove(&ep->untold); /* what it was to be told of before, it finds now */
	adma_signal_peer(ep);
}

void adma_transfer_note_news(struct adma_endpoint *ep, bool outbound, uint32_t slot_index)
{
	const struct adma_peer_slots *slots = &ep->receive.slots;
	struct adma_transfer *t;

	if (outbound)
		t = ep->send.slots.own[slot_index].of.transfer;
	else
		t = slot_index < slots->capacity ? slots->of[slot_index] : NULL;
	if (t)
		adma_transfer_touch(ep, t);
}

/* May either endpoint store this error in a slot? Of our own codes only those that speak of the transfer. */
static bool transfer_may_tell(int error)
{
	switch (error) {
	case ADMA_E_NO_MECHANISM:
	case ADMA_E_MEMORY_HERE:
	case ADMA_E_MEMORY_PEER:
		return true;
	default:
		return error > 0 && error <= TRANSFER_ERRNO_MAX;
	}
}

/* How this endpoint ends is no error of the transfer: a cursor that is closed without one tells the peer enough. */
static int transfer_break_off(const struct adma_transfer *t, int error)
{
	if (!transfer_may_tell(error))
		return adma_slot_close(t->slot, t->gen);
	return adma_slot_fail(t->slot, t->gen, adma_transfer_turn_error(t, error));
}

void adma_transfer_fail(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	if (!t->waits && transfer_break_off(t, error))
		adma_terminate(ep, ADMA_E_PROTOCOL);
	adma_transfer_touch(ep, t);
	adma_transfer_tell(ep, t);
}

/* Close the cursor, because the endpoint is terminated. 0 or -EPROTO. */
static int transfer_close(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	int rc = t->waits ? 0 : adma_slot_close(t->slot, t->gen); /* what waits has nothing that could be claimed */

	adma_transfer_tell(ep, t);
	return rc;
}

static void transfer_adopt(struct adma_endpoint *ep, struct adma_transfer *t, struct adma_req *req)
{
	ep->begun++;
	t->req = req;
	t->span.local = req->address;
	req->transfer = t;
	req->mechanism = t->mechanism_id;
	adma_trace_moment(ADMA_TRACE_MATCH, req, t->span.length, t->mechanism_id, adma_transfer_name(t));
	adma_stamp(req, &req->times.matched);
	__atomic_store_n(&req->state, ADMA_MATCHED_STATE, __ATOMIC_RELEASE);
	adma_transfer_enlist(ep, t);
	if (adma_transfer_is_polled(t))
		adma_mark(ep, ADMA_MARK_WAITERS); /* sleepers have to poll the mechanism's descriptor, too */
}

/*
 * Describe an inbound transfer as this says, fill in the reader's fields of the slot, and swap its state to
 * MATCHED. 0, -ECANCELED or -EPROTO.
 */
static int transfer_match_slot(struct adma_endpoint *ep, struct adma_transfer *t, struct adma_choice choice)
{
	uint32_t manner = choice.detour ? ADMA_MANNER_DETOUR : 0, id = choice.mechanism;
	struct adma_slot *slot = t->slot;
	int rc = transfer_describe(t, id, choice.chunk, manner, t->span.length);

	if (rc)
		return rc;
	adma_shared_store_u32(&slot->mechanism, t->mechanism_id);
	adma_shared_store_u64(&slot->destination, adma_transfer_is_shared(t) ? (uintptr_t)t->span.local : 0);
	adma_shared_store_u64(&slot->chunk, t->span.chunk);
	adma_shared_store_u32(&slot->manner, manner);
	t->span.base = ep->receive.base[id];
	adma_shared_store_u64(&slot->base, t->span.base);
	rc = adma_slot_match(slot, t->gen);
	if (!rc)
		ep->receive.base[id] += t->chunks;
	return rc;
}

/* It is matched and enlisted. Without a mechanism it fails at once, and without bytes it is complete. */
static void transfer_begin_inbound(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	int rc = 0;

	if (t->mechanism_id == ADMA_MECH_NONE)
		rc = adma_slot_fail(t->slot, t->gen, adma_transfer_turn_error(t, error));
	else if (!t->chunks)
		rc = adma_slot_close(t->slot, t->gen);
	if (rc)
		adma_terminate(ep, ADMA_E_PROTOCOL);
	transfer_set_news(ep, t); /* the caller signals */
}

/*
 * The peer passes a segment before the first message that may travel through it. So the socket is read now: afterwards
 * it is known whether the segment could be received, while another mechanism can still be selected.
 */
static uint32_t transfer_select(struct adma_endpoint *ep, uint64_t length, uint32_t offered, uint32_t *mask, int *error)
{
	uint32_t id;

	*mask = 0;
	if (*error)
		return ADMA_MECH_NONE;
	if (adma_select_lacks_segment(ep, offered))
		(void)adma_peer_check(ep);
	*mask = adma_select_for_read(ep, offered);
	id = adma_select_from(ep, length, *mask, ep->control.waits);
	if (id == ADMA_MECH_NONE && offered & ep->receive.lost)
		*error = ep->receive.lost_error;
	return id;
}

/* Not by calloc(3): glibc keeps what was freed just now for malloc(3) alone. */
static struct adma_transfer *transfer_new(void)
{
	struct adma_transfer *t = malloc(sizeof(*t));

	if (t)
		*t = (struct adma_transfer){0};
	return t;
}

int adma_transfer_begin_read(struct adma_endpoint *ep, struct adma_req *req, const struct adma_desc *desc)
{
	struct adma_slot *slot = adma_slot_at(ep->connection.config.remote, desc->u.slot.index);
	uint32_t gen = desc->u.slot.gen, mask;
	uint64_t length = adma_shared_load_u64(&slot->length);
	int error = ADMA_FAULT(ADMA_FAULT_MATCH);
	/* Without a mechanism nobody can claim a chunk before the error is stored. */
	uint32_t id = transfer_select(ep, desc->length, adma_shared_load_u32(&slot->offered), &mask, &error);

	if (length != desc->length)
		return -EPROTO;
	struct adma_transfer *t = transfer_new();
	if (!t || adma_peer_slots_provide(&ep->receive.slots, desc->u.slot.index)) {
		free(t);
		return -ENOMEM;
	}
	t->slot = slot;
	t->slot_index = desc->u.slot.index;
	t->gen = gen;
	t->span.local = req->address;
	t->span.remote = adma_shared_load_u64(&slot->source);
	t->span.length = length;
	int rc = transfer_match_slot(ep, t, adma_learning_choose(ep, t, id, mask));
	if (rc) {
		free(t);
		return rc;
	}
	ep->receive.slots.of[t->slot_index] = t;
	t->learning.eager_since = adma_eager_limit_matched(ep, desc);
	adma_learning_begin(ep, t);
	transfer_adopt(ep, t, req);
	transfer_begin_inbound(ep, t, error ? error : ADMA_E_NO_MECHANISM);
	return 0;
}

int adma_transfer_refuse(struct adma_endpoint *ep, const struct adma_desc *desc, int error)
{
	struct adma_segment *remote = ep->connection.config.remote;
	struct adma_slot *slot = adma_slot_at(remote, desc->u.slot.index);
	uint32_t gen = desc->u.slot.gen;
	int rc;

	adma_shared_store_u32(&slot->mechanism, ADMA_MECH_NONE);
	adma_shared_store_u64(&slot->chunk, 0);
	adma_shared_store_u32(&slot->manner, 0);
	rc = adma_slot_match(slot, gen);
	if (!rc)
		rc = adma_slot_fail(slot, gen, error);
	if (rc)
		return rc;
	adma_slot_complete(slot, gen, true);
	adma_slot_see(slot, gen);
	adma_news_set(remote, ADMA_NEWS_FOR_MAKER, desc->u.slot.index);
	return 0;
}

/* May the reader have chosen this mechanism for a write of ours? */
static bool transfer_is_possible(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	if (t->mechanism_id == ADMA_MECH_NONE)
		return true;
	if (!(ep->connection.config.out_mask & ADMA_MECH_BIT(t->mechanism_id)))
		return false;
	if (t->span.guarded && !t->mechanism->guards)
		return false;
	/* A stream goes on from where it is. So the transfer under way is the first of its FIFO, and stays that. */
	if (adma_transfer_is_stream(t) && t->chunks && (int64_t)(t->span.base - ep->send.base[t->mechanism_id]) < 0)
		return false;
	return !t->chunks || !t->mechanism->serves || t->mechanism->serves(&ep->connection);
}

static enum adma_on_error transfer_on_error(const struct adma_mechanism *mechanism, int error)
{
	if (!error || !mechanism)
		return ADMA_ON_ERROR_GO_ON;
	if (mechanism->on_error)
		return mechanism->on_error(error);
	return error == EPERM || error == EACCES || error == ENOSYS ? ADMA_ON_ERROR_WITHDRAW : ADMA_ON_ERROR_GO_ON;
}

/* Was it matched before the reader knew that the stream was broken? */
static bool transfer_is_late(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	return ep->withdrawn & ADMA_MECH_BIT(t->mechanism_id) &&
	       transfer_on_error(t->mechanism, ep->withdrawn_error[t->mechanism_id]) == ADMA_ON_ERROR_BREAK;
}

int adma_transfer_begin_write(struct adma_endpoint *ep, uint32_t slot_index)
{
	struct adma_own_slot *own = &ep->send.slots.own[slot_index];
	struct adma_req *req = own->of.req;
	struct adma_slot *slot = adma_slot_at(ep->connection.config.local, slot_index);
	struct adma_transfer *t = transfer_new();

	if (!t)
		return -ENOMEM; /* the write stays posted, and the next look tries again */
	t->slot = slot;
	t->slot_index = slot_index;
	t->gen = own->gen;
	t->span.outbound = true;
	t->span.guarded = req->refused;
	t->span.posted_at = own->posted_at;
	t->span.remote = adma_shared_load_u64(&slot->destination);
	t->span.base = adma_shared_load_u64(&slot->base);
	int rc = transfer_describe(t, adma_shared_load_u32(&slot->mechanism), adma_shared_load_u64(&slot->chunk),
				   adma_shared_load_u32(&slot->manner), req->length);
	if (!rc && !transfer_is_possible(ep, t))
		rc = -EPROTO;
	if (rc) {
		free(t);
		return rc;
	}
	adma_slots_matched(&ep->send.slots, slot_index);
	own->of.transfer = t;
	transfer_adopt(ep, t, req);
	if (transfer_is_late(ep, t))
		adma_transfer_fail(ep, t, ep->withdrawn_error[t->mechanism_id]);
	return 0;
}

/* ---- complete ---- */

/* The number of the chunk of this mechanism's stream that this endpoint drains next. */
static uint64_t transfer_drain_position(const struct adma_endpoint *ep, uint32_t id)
{
	const struct adma_transfer *t = adma_transfer_draining(ep, id);

	return t ? t->span.base + t->at / t->span.chunk : ep->receive.base[id];
}

/* Fail the transfers that were matched for a broken stream: they would get the bytes of another message. */
static void transfer_fail_behind(struct adma_endpoint *ep, const struct adma_transfer *broken, int error)
{
	adma_list_for_each(at, &ep->transfers.all) {
		struct adma_transfer *t = adma_transfer_of(at);

		if (t->mechanism_id == broken->mechanism_id && t->span.outbound == broken->span.outbound)
			adma_transfer_fail(ep, t, error);
	}
}

static void transfer_act_on_error(struct adma_endpoint *ep, const struct adma_transfer *t, int error)
{
	enum adma_on_error what = transfer_on_error(t->mechanism, error);

	if (error == ADMA_E_MEMORY_HERE || error == ADMA_E_MEMORY_PEER)
		error = EFAULT; /* whose memory it was matters to this transfer alone */
	if (what != ADMA_ON_ERROR_GO_ON)
		adma_select_withdraw(ep, t->mechanism_id, error);
	if (what == ADMA_ON_ERROR_BREAK)
		transfer_fail_behind(ep, t, error);
}

static void transfer_leave_slot(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	if (t->span.outbound) {
		adma_slots_linger(&ep->send.slots, t->slot_index);
		return;
	}
	adma_peer_slots_forget(&ep->receive.slots, t->slot_index, t);
	if (t->mechanism && t->mechanism->go_on)
		t->mechanism->go_on(&ep->connection, transfer_drain_position(ep, t->mechanism_id));
	ep->receive.parts_spoilt |= error && t->req->need_parts && ep->receive.parts_due;
	if (t->waits)
		return; /* the slot is the writer's */
	adma_slot_complete(t->slot, t->gen, error != 0);
	adma_slot_see(t->slot, t->gen);
	adma_transfer_tell(ep, t);
}

static void transfer_complete(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	struct adma_req *req = t->req;

	(void)ADMA_FAULT(ADMA_FAULT_COMPLETE);
	if (adma_learning_note(ep, t, error))
		adma_eager_limit_came(ep, t->learning.key, t->span.length, t->learning.eager_since);
	/* Lost with its sender: what was published after it is not delivered, as if it had not been matched yet. */
	ep->receive.hole |= !t->span.outbound && (error == ADMA_E_LOST || error == ADMA_E_DIED);
	adma_transfer_delist(ep, t);
	transfer_act_on_error(ep, t, error);
	transfer_leave_slot(ep, t, error);
	ep->stats.mechanism[t->mechanism_id]++;
	ep->stats.redone += req->refused && !error;
	if (adma_transfer_is_shared(t) && !error) {
		ep->stats.chunks_peer += t->chunks - t->copied;
		adma_trace_moment(ADMA_TRACE_PEER, req, t->chunks - t->copied, t->chunks, adma_transfer_name(t));
	}
	req->transfer = NULL;
	if (t->span.outbound && error == ADMA_E_TOOLONG)
		error = 0; /* it was matched, and was too long for its receiver only; or its reader skipped it */
	adma_complete(ep, req, error, t->span.length);
	t->abandoned = t->busy;
	if (!t->busy)
		free(t);
}

#define TRANSFER_GOES_ON (-1)

/* With what error a transfer is broken off. A cursor that is closed without one tells that the peer closes. */
static int transfer_error(const struct adma_endpoint *ep, const struct adma_transfer *t, int error)
{
	int over = ep->control.over ? ep->control.over : ADMA_E_CLOSED;

	if (error)
		return error;
	if (over == ADMA_E_CLOSED)
		return t->span.outbound ? ADMA_E_ENDED : ADMA_E_LOST;
	return over;
}

/* Have all bytes come, or gone? The words of the slot and our own count agree: see transfer_is_honest(). */
static bool transfer_is_whole(const struct adma_transfer *t, const struct adma_slot_result *r)
{
	return !r->error && r->next == t->chunks && t->mechanism;
}

/* The result of a transfer that is over: 0 or an error. Otherwise TRANSFER_GOES_ON. */
static int transfer_outcome(struct adma_endpoint *ep, const struct adma_transfer *t, const struct adma_slot_result *r)
{
	int over = ep->control.over, broken_off = transfer_error(ep, t, r->error);

	if (t->busy)
		return TRANSFER_GOES_ON;
	if (r->quiet)
		return transfer_is_whole(t, r) ? 0 : broken_off;
	if (adma_transfer_is_stream(t)) {
		/* In a stream each endpoint touches its own buffer only, so the other one need not be waited for. */
		bool early = r->error || (r->closed && r->next < t->chunks);

		return early || over ? broken_off : TRANSFER_GOES_ON;
	}
	if (over == ADMA_E_PROTOCOL) {
		/* The peer's words cannot be trusted to tell when it stops copying: do not wait for it. */
		t->req->held = adma_transfer_is_shared(t);
		return broken_off;
	}
	return ep->control.dead ? broken_off : TRANSFER_GOES_ON;
}

/* What has arrived: of a stream, no more than this endpoint has moved itself, whatever the peer says. */
static void transfer_note_retired(const struct adma_transfer *t, uint32_t chunks)
{
	uint64_t retired = chunks * t->span.chunk;
	uint64_t most = adma_transfer_is_stream(t) ? t->at : t->span.length;

	t->req->done_bytes = retired < most ? retired : most;
}

/* Could the peer, or we ourselves, have stored this? Another number might mean something else to the caller. */
static bool transfer_may_hear(const struct adma_transfer *t, int error)
{
	if (!error || transfer_may_tell(error))
		return true;
	/* Who copies from the memory of the other endpoint finds that it died, and retires its chunk. */
	if (error == ADMA_E_DIED)
		return adma_transfer_is_shared(t);
	return t->span.outbound && (error == ADMA_E_TOOLONG || error == ADMA_E_ENDED); /* see adma_transfer_refuse() */
}

/* Chunks that this endpoint has moved as a whole. */
static uint32_t transfer_moved(const struct adma_transfer *t)
{
	return t->at == t->span.length ? t->chunks : (uint32_t)(t->at / t->span.chunk);
}

/*
 * Could an honest peer have left these words? Of a stream each endpoint counts its own part: the reader alone retires,
 * a chunk that it has drained, and the writer alone claims. So a peer that changes what is ours to change is found
 * out, and an inbound stream is complete only when this endpoint has moved all of its bytes. A peer that says too
 * early that it has drained what we write lies about its own message; but where the kernel copies both parts at
 * once, it may know before us.
 */
static bool transfer_is_honest(const struct adma_transfer *t, const struct adma_slot_result *r)
{
	if (r->next > t->chunks || !transfer_may_hear(t, r->error))
		return false;
	if (!adma_transfer_is_stream(t))
		return true;
	if (!t->span.outbound)
		return r->retired == transfer_moved(t);
	return r->next == t->claimed && (t->busy || t->mechanism->stop || r->retired <= transfer_moved(t));
}

/* Look at the words of the slot, and check them. 0 or -EPROTO. */
static int transfer_read_slot(const struct adma_transfer *t, struct adma_slot_result *r)
{
	int rc = adma_slot_look(t->slot, t->gen, r);

	return rc ? rc : transfer_is_honest(t, r) ? 0 : -EPROTO;
}

void adma_transfer_refresh(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_slot_result r;

	if (t->waits)
		return;
	if (transfer_read_slot(t, &r))
		adma_transfer_touch(ep, t); /* the next round takes note that the words are spoilt */
	else
		transfer_note_retired(t, r.retired);
}

static void transfer_lose(struct adma_endpoint *ep, struct adma_transfer *t)
{
	t->lost = true;
	adma_note_lost_slot(ep, t->req, t->slot_index);
}

/* Did our close break off a message of ours? Where all chunks are claimed, it is carried to the end; but not in a stream. */
static void transfer_note_lost(struct adma_endpoint *ep, struct adma_transfer *t, const struct adma_slot_result *r)
{
	if (t->lost || !t->span.outbound || ep->control.over != ADMA_E_CLOSED_HERE || r->error)
		return;
	if (r->next == t->chunks && (r->quiet || !adma_transfer_is_stream(t)))
		return;
	transfer_lose(ep, t);
}

/*
 * A chunk is retired when it has arrived: a stream's, by its reader. So what we have filled ahead of a reader that
 * does not drain is not counted as moved.
 */
uint64_t adma_transfers_remainder(struct adma_endpoint *ep, struct adma_req **reqs, int n)
{
	const struct adma_transfer *last = NULL;
	uint64_t left = 0;

	for (int i = 0; i < n; i++) {
		if (reqs[i]->transfer)
			last = reqs[i]->transfer;
		else if (reqs[i]->state != ADMA_DONE_STATE)
			left += reqs[i]->length;
	}
	adma_list_for_each(at, &ep->transfers.all) {
		struct adma_transfer *t = adma_transfer_of(at);

		if (!last)
			break;
		if (t->span.outbound == last->span.outbound) {
			adma_transfer_refresh(ep, t);
			left += t->span.length - t->req->done_bytes;
		}
		if (t == last)
			break;
	}
	return left;
}

static int transfer_look(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_slot_result r;

	if (transfer_read_slot(t, &r) || (t->shut && !r.closed) ||
	    (!r.closed && ep->control.over && (transfer_close(ep, t) || transfer_read_slot(t, &r)))) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		t->req->held = adma_transfer_is_shared(t); /* who fills or drains a stream does not touch our buffer */
		return t->busy ? TRANSFER_GOES_ON : ADMA_E_PROTOCOL;
	}
	r.error = adma_transfer_turn_error(t, r.error);
	transfer_note_retired(t, r.retired);
	if (r.closed)
		adma_transfer_shut(t);
	transfer_note_lost(ep, t, &r);
	return transfer_outcome(ep, t, &r);
}

/* The transfer is over. Take the buffer back from the kernel, if it has it. False: the kernel goes on. */
static bool transfer_stop(struct adma_endpoint *ep, struct adma_transfer *t)
{
	int rc;

	if (!t->mechanism || !t->mechanism->stop || !adma_transfer_is_next(ep, t))
		return true;
	rc = t->mechanism->stop(&ep->connection, &t->span);
	t->stopping = rc == -EBUSY;
	if (rc == -EIO)
		t->req->held = 1;
	return !t->stopping;
}

/* ---- once more: see redo.h ---- */

/* This life is over, and its mechanism is refused. The next one begins with nothing. */
static void transfer_end_life(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	struct adma_req *req = t->req;

	adma_transfer_delist(ep, t);
	transfer_act_on_error(ep, t, error);
	req->refused = (uint8_t)t->mechanism_id;
	req->refused_error = error;
	req->done_bytes = 0;
}

/* Our read waits for the next life, and has no mechanism meanwhile. */
static void transfer_wait_again(struct adma_endpoint *ep, struct adma_transfer *t)
{
	t->mechanism = NULL;
	t->mechanism_id = ADMA_MECH_NONE;
	t->chunks = 0;
	t->waits = true;
	adma_transfer_enlist(ep, t);
}

/* Our read: another life is to follow. */
static void transfer_ask_again(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	transfer_end_life(ep, t, error);
	t->span.guarded = true;
	t->copied = t->claimed = 0;
	t->watch = (struct adma_transfer_watch){0};
	transfer_wait_again(ep, t);
	adma_slot_ask_again(t->slot, t->gen);
	adma_transfer_tell(ep, t);
}

/* Our write: the reader has asked for another life. */
static void transfer_post_again(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	struct adma_req *req = t->req;
	uint32_t offered;

	transfer_end_life(ep, t, error);
	req->transfer = NULL;
	adma_slots_post_again(&ep->send.slots, t->slot_index, req);
	req->slot_gen = ep->send.slots.own[t->slot_index].gen;
	offered = adma_redo_offer(ep, t);
	adma_slots_describe(&ep->send.slots, t->slot_index, req, offered, adma_select_has_single_copy(offered));
	adma_slot_post(t->slot, req->slot_gen);
	adma_transfer_tell(ep, t);
	free(t);
}

/* Our write failed for a reason for which it may be made once more: what has the reader decided? True when it is over. */
static bool transfer_hear_reader(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	switch (adma_slot_state(t->slot, t->gen)) {
	case ADMA_MATCHED:
		return false; /* nothing yet: the reader tells us */
	case ADMA_AGAIN:
		transfer_post_again(ep, t, error);
		return true;
	case ADMA_ABORTED:
		break;
	default:
		adma_terminate(ep, error = ADMA_E_PROTOCOL);
	}
	transfer_complete(ep, t, error);
	return true;
}

/* The writer posted the second life. 0, -ECANCELED or -EPROTO. */
static int transfer_match_again(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_slot *slot = t->slot;
	int rc;

	if (adma_shared_load_u64(&slot->length) != t->span.length)
		return -EPROTO;
	adma_transfer_delist(ep, t);
	t->gen++;
	t->span.remote = adma_shared_load_u64(&slot->source);
	rc = transfer_match_slot(ep, t,
				 adma_choice_built_in(t, adma_redo_select(ep, t->req, t->span.length,
									  adma_shared_load_u32(&slot->offered))));
	if (rc) {
		t->gen--;
		transfer_wait_again(ep, t);
		return rc;
	}
	t->waits = t->shut = false;
	transfer_adopt(ep, t, t->req);
	transfer_begin_inbound(ep, t, t->req->refused_error);
	adma_signal_peer(ep);
	return 0;
}

/* A read waits for the second life of its slot. True when anything changed. */
static bool transfer_try_again(struct adma_endpoint *ep, struct adma_transfer *t)
{
	int state = ep->control.over ? ADMA_FREE : adma_slot_next_state(t->slot, t->gen), rc = -EPROTO;

	if (state == ADMA_FREE) {
		if (!ep->control.over)
			return false;
		transfer_complete(ep, t, transfer_error(ep, t, 0));
		return true;
	}
	if (state == ADMA_POSTED)
		rc = transfer_match_again(ep, t);
	if (!rc)
		return true;
	if (rc == -ECANCELED || state == ADMA_CANCELLED || state == ADMA_LOST) {
		adma_slot_see(t->slot, t->gen + 1);
		adma_transfer_tell(ep, t);
		transfer_complete(ep, t, ADMA_E_LOST); /* only a writer that closes withdraws what was matched once */
		return true;
	}
	adma_terminate(ep, ADMA_E_PROTOCOL);
	transfer_complete(ep, t, ADMA_E_PROTOCOL);
	return true;
}

/* Our close keeps a message of ours, whose copy was refused, from being made once more. */
static void transfer_note_never_redone(struct adma_endpoint *ep, struct adma_transfer *t)
{
	if (!t->span.outbound || ep->control.over != ADMA_E_CLOSED_HERE || t->lost)
		return;
	if (adma_slot_state(t->slot, t->gen) == ADMA_ABORTED) /* the reader has its error */
		return;
	transfer_lose(ep, t);
}

/* The transfer is over, by an error for which it may be made once more. True when anything changed. */
static bool transfer_redo(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	bool possible = adma_redo_is_possible(ep, t);

	if (possible && ep->control.over) { /* without that it might have succeeded */
		transfer_note_never_redone(ep, t);
		transfer_complete(ep, t, transfer_error(ep, t, 0));
		return true;
	}
	if (t->span.outbound && !ep->control.over)
		return transfer_hear_reader(ep, t, error);
	if (possible)
		transfer_ask_again(ep, t, error);
	else
		transfer_complete(ep, t, error);
	return true;
}

/* Complete the transfer if it is over, or begin its second life. True when anything changed. */
static bool transfer_try_complete(struct adma_endpoint *ep, struct adma_transfer *t)
{
	int error;

	adma_list_remove(&t->touched);
	if (t->waits)
		return transfer_try_again(ep, t);
	error = transfer_look(ep, t);
	if (error == TRANSFER_GOES_ON || !transfer_stop(ep, t))
		return false;
	if (adma_redo_is_due(t, error))
		return transfer_redo(ep, t, error);
	transfer_complete(ep, t, error);
	return true;
}

/* A peer that is gone, or that spoilt its words, tells nothing: then all transfers are looked at. */
bool adma_transfers_complete(struct adma_endpoint *ep)
{
	struct adma_transfer_lists *lists = &ep->transfers;
	bool ended = false;

	if (lists->count <= ADMA_FEW || ep->control.over)
		adma_list_for_each_safe(at, after, &lists->all)
			ended |= transfer_try_complete(ep, adma_transfer_of(at));
	while (!adma_list_empty(&lists->touched))
		ended |= transfer_try_complete(ep, adma_transfer_of_touched(lists->touched.next));
	return ended;
}

void adma_transfers_close(struct adma_endpoint *ep)
{
	adma_list_for_each(at, &ep->transfers.all)
		if (transfer_close(ep, adma_transfer_of(at)))
			adma_terminate(ep, ADMA_E_PROTOCOL);
}

/* May the buffer of a transfer that is given up still be touched: by the peer, by the kernel, by a thread of ours? */
static bool transfer_is_in_use(const struct adma_transfer *t)
{
	return t->busy || t->stopping || adma_transfer_is_shared(t);
}

uint64_t adma_transfers_abandon(struct adma_endpoint *ep)
{
	uint64_t held = 0;

	adma_list_for_each_safe(at, after, &ep->transfers.all) {
		struct adma_transfer *t = adma_transfer_of(at);

		if (transfer_is_in_use(t)) {
			held += t->span.length;
			t->req->held = 1;
		}
		transfer_complete(ep, t, ADMA_E_CLOSED_HERE);
	}
	return held;
}
