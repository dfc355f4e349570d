/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress.h - a worker, and what its process needs to wait for it.
 *
 * The worker (worker/worker.h) moves messages and knows nothing of the rest. Each of the other
 * parts belongs to one file:
 *
 *   waiters    waiters.c          threads that sleep on the worker; what wakes them: descriptors.c
 *   poll, completions  poll_descriptor.c  the descriptors of fileno()
 *   watch      poll_set.c         the poll sets in which a channel is
 *   ownership  ownership.c        whether waiting threads or the progress thread make progress
 *   entry      progress_thread.c  the worker's entry in the registry of the progress thread
 *   assist     copy/assist.h      copy worker threads that assist the progress thread
 *   all        api/workers.c      the list of all workers, for fork
 *
 * The lock of the worker guards all of them, with the exceptions in `entry` and `watch`.
 */
#ifndef ADMA_PROGRESS_PROGRESS_H
#define ADMA_PROGRESS_PROGRESS_H

#include "base/backoff.h"
#include "copy/assist.h"
#include "worker/round.h"

struct adma_progress;

struct adma_waiters {
	uint32_t sleepers;       /* threads in ppoll() */
	uint32_t listeners;      /* the sleepers that wait for a message, not for a request */
	uint32_t wakes_left;     /* sleepers that have not seen the last local wake-up yet */
	uint64_t wake_epoch;
	uint64_t sleeps;         /* how often a thread slept */
	short slept_events;      /* the events of a channel's data descriptor for which all sleepers wait */
	int epoll;               /* of a shared worker: the descriptors of all endpoints, or -1 */
	int eventfd;             /* for local wake-ups */
	struct adma_own own_epoll, own_eventfd;
	int64_t eventfd_used_at; /* when the eventfd was last used, or looked at */
	int64_t owned_at;        /* when the descriptors of the worker were last looked at: descriptors.c */
	bool lost;               /* the epoll or the eventfd is not ours any more */
	int64_t checked_at;      /* when a thread that never sleeps last checked the peers */
	struct adma_backoff backoff; /* how long to spin before a sleep */
	int64_t core_asked; /* when it was last asked whether a peer shares the core of a bound thread; 0: never */
	int core;           /* for a thread on this core */
	bool core_shared;   /* and the answer: progress/spin.c */
	_Atomic int64_t vain_at; /* when a spin for a message last ended in vain; 0: something has moved since */
};

struct adma_poll_descriptor {
	int epoll;           /* what the caller polls, or -1 */
	struct adma_own own;
	bool readable;       /* it is kept readable */
	bool polls_peer;     /* the descriptors that tell of the peer are in it */
};

/* A channel as a member of poll sets. */
struct adma_watch {
	struct adma_list members; /* guarded by the lock of the poll sets */
	_Atomic uint32_t quiet;   /* how many members are quiet; it grows under the channel's lock only */
};

struct adma_ownership {
	uint32_t owners;    /* threads that are in a call that waits, not those between two such calls */
	bool delegated;     /* the progress thread makes progress; never while a thread owns the channel */
	int64_t left_at;    /* when the last owner left the worker to the progress thread */
	int64_t resumes_at; /* left_at before this ownership, if the worker was delegated then, or 0 */
	int64_t owned_at;   /* when the ownership began, if the worker was delegated before */
	int64_t grace_ns;   /* how long the progress thread waits for an owner to come back; adapts */
};

/* The worker's entry in the registry of the progress thread. */
struct adma_progress_entry {
	/* Make progress on the worker. Returns when to visit it again, or ADMA_NEVER. Set once, before it is taken. */
	int64_t (*visit)(struct adma_progress *progress, bool by_time);
	bool taken; /* the descriptors are in the epoll; guarded by the worker's lock and that of the registry */
	bool incomplete; /* not all of them are: the progress thread cannot serve the worker */
	/* Guarded by the lock of the registry: */
	uint32_t visits; /* threads that visit the worker, or are about to: one, and those that are held up in it */
	bool forgotten; /* its descriptors are not in the epoll any more; guarded as `taken` is */
	bool polled; /* the next byte on its socket wakes the progress thread */
	short data_events; /* and so do these events of a channel's data descriptor */
	int64_t due; /* when to visit the worker */
	struct adma_list link; /* among the workers to be visited */
	struct adma_list member; /* among the workers that are taken */
	void (*orphan)(struct adma_progress *progress); /* the visit that goes on is the last one, and calls this */
};

struct adma_progress {
	struct adma_worker worker;
	struct adma_waiters waiters;
	struct adma_poll_descriptor poll; /* messages and the end; of a shared worker, completions, too */
	struct adma_poll_descriptor completions; /* of a channel: requests that are done and were not looked at */
	struct adma_watch watch;
	struct adma_ownership ownership;
	struct adma_progress_entry entry;
	struct adma_assist assist;
	void (*let_go)(
		struct adma_progress *progress); /* frees a closed worker that a copy worker thread leaves last */
	struct adma_list all;
};

static inline struct adma_progress *adma_progress_of(struct adma_worker *worker)
{
	return adma_container_of(worker, struct adma_progress, worker);
}

/* A channel's worker has one endpoint for life, whose descriptors are polled one by one. */
static inline bool adma_is_shared(const struct adma_progress *progress)
{
	return progress->waiters.epoll >= 0;
}

/* The only endpoint of a channel's worker. */
static inline struct adma_endpoint *adma_only_endpoint(const struct adma_progress *progress)
{
	return adma_container_of(progress->worker.endpoints.next, struct adma_endpoint, member);
}

/* The counters of an endpoint, with those that its worker keeps. */
static inline void adma_stats_of(const struct adma_progress *progress, const struct adma_endpoint *ep,
				 struct adma_stats *stats)
{
	*stats = ep->stats;
	stats->wakes_sent = atomic_load_explicit(&ep->wakes_sent, memory_order_relaxed);
	stats->sleeps = progress->waiters.sleeps;
	stats->pending_reads = ep->receive.pending;
	stats->pending_writes = ep->send.pending;
}

#define ADMA_NEVER INT64_MAX

#endif
