/* SPDX-License-Identifier: BSD-3-Clause */
/* attendance.c - who sees to a channel: a call that waits, or else the mover. */
#include "chan.h"

#define SHORT_READS_MANY (ADMA_CELLS * 3 / 4)
#define SHORT_BYTES_MANY (ADMA_BOUNCE_SIZE * 3 / 4)

bool adma_needs(const struct adma_chan *chan)
{
	const struct adma_req *first = chan->reads.first;

	if (chan->backlog.first)
		return true;
	if (chan->line) /* the kernel does the rest, but for posts that found no entry */
		return first && first->state != ADMA_NEED_STATE;
	if (chan->transfers || chan->posted_slots || chan->long_reads)
		return true;
	/* Short ones lie in the ring; but more of them than it holds would keep the writer waiting. */
	return chan->short_reads >= SHORT_READS_MANY || chan->short_bytes >= SHORT_BYTES_MANY;
}

/* Relaxed: a hint, which orders nothing. */
static void tell_peer(struct adma_chan *chan, bool attended)
{
	if (chan->attended == attended)
		return;
	chan->attended = attended;
	atomic_store_explicit(&chan->out.half->attended, attended, memory_order_relaxed);
}

bool adma_peer_attends(const struct adma_chan *chan)
{
	return atomic_load_explicit(&chan->in.half->attended, memory_order_relaxed) != 0;
}

void adma_unwatch(struct adma_chan *chan)
{
	chan->watched = false;
	/* Left armed, it would cost the peer a system call and the mover a wake-up. */
	if (!chan->sleepers && chan->epoll < 0)
		adma_bell_disarm(&chan->out.half->bell);
}

void adma_attend(struct adma_chan *chan)
{
	if (chan->watched) {
		chan->resumes_at = chan->left_at;
		chan->attended_at = adma_now();
		adma_unwatch(chan);
	} else if (!chan->attending) {
		chan->resumes_at = 0;
	}
	chan->attending++;
	tell_peer(chan, true);
}

void adma_depart(struct adma_chan *chan, bool for_good)
{
	chan->attending--;
	if (for_good)
		adma_hand_over(chan);
}

void adma_announce(struct adma_chan *chan)
{
	tell_peer(chan, true);
}

void adma_depart_all(const struct adma_wait *wait, bool for_good)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan))
			continue; /* closed: nobody counts there any more */
		adma_depart(chan, for_good);
		adma_leave(chan);
	}
}

void adma_give_up(const struct adma_wait *wait)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan))
			continue;
		adma_attend(chan);
		adma_depart(chan, true);
		adma_leave(chan);
	}
}

void adma_give_up_one(struct adma_chan *chan)
{
	struct adma_wait wait = {.chans = &chan, .nchans = 1};

	adma_give_up(&wait);
}

/* A glance, such as a check, is no return: else who checks often would keep the mover from ever copying. */
static int64_t left_at(struct adma_chan *chan)
{
	int64_t now = adma_now(), before = chan->resumes_at;

	chan->resumes_at = 0;
	return before && now - chan->attended_at < ADMA_GRACE_NS ? before : now;
}

void adma_hand_over(struct adma_chan *chan)
{
	if (chan->attending || chan->closing)
		return;
	tell_peer(chan, false);
	if (chan->watched || !adma_needs(chan))
		return;
	if (!adma_mover_take(chan))
		return; /* it will be copied in calls, as ever */
	chan->watched = true;
	adma_mover_left_by_me();
	chan->left_at = left_at(chan);
}

void adma_watch(struct adma_chan *chan, bool more)
{
	if (!adma_needs(chan)) {
		adma_unwatch(chan);
		return;
	}
	int64_t then = chan->left_at + chan->grace_ns;
	short data = chan->line ? adma_line_events(chan, false) : adma_socket_events(chan);
	/* A byte stream is full of news: not before its time. */
	bool early = data && !chan->line && adma_now() < then;

	/*
	 * The mover itself finds what more there is on its way out. But what is early now may be no
	 * more when it looks at the clock once more, and then nobody would be polling that socket.
	 */
	if ((more && !adma_mover_here()) || early)
		adma_mover_call(chan, then);
	adma_mover_poll(chan, early ? 0 : data);
}
