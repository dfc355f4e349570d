/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * errand.c - what the mover does for one channel, and when it holds back.
 *
 * It takes note, publishes and matches at once. It copies only when nobody
 * else does, for each of its cycles is one that the program computes with:
 *
 *   - not while somebody of ours attends, nor in the moment after (attendance.h)
 *   - of chunks that either end may copy, not while the peer is at one, nor
 *     before it had time to begin with the next: little when nobody attends there, and
 *     then the reader's mover goes first; more when somebody does
 *
 * While it holds back, bell and sockets are armed all the same, so that
 * whatever the peer says ends the nap; the nap is for a peer that says nothing. Slots
 * decide who copies what: two movers that lose patience at once share.
 *
 * Once it copies a transfer of several chunks that either end may copy, idle queues of the engine
 * are asked for help. They follow the same rules, chunk by chunk.
 */
#include <poll.h>
#include <stddef.h>

#include "worker/channel.h"

#define PATIENCE_NS 60000           /* with a peer that computes, too */
#define PATIENCE_ATTENDED_NS 10000000 /* with one that waits: it has the right, but may not be able */
#define NAP_NS 500000               /* between looks at a peer that copies; doubles */
#define NAP_MAX_NS 32000000
#define BUDGET_NS 1000000           /* on one channel, before others have their turn */

#define LEND_FROM 2                 /* chunks still to be copied: for one, waking a queue is too late */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t patience(const struct adma_chan *chan, const struct adma_transfer *t)
{
	if (adma_peer_waits(chan))
		return PATIENCE_ATTENDED_NS;
	return t->outbound ? 2 * PATIENCE_NS : PATIENCE_NS;
}

/* When the next chunk of a transfer that either end may copy is ours, if the peer takes none. */
static int64_t shared_turn(struct adma_chan *chan, struct adma_transfer *t, int64_t now)
{
	struct adma_slot_result r;

	if (adma_slot_look(t->slot, t->gen, &r) || r.closed)
		return ADMA_NEVER;
	if (r.next == t->chunks && r.next - r.retired <= t->busy)
		return ADMA_NEVER; /* all that is left is in our own hands */
	if (!t->peer_at || r.next - t->claimed != t->peer_claims) {
		/* In line with a local caller that has just left, if there was one. */
		bool fresh = !t->peer_at && now - chan->left_at < 2 * chan->grace_ns;

		t->peer_claims = r.next - t->claimed;
		t->peer_at = fresh ? chan->left_at : now;
	}
	if (r.next - r.retired > t->busy) {
		t->peer_at = now;
		if (now >= t->nap_end) {
			t->nap = t->nap ? earlier(2 * t->nap, NAP_MAX_NS) : NAP_NS;
			t->nap_end = now + t->nap;
		}
		return t->nap_end;
	}
	t->nap = t->nap_end = 0;
	return t->peer_at + patience(chan, t);
}

/* When to copy of this one, as things are; ADMA_NEVER: not before something is said or done. */
static int64_t turn(struct adma_chan *chan, struct adma_transfer *t, int64_t now)
{
	int64_t left = chan->left_at + chan->grace_ns, at;

	if (t->mechanism && t->mechanism->waitfd) /* its socket tells; it is not polled before */
		return now < left ? left : ADMA_NEVER;
	if (!adma_transfer_ready(chan, t))
		return ADMA_NEVER;
	at = t->mechanism->flags & ADMA_STREAM ? now : shared_turn(chan, t, now);
	return at > left ? at : left;
}

static bool is_shared(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->flags & ADMA_EITHER_ENDPOINT;
}

/* The mover has begun to copy: queues may join in. */
static void lend(struct adma_chan *chan)
{
	for (struct adma_transfer *t = chan->transfers; t; t = t->next) {
		struct adma_slot_result r;

		if (!is_shared(t) || adma_slot_look(t->slot, t->gen, &r) || r.next + LEND_FROM > t->chunks)
			continue;
		adma_engine_assist(&chan->assist, t->length, t->chunks - r.next - 1);
		return;
	}
}

static bool share_due(struct adma_chan *chan, int64_t now)
{
	for (struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (is_shared(t) && turn(chan, t, now) <= now && adma_transfer_step(chan, t))
			return true;
	return false;
}

bool adma_visit_assist(struct adma_assist *lending)
{
	struct adma_chan *chan = (struct adma_chan *)((char *)lending - offsetof(struct adma_chan, assist));
	bool moved;

	if (adma_enter(chan))
		return false;
	moved = chan->delegated && !chan->over && share_due(chan, adma_now());
	if (moved) {
		chan->stats.chunks_queues++;
		(void)adma_advance(chan);
	}
	adma_leave(chan);
	return moved;
}

/* Copy one chunk whose turn it is. True when something moved. */
static bool copy_due(struct adma_chan *chan, int64_t now)
{
	for (struct adma_transfer *t = chan->transfers; t; t = t->next) {
		int64_t at = turn(chan, t, now);
		/* Whether a socket has room or bytes, trying tells. */
		bool try = at == ADMA_NEVER && t->mechanism && t->mechanism->waitfd;

		if ((at <= now || try) && adma_transfer_step(chan, t))
			return true;
	}
	return false;
}

static void copy(struct adma_chan *chan)
{
	int64_t end = adma_now() + BUDGET_NS, now = end - BUDGET_NS;

	/* Not watched any more: closed, or somebody attends. */
	while (chan->delegated && !chan->over && now < end && copy_due(chan, now)) {
		if (chan->delegated && !chan->closing)
			lend(chan);
		chan->grace_ns = ADMA_GRACE_NS; /* nobody came */
		(void)adma_advance(chan);
		now = adma_now();
	}
}

/* Called for a moment that has come: did somebody see to it all the same? */
static void learn(struct adma_chan *chan)
{
	bool vain = !chan->delegated || adma_now() < chan->left_at + chan->grace_ns;

	if (vain)
		chan->grace_ns = earlier(2 * chan->grace_ns, ADMA_GRACE_MAX_NS);
}

/* When there is something to do again. */
static int64_t next_turn(struct adma_chan *chan, int64_t now)
{
	int64_t next = ADMA_NEVER;

	for (struct adma_transfer *t = chan->transfers; t && chan->delegated; t = t->next)
		next = earlier(next, turn(chan, t, now));
	return next;
}

int64_t adma_visit(struct adma_chan *chan, bool by_time)
{
	int64_t now, again;
	bool armed;

	if (adma_enter(chan))
		return ADMA_NEVER;
	if (by_time)
		learn(chan);
	/* Also where somebody attends: it may be the last news of the peer's death. */
	(void)adma_peer_check(chan);
	if (chan->fifo)
		adma_fifo_polled(chan, POLLIN);
	(void)adma_advance(chan);
	copy(chan);
	armed = adma_rearm(chan);
	now = adma_now();
	again = armed || !chan->delegated ? next_turn(chan, now) : now;
	pthread_mutex_unlock(&chan->lock);
	return again;
}
