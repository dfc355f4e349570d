/* SPDX-License-Identifier: BSD-3-Clause */
/* transfer_copy.c - the chunks of a transfer: claimed, copied without the lock, retired. */
#include "worker/transfer_copy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/residency.h"
#include "base/trace.h"
#include "worker/peer.h"
#include "worker/stages.h"
#include "worker/transfer_lists.h"
#include "worker/transfers.h"

/*
 * Does nothing but the end of this copy concern the peer? Then it need not hear of the match before. It may find the match
 * by itself all the same, for instance when it wants to withdraw the message.
 */
static bool chunk_is_all(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	return t->shut && ep->transfers.count == 1 && !adma_transfer_is_stream(t);
}

/* Drop the lock for a copy. Nothing that the copy uses goes away until chunk_relock(). */
static void chunk_unlock(struct adma_endpoint *ep, struct adma_transfer *t)
{
	adma_signal_untold(ep->worker, chunk_is_all(ep, t) ? ep : NULL);
	t->busy++;
	t->begun_at = adma_now();
	adma_endpoint_release_for_use(ep);
}

static void chunk_relock(struct adma_endpoint *ep, struct adma_transfer *t)
{
	adma_endpoint_retake(ep);
	t->busy--;
	if (t->abandoned)
		return;
	adma_transfer_touch(ep, t); /* it may have been over but for this thread */
	/* Another thread may have cleared the marks meanwhile, and which transfers are ready has changed since. */
	adma_mark(ep, ADMA_MARK_REARM);
}

/* This thread was held up, and the channel was given up meanwhile: the last such thread frees the transfer. */
static bool chunk_is_abandoned(struct adma_transfer *t)
{
	bool abandoned = t->abandoned;

	if (abandoned && !t->busy)
		free(t);
	return abandoned;
}

static void chunk_count(struct adma_endpoint *ep, struct adma_transfer *t, enum adma_copied_by by)
{
	t->copied++;
	ep->stats.chunks_copied++;
	if (by == ADMA_BY_PROGRESS_THREAD)
		ep->stats.chunks_mover++;
	if (by == ADMA_BY_ASSIST)
		ep->stats.chunks_queues++;
}

/* ---- chunks that either endpoint may copy ---- */

/* Copy chunk i. Returns 0, or the errno with which the chunk is to be retired. */
static int chunk_copy(struct adma_endpoint *ep, struct adma_transfer *t, uint32_t i)
{
	uint64_t n = adma_chunk_bytes(&t->span, i);
	int64_t begun = adma_trace_begin();
	int error;

	adma_stamp(t->req, &t->req->times.started);
	chunk_unlock(ep, t);
	error = ADMA_FAULT(ADMA_FAULT_CHUNK);
	if (!error)
		error = t->mechanism->copy(&ep->connection, &t->span, i * t->span.chunk, n);
	(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	chunk_relock(ep, t);
	adma_trace_span(ADMA_TRACE_CHUNK, begun, t->req, n, i, adma_transfer_name(t));
	return error;
}

static void chunk_retire(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	struct adma_slot_result r;

	if (adma_slot_retire(t->slot, t->gen, adma_transfer_turn_error(t, error)))
		adma_terminate(ep, ADMA_E_PROTOCOL);
	if (error == ADMA_E_DIED) {
		ep->control.dead = true;
		adma_terminate(ep, ADMA_E_DIED);
	}
	/*
	 * The other endpoint may sleep until this happens. A reader whose request is not given up completes it next,
	 * and tells then.
	 */
	if ((t->span.outbound || t->abandoned) && !adma_slot_look(t->slot, t->gen, &r) && r.quiet)
		adma_transfer_tell(ep, t);
}

static bool chunk_claim_and_copy(struct adma_endpoint *ep, struct adma_transfer *t, enum adma_copied_by by)
{
	int64_t i = adma_slot_claim(t->slot, t->gen, t->chunks);
	int error;

	if (i == -ENODATA || i + 1 == t->chunks)
		adma_transfer_shut(t);
	if (i == -ENODATA)
		return false;
	/* There are more claims than chunks: the peer has reset the cursor. */
	if (i < 0 || t->claimed++ == t->chunks) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return true;
	}
	error = chunk_copy(ep, t, (uint32_t)i);
	if (!error)
		chunk_count(ep, t, by);
	chunk_retire(ep, t, error); /* also if it is abandoned: the peer waits for that */
	(void)chunk_is_abandoned(t);
	return true;
}

/* ---- streams ---- */

/* Claim the writer's next chunk of a stream. False when there is none to begin or to continue. */
static bool stream_claim(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_slot_result r;
	int64_t i;

	if (t->at == t->span.length)
		return false;
	if (t->at < (uint64_t)t->claimed * t->span.chunk)
		return true; /* in the middle of a chunk */
	i = adma_slot_claim(t->slot, t->gen, t->chunks);
	if (i == t->claimed) {
		t->claimed++;
		return true;
	}
	/* Only the writer claims chunks of a stream. The cursor may be closed early, but it may not have moved. */
	if (i != -ENODATA || adma_slot_look(t->slot, t->gen, &r) || r.next != t->claimed)
		adma_terminate(ep, ADMA_E_PROTOCOL);
	adma_transfer_touch(ep, t); /* it is broken off, whether or not the peer has told so */
	return false;
}

