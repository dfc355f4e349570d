/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * query.c - questions about a channel. They make no progress; those that may make a system call
 * say so in adma.h.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "api/channel.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/own.h"
#include "base/thread.h"
#include "progress/poll_descriptor.h"
#include "progress/progress_thread.h"
#include "worker/learning.h"
#include "worker/peer.h"
#include "worker/select.h"

#define SIGNAL_SLICE_NS 100000000

/* ---- constants ---- */

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

/* ---- threads and signals ---- */

bool adma_is_first_thread(void)
{
	return adma_thread_is_first();
}

/* Does the process have other threads than the caller and the progress thread? If unknown, assume that it has. */
static bool signal_may_go_elsewhere(void)
{
	int threads = adma_thread_count();

	return !threads || threads - adma_progress_count() > 1;
}

int64_t adma_signal_slice(void)
{
	static _Atomic int64_t asked;
	static _Atomic bool elsewhere;
	int64_t now = adma_now(), before = atomic_load_explicit(&asked, memory_order_relaxed);
	bool stale = !before || now - before >= ADMA_REST_NS;

	if (stale) {
		atomic_store_explicit(&elsewhere, signal_may_go_elsewhere(), memory_order_relaxed);
		atomic_store_explicit(&asked, now, memory_order_relaxed);
	}
	if (atomic_load_explicit(&elsewhere, memory_order_relaxed))
		return SIGNAL_SLICE_NS;
	return stale ? -1 : ADMA_REST_NS;
}

/* ---- state ---- */

int adma_health(struct adma_chan *chan)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = -chan->ep.control.over;
	adma_leave(chan);
	return rc;
}

void adma_get_loss(struct adma_chan *chan, struct adma_loss *loss)
{
	const struct adma_endpoint *ep;

	memset(loss, 0, sizeof(*loss));
	if (!chan || atomic_load(&chan->progress.worker.forked))
		return;
	ep = &chan->ep;
	pthread_mutex_lock(&chan->progress.worker.lock); /* a closed channel is asked, too */
	loss->messages = ep->send.lost;
	loss->bytes = ep->send.lost_bytes;
	loss->peer_posted = ep->receive.peer_posted;
	loss->peer_withdrawn = ep->receive.peer_lost;
	pthread_mutex_unlock(&chan->progress.worker.lock);
}

void adma_get_stats(struct adma_chan *chan, struct adma_stats *stats)
{
	if (!chan || atomic_load(&chan->progress.worker.forked)) {
		memset(stats, 0, sizeof(*stats));
		return;
	}
	pthread_mutex_lock(&chan->progress.worker.lock); /* a closed channel still has its counters */
	adma_stats_of(&chan->progress, &chan->ep, stats);
	pthread_mutex_unlock(&chan->progress.worker.lock);
}

void adma_blocked(struct adma_chan *chan, int delta)
{
	struct adma_send_side *send;

	if (adma_enter(chan))
		return;
	send = &chan->ep.send;
	send->blocked += delta;
	/* Relaxed: it is a hint, which orders nothing. */
	atomic_store_explicit(&chan->ep.connection.config.local->blocked, send->blocked > 0, memory_order_relaxed);
	adma_leave(chan);
}

void adma_probing(struct adma_chan *chan, int delta)
{
	if (adma_enter(chan))
		return;
	chan->ep.receive.probes += (uint32_t)delta;
	adma_tell_reads(&chan->ep);
	adma_leave(chan);
}

bool adma_deadlocked(struct adma_chan *chan)
{
	const struct adma_segment *remote;
	bool both;

	if (adma_enter(chan))
		return false;
	remote = chan->ep.connection.config.remote;
	both = chan->ep.send.blocked > 0 && atomic_load_explicit(&remote->blocked, memory_order_relaxed) &&
	       chan->ep.ops->is_stuck(&chan->ep);
	adma_publish_and_leave(chan); /* the kernel helper may have shown that the peer is gone */
	return both;
}

static int query_descriptor(struct adma_chan *chan, int (*open)(struct adma_progress *progress))
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = open(&chan->progress);
	adma_mark(&chan->ep, ADMA_MARK_REARM); /* from now on the descriptor has to be kept up to date */
	adma_publish_and_leave(chan);
	return rc;
}

int adma_fileno(struct adma_chan *chan)
{
	return query_descriptor(chan, adma_poll_messages);
}

int adma_completions_fileno(struct adma_chan *chan)
{
	return query_descriptor(chan, adma_poll_completions);
}

int adma_peek(struct adma_chan *chan, struct adma_message *message)
{
	struct adma_endpoint *ep;
	int rc = adma_enter(chan);
	bool found;

	memset(message, 0, sizeof(*message));
	if (rc)
		return rc;
	ep = &chan->ep;
	if (ep->control.draining) {
		adma_leave(chan);
		return -ADMA_E_CLOSED_HERE;
	}
	(void)adma_endpoint_advance(ep);
	found = ep->ops->peek(ep, message);
	if (!found && !ep->control.over) {
		(void)adma_peer_check(ep);
		/* If the peer closed just now, what it published before is still the next message. */
		found = ep->control.over && ep->ops->peek(ep, message);
	}
	if (found)
		adma_note_shown(ep);
	else if (!adma_is_undecided(ep))
		rc = -adma_receive_error(ep);
	adma_publish_and_leave(chan);
	return rc;
}

