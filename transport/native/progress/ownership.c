/* SPDX-License-Identifier: BSD-3-Clause */
/* attendance.c - who sees to a channel: a call that waits, or else the mover. */
#include "worker/channel.h"

#define SHORT_READS_MANY (ADMA_CELLS * 3 / 4)
#define SHORT_BYTES_MANY (ADMA_BOUNCE_SIZE * 3 / 4)

bool adma_needs_progress(const struct adma_chan *chan)
{
	const struct adma_req *first = chan->reads.first;

	if (chan->backlog.first)
		return true;
	if (chan->fifo) /* the kernel does the rest, but for posts that found no entry */
		return first && first->state != ADMA_NEED_STATE;
	if (chan->transfers || chan->posted_slots || chan->long_reads)
		return true;
	/* Short ones lie in the ring; but more of them than it holds would keep the writer waiting. */
	return chan->short_reads >= SHORT_READS_MANY || chan->short_bytes >= SHORT_BYTES_MANY;
}

/* Relaxed: a hint, which orders nothing. */
static void tell_peer(struct adma_chan *chan, bool attended)
{
	if (chan->waiting == attended)
		return;
	chan->waiting = attended;
	atomic_store_explicit(&chan->out.segment->waiting, attended, memory_order_relaxed);
}

bool adma_peer_waits(const struct adma_chan *chan)
{
	return atomic_load_explicit(&chan->in.segment->waiting, memory_order_relaxed) != 0;
}

void adma_delegation_end(struct adma_chan *chan)
{
	chan->delegated = false;
	/* Left armed, it would cost the peer a system call and the mover a wake-up. */
	if (!chan->sleepers && chan->epoll < 0)
		adma_ec_disarm(&chan->out.segment->event_count);
}

void adma_own(struct adma_chan *chan)
{
	if (chan->delegated) {
		chan->resumes_at = chan->left_at;
		chan->owned_at = adma_now();
		adma_delegation_end(chan);
	} else if (!chan->owners) {
		chan->resumes_at = 0;
	}
	chan->owners++;
	tell_peer(chan, true);
}

void adma_disown(struct adma_chan *chan, bool for_good)
{
	chan->owners--;
	if (for_good)
		adma_hand_over(chan);
}

void adma_announce_owner(struct adma_chan *chan)
{
	tell_peer(chan, true);
}

void adma_disown_all(const struct adma_wait *wait, bool for_good)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan))
			continue; /* closed: nobody counts there any more */
		adma_disown(chan, for_good);
		adma_leave(chan);
	}
}

void adma_give_up(const struct adma_wait *wait)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan))
			continue;
		adma_own(chan);
		adma_disown(chan, true);
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
	return before && now - chan->owned_at < ADMA_GRACE_NS ? before : now;
}

void adma_hand_over(struct adma_chan *chan)
{
	if (chan->owners || chan->closing)
		return;
	tell_peer(chan, false);
	if (chan->delegated || !adma_needs_progress(chan))
		return;
	if (!adma_progress_take(chan))
		return; /* it will be copied in calls, as ever */
	chan->delegated = true;
	adma_progress_note_caller();
	chan->left_at = left_at(chan);
}

void adma_delegation_rearm(struct adma_chan *chan, bool more)
{
	if (!adma_needs_progress(chan)) {
		adma_delegation_end(chan);
		return;
	}
	int64_t then = chan->left_at + chan->grace_ns;
	short data = chan->fifo ? adma_fifo_events(chan, false) : adma_socket_events(chan);
	/* A byte stream is full of news: not before its time. */
	bool early = data && !chan->fifo && adma_now() < then;

	/*
	 * The mover itself finds what more there is on its way out. But what is early now may be no
	 * more when it looks at the clock once more, and then nobody would be polling that socket.
	 */
	if ((more && !adma_progress_here()) || early)
		adma_progress_call(chan, then);
	adma_progress_poll(chan, early ? 0 : data);
}