/* Move bytes. Called without the lock. Returns enum adma_moved, 0, or a negated errno. */
static int stream_move(struct adma_endpoint *ep, struct adma_transfer *t, uint64_t *at)
{
	int fault = *at % t->span.chunk == 0 ? ADMA_FAULT(ADMA_FAULT_CHUNK) : 0;
	int rc;

	if (fault)
		return -fault;
	rc = t->span.outbound ? t->mechanism->fill(&ep->connection, &t->span, at)
			      : t->mechanism->drain(&ep->connection, &t->span, at);
	if (rc == ADMA_MOVED_SIGNAL)
		adma_signal_peer(ep);
	if (rc > 0)
		(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	return rc;
}

/* Bytes up to `at` were moved. */
static void stream_note(struct adma_endpoint *ep, struct adma_transfer *t, uint64_t at, enum adma_copied_by by)
{
	t->at = at;
	adma_mark(ep, ADMA_MARK_REARM); /* another transfer may be next now, and other events may be waited for */
	if (at % t->span.chunk != 0 && at != t->span.length)
		return;
	chunk_count(ep, t, by);
	if (at == t->span.length)
		adma_transfer_pass_stream(ep, t);
	if (!t->span.outbound && adma_slot_retire(t->slot, t->gen, 0))
		adma_terminate(ep, ADMA_E_PROTOCOL);
}

static bool stream_pump(struct adma_endpoint *ep, struct adma_transfer *t, enum adma_copied_by by)
{
	int64_t begun = adma_trace_begin();
	int64_t start = !t->req->times.started && adma_is_timed(t->req) ? adma_now() : 0;
	uint64_t at = t->at;
	int rc;

	chunk_unlock(ep, t);
	rc = stream_move(ep, t, &at);
	chunk_relock(ep, t);
	if (chunk_is_abandoned(t))
		return true;
	if (rc == 0)
		return false;
	if (rc == -ECONNRESET || rc == -EPIPE) {
		/* The peer's descriptors are closed one by one, and this one was closed before the channel's socket. */
		adma_terminate(ep, adma_peer_closed(ep) ? ADMA_E_CLOSED : ADMA_E_DIED);
		return true;
	}
	if (rc < 0) {
		/* Each endpoint of a stream touches its own buffer only. */
		adma_transfer_fail(ep, t, rc == -EFAULT ? ADMA_E_MEMORY_HERE : -rc);
		return true;
	}
	if (start)
		t->req->times.started = start;
	adma_trace_span(ADMA_TRACE_CHUNK, begun, t->req, at - t->at, t->at / t->span.chunk, adma_transfer_name(t));
	stream_note(ep, t, at, by);
	return true;
}

/* ---- transfers of either kind ---- */

/* May a thread that must not be held up copy for this transfer? Otherwise the progress thread does. */
static bool transfer_is_resident(const struct adma_endpoint *ep, struct adma_transfer *t)
{
	if (t->residency == ADMA_RESIDENCY_UNKNOWN) {
		bool resident = adma_is_resident(t->span.local, t->span.length) &&
				(!t->mechanism->resident || t->mechanism->resident(&ep->connection, &t->span));

		t->residency = resident ? ADMA_RESIDENT : ADMA_NOT_RESIDENT;
	}
	return t->residency == ADMA_RESIDENT;
}

bool adma_transfer_step(struct adma_endpoint *ep, struct adma_transfer *t, enum adma_copied_by by)
{
	if (!t->mechanism || !t->chunks)
		return false;
	if (t->stopping) {
		adma_transfer_touch(ep, t); /* the next round looks whether the kernel is done with it */
		return false;
	}
	if (adma_transfer_holds_up(t) || (by == ADMA_BY_CHECK && !transfer_is_resident(ep, t)))
		return false;
	if (adma_transfer_is_stream(t))
		return adma_transfer_is_next(ep, t) && (!t->span.outbound || stream_claim(ep, t)) &&
		       stream_pump(ep, t, by);
	return t->mechanism->able(&ep->connection, t->span.outbound) && chunk_claim_and_copy(ep, t, by);
}

/* A stream that cannot move may have dropped the lock, but it was busy meanwhile, and so is still in its list. */
static bool streams_copy(struct adma_endpoint *ep, enum adma_copied_by by)
{
	adma_list_for_each(at, &ep->transfers.heads) {
		if (adma_transfer_step(ep, adma_transfer_of_movable(at), by) || ep->control.over)
			return true;
	}
	return false;
}

/* A transfer of which nothing can be claimed leaves the list. */
static bool chunks_copy(struct adma_endpoint *ep, enum adma_copied_by by)
{
	adma_list_for_each_safe(at, after, &ep->transfers.open) {
		if (adma_transfer_step(ep, adma_transfer_of_movable(at), by) || ep->control.over)
			return true;
	}
	return false;
}

bool adma_transfers_copy(struct adma_endpoint *ep, enum adma_copied_by by)
{
	if (ep->control.over)
		return false;
	if (adma_transfers_begin_with_streams(&ep->transfers))
		return streams_copy(ep, by) || chunks_copy(ep, by);
	return chunks_copy(ep, by) || streams_copy(ep, by);
}
