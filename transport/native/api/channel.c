/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c - the life of a channel: new, enter and leave, close, fork, free. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "adma_handshake.h"
#include "worker/channel.h"

#define FIRST_SPIN_NS 50000

uint64_t adma_bulk_size(void)
{
	return ADMA_BULK_SIZE;
}

uint64_t adma_eager_max(void)
{
	return ADMA_EAGER_MAX;
}

uint64_t adma_inline_max(void)
{
	return ADMA_INLINE_MAX;
}

/* ---- all channels of this process ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct adma_chan *all;

/* Forget first, then let go: a fork in between must not find what another thread reuses. */
static void close_fd(int *at)
{
	int fd = *at;

	*at = -1;
	if (fd >= 0)
		close(fd);
}

static void unmap_bulk(uint8_t *p)
{
	if (p)
		munmap(p, ADMA_BULK_SIZE);
}

static void unmap_segment(struct adma_segment **at)
{
	struct adma_segment *segment = *at;

	*at = NULL;
	adma_segment_unmap(segment);
}

static void tear_down(struct adma_chan *chan)
{
	adma_progress_forget(chan);
	close_fd(&chan->config.sock);
	close_fd(&chan->config.pidfd);
	if (chan->fifo)
		adma_fifo_unmap(chan->fifo);
	for (int i = 0; i < ADMA_MECH_MAX; i++)
		close_fd(&chan->config.mech_fd[i]);
	close_fd(&chan->bulk_fd);
	close_fd(&chan->eventfd);
	close_fd(&chan->epoll);
	unmap_segment(&chan->config.local);
	unmap_segment(&chan->config.remote);
	unmap_bulk(chan->bulk_out);
	unmap_bulk(chan->bulk_in);
	chan->bulk_out = chan->bulk_in = NULL;
	chan->torn = true;
}

void adma_chans_before_fork(void)
{
	pthread_mutex_lock(&all_lock);
	adma_progress_before_fork();
}

void adma_chans_after_fork_parent(void)
{
	adma_progress_after_fork_parent();
	pthread_mutex_unlock(&all_lock);
}

/*
 * The child has this one thread, and locks that others may have held for
 * ever: its copies are closed without taking any, so that no descriptor keeps
 * the parent's socket open, and refuse all use from now on.
 */
void adma_chans_after_fork_child(void)
{
	adma_progress_after_fork_child();
	for (struct adma_chan *chan = all; chan; chan = chan->next) {
		chan->progress = (struct adma_progress_entry){0}; /* the parent's mover has it */
		chan->assist = (struct adma_assist){.part = adma_visit_assist}; /* and its queues */
		if (chan->torn)
			continue;
		atomic_store(&chan->forked, true);
		tear_down(chan);
	}
	pthread_mutex_unlock(&all_lock);
}

static void enlist(struct adma_chan *chan)
{
	pthread_mutex_lock(&all_lock);
	chan->next = all;
	if (all)
		all->prev = chan;
	all = chan;
	pthread_mutex_unlock(&all_lock);
}

static void delist(struct adma_chan *chan)
{
	pthread_mutex_lock(&all_lock);
	if (chan->prev)
		chan->prev->next = chan->next;
	else
		all = chan->next;
	if (chan->next)
		chan->next->prev = chan->prev;
	pthread_mutex_unlock(&all_lock);
}

/* ---- new, enter, leave ---- */

int adma_chan_new(const struct adma_config *config, struct adma_chan **out)
{
	struct adma_chan *chan = calloc(1, sizeof(*chan));
	int rc = 0;

	if (!chan)
		return -ENOMEM;
	chan->config = *config;
	chan->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (chan->eventfd < 0)
		rc = -errno;
	else if (config->forced && (config->forced == ADMA_MECH_DMA || config->forced == ADMA_MECH_HELPER))
		rc = adma_fifo_open(chan);
	if (rc) {
		close_fd(&chan->eventfd);
		free(chan);
		return rc;
	}
	pthread_mutex_init(&chan->lock, NULL);
	chan->out.segment = config->local;
	chan->in.segment = config->remote;
	chan->free_slots = ADMA_SLOTS;
	chan->bulk_fd = -1;
	chan->epoll = -1;
	chan->spin_ns = FIRST_SPIN_NS;
	chan->grace_ns = ADMA_GRACE_NS;
	chan->assist.part = adma_visit_assist;
	chan->looked_at = adma_now();
	enlist(chan);
	*out = chan;
	return 0;
}

int adma_enter(struct adma_chan *chan)
{
	if (!chan) /* freed already, by a binding whose objects die in any order */
		return -ADMA_E_CLOSED_HERE;
	if (atomic_load_explicit(&chan->forked, memory_order_relaxed))
		return -ADMA_E_FORKED;
	pthread_mutex_lock(&chan->lock);
	if (!chan->closing)
		return 0;
	pthread_mutex_unlock(&chan->lock);
	return -ADMA_E_CLOSED_HERE;
}

void adma_leave(struct adma_chan *chan)
{
	if (chan->sleepers || chan->epoll >= 0 || chan->delegated)
		(void)adma_rearm(chan);
	pthread_mutex_unlock(&chan->lock);
}

void adma_terminate(struct adma_chan *chan, int why)
{
	if (chan->over)
		return;
	chan->over = why;
	adma_wake_waiters(chan);
}

int adma_health(struct adma_chan *chan)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = -chan->over;
	adma_leave(chan);
	return rc;
}