int adma_memory_is_gone(const void *p, uint64_t n)
{
	enum { PAGE = 4096, PAGES = 512 };
	uint8_t bytes[PAGES];
	struct iovec into = {.iov_base = bytes}, pages[PAGES];

	for (uint64_t done = 0; done < n;) {
		ssize_t rc;

		/* The first byte of the buffer, and of each page after that: a larger page is looked at several times. */
		for (into.iov_len = 0; done < n && into.iov_len < PAGES; into.iov_len++) {
			uintptr_t at = (uintptr_t)p + done;

			pages[into.iov_len] = (struct iovec){.iov_base = (void *)at, .iov_len = 1};
			done += PAGE - at % PAGE;
		}
		rc = process_vm_readv(getpid(), &into, 1, pages, into.iov_len, 0);
		if (rc < 0 && errno != EFAULT)
			return -errno;
		if (rc != (ssize_t)into.iov_len)
			return 1;
	}
	return 0;
}

int adma_skip(struct adma_chan *chan, struct adma_message *message)
{
	struct adma_endpoint *ep;
	int rc = adma_enter(chan);

	memset(message, 0, sizeof(*message));
	if (rc)
		return rc;
	ep = &chan->ep;
	(void)adma_endpoint_advance(ep);
	rc = ep->ops->skip ? ep->ops->skip(ep, message) : -EOPNOTSUPP;
	if (!rc)
		adma_mark(ep, ADMA_MARK_REARM); /* fileno() may be readable for this message alone */
	adma_publish_and_leave(chan);
	return rc;
}

/* ---- selection ---- */

/* The mechanism for a write of n bytes that waits, as if all segments existed: a post makes a missing one. */
static uint32_t query_built_in(const struct adma_endpoint *ep, uint64_t n)
{
	return adma_select_from(ep, n, adma_select_working(ep), true);
}

/* The same, if the peer has learnt what we have: it is the reader that decides. */
static uint32_t query_select(const struct adma_endpoint *ep, uint64_t n)
{
	bool both_wait = adma_peer_waits(ep) && !adma_cpu_short_with(ep->connection.config.pid, adma_now());

	return adma_learning_mechanism(ep, n, adma_select_working(ep), query_built_in(ep, n), both_wait);
}

int adma_choose(struct adma_chan *chan, uint64_t n)
{
	int rc = adma_enter(chan);
	uint32_t id;

	if (rc)
		return rc;
	if (!adma_takes_slot(&chan->ep, n)) {
		rc = n <= ADMA_INLINE_MAX ? ADMA_INLINE : ADMA_EAGER;
	} else {
		id = query_select(&chan->ep, n);
		rc = id ? ADMA_SLOT | (int)id << 8 : -ADMA_E_NO_MECHANISM;
	}
	adma_leave(chan);
	return rc;
}

int adma_candidates(struct adma_chan *chan, uint64_t n, struct adma_candidate *found)
{
	int rc = adma_enter(chan);
	uint32_t chosen = ADMA_MECH_NONE;
	bool learnt = false;

	if (rc)
		return rc;
	if (adma_takes_slot(&chan->ep, n)) {
		chosen = query_select(&chan->ep, n);
		learnt = chosen != query_built_in(&chan->ep, n);
	}
	rc = (int)adma_select_explain(&chan->ep, n, chosen, learnt, found);
	adma_leave(chan);
	return rc;
}

int adma_learnt(struct adma_chan *chan, uint64_t n, struct adma_learnt *found)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	if (adma_takes_slot(&chan->ep, n))
		rc = (int)adma_learning_tell(&chan->ep, n, adma_select_working(&chan->ep), query_built_in(&chan->ep, n),
					     found);
	adma_leave(chan);
	return rc;
}

int adma_learnt_tell(uint32_t uid, struct adma_learnt_cost *found, int room)
{
	return adma_learning_tell_costs(uid, found, room);
}

int adma_learnt_take_up(uint32_t uid, const struct adma_learnt_cost *cost)
{
	return adma_learning_take_up(uid, cost);
}

uint64_t adma_learnt_size(uint32_t size_class)
{
	uint64_t power = 1ull << (ADMA_SIZE_CLASS_FIRST + size_class / 2);

	return size_class < ADMA_SIZE_CLASSES ? power + size_class % 2 * power / 2 : 0;
}

uint32_t adma_withdrawn(struct adma_chan *chan, int32_t *errs)
{
	uint32_t mask;

	if (adma_enter(chan))
		return 0;
	mask = chan->ep.withdrawn | chan->ep.send.withdrawn;
	memcpy(errs, chan->ep.withdrawn_error, sizeof(chan->ep.withdrawn_error));
	adma_leave(chan);
	return mask;
}
