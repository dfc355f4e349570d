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
#include "base/own.h"
#include "base/thread.h"
#include "progress/poll_descriptor.h"
#include "progress/progress_thread.h"
#include "worker/peer.h"

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