void adma_get_stats(struct adma_chan *chan, struct adma_stats *stats)
{
	if (!chan || atomic_load(&chan->forked)) {
		memset(stats, 0, sizeof(*stats));
		return;
	}
	pthread_mutex_lock(&chan->lock); /* a closed channel still tells */
	*stats = chan->stats;
	stats->wakes_sent = atomic_load_explicit(&chan->wakes_sent, memory_order_relaxed);
	stats->pending_reads = chan->reads_pending;
	stats->pending_writes = chan->writes_pending;
	pthread_mutex_unlock(&chan->lock);
}

void adma_blocked(struct adma_chan *chan, int delta)
{
	if (adma_enter(chan))
		return;
	chan->blocked += delta;
	atomic_store_explicit(&chan->out.segment->blocked, chan->blocked > 0, memory_order_relaxed);
	adma_leave(chan);
}

/* Both ends have a large message in line, and this one is not about to read the peer's. */
static bool lines_stuck(struct adma_chan *chan)
{
	struct adma_message first;

	if (chan->fifo)
		return chan->writes_pending && !chan->reads_pending && adma_fifo_head(chan, &first);
	return chan->posted_slots && !chan->reads.first && adma_ring_peek(&chan->in) > 0 &&
	       chan->in.desc.carry == ADMA_SLOT;
}

bool adma_deadlocked(struct adma_chan *chan)
{
	bool both;

	if (adma_enter(chan))
		return false;
	both = chan->blocked > 0 && atomic_load_explicit(&chan->in.segment->blocked, memory_order_relaxed) &&
	       lines_stuck(chan);
	adma_leave(chan);
	return both;
}

/* ---- close ---- */

static void begin_close(struct adma_chan *chan)
{
	(void)ADMA_FAULT(ADMA_FAULT_CLOSE);
	chan->closing = true;
	if (chan->delegated)
		adma_delegation_end(chan);
	(void)adma_advance(chan); /* what the peer matched before this is a transfer */
	if (!chan->over || chan->over == ADMA_E_CLOSED || chan->over == ADMA_E_DIED)
		chan->over = ADMA_E_CLOSED_HERE;
	(void)adma_advance(chan); /* withdraws and fails what is unmatched */
	adma_transfers_close(chan);
	/* After the withdrawals: whoever sees `closed` finds no message of ours half offered. */
	atomic_store_explicit(&chan->out.segment->closed, 1, memory_order_release);
	adma_signal_peer(chan);
	adma_wake_waiters(chan);
}

static bool all_quiet(struct adma_chan *chan)
{
	(void)adma_peer_check(chan);
	(void)adma_advance(chan); /* also what was matched while it was being withdrawn */
	return !chan->transfers && !chan->posted_slots && !chan->users &&
	       !(chan->fifo && chan->fifo->posted.first);
}

/* Sleep a little on what may end the last transfer or bring the last user out. */
static void await_quiet(struct adma_chan *chan, uint64_t bell, int64_t ns)
{
	struct pollfd fds[2] = {
		{.fd = chan->eof ? -1 : chan->config.sock, .events = POLLIN},
		{.fd = chan->dead ? -1 : chan->config.pidfd, .events = POLLIN},
	};
	/* A user of ours that leaves rings nothing, nor does the kernel: look again soon. */
	int ms = chan->users || chan->fifo || !adma_ec_arm(&chan->out.segment->event_count, bell) ? 1 : (int)(ns / 1000000) + 1;

	pthread_mutex_unlock(&chan->lock);
	(void)poll(fds, 2, ms);
	pthread_mutex_lock(&chan->lock);
}

/* It is closing, so that nobody enters it or lends to it any more: wait for those of our own who tried. */
static void let_go(struct adma_chan *chan)
{
	adma_engine_assist_stop(&chan->assist);
	adma_progress_release(chan);
}

int adma_chan_close(struct adma_chan *chan, int64_t timeout_ns)
{
	int64_t end = adma_now() + timeout_ns;
	int rc = 0;

	if (!chan || atomic_load(&chan->forked))
		return 0; /* a child's copy was closed at the fork */
	pthread_mutex_lock(&chan->lock);
	if (!chan->closing)
		begin_close(chan);
	while (!chan->torn) {
		uint64_t bell = adma_ec_read(&chan->out.segment->event_count); /* before the look */
		int64_t left = end - adma_now();

		if (all_quiet(chan))
			break;
		if (left <= 0) {
			rc = -EAGAIN;
			break;
		}
		adma_wake_waiters(chan);
		await_quiet(chan, bell, left < 10000000 ? left : 10000000);
	}
	if (!rc && !chan->torn)
		tear_down(chan);
	pthread_mutex_unlock(&chan->lock);
	if (!rc)
		let_go(chan);
	return rc;
}

uint64_t adma_chan_abandon(struct adma_chan *chan)
{
	uint64_t held = 0;

	if (!chan || atomic_load(&chan->forked))
		return 0;
	pthread_mutex_lock(&chan->lock);
	/* Our own threads copy for a moment only; it is the peer's that are given up on. */
	while (!chan->torn && chan->users) {
		adma_wake_waiters(chan);
		await_quiet(chan, 0, 1000000);
	}
	if (!chan->torn) {
		(void)adma_advance(chan); /* what only they were at is quiet now, and nobody's fault */
		held = adma_transfers_abandon(chan);
		if (chan->fifo)
			held += adma_fifo_abandon(chan);
		tear_down(chan);
	}
	pthread_mutex_unlock(&chan->lock);
	let_go(chan);
	return held;
}

void adma_chan_free(struct adma_chan *chan)
{
	if (!chan)
		return;
	if (adma_chan_close(chan, 0))
		(void)adma_chan_abandon(chan);
	delist(chan);
	if (!atomic_load(&chan->forked)) /* in a child another thread may hold it for ever */
		pthread_mutex_destroy(&chan->lock);
	free(chan->fifo);
	free(chan);
}
