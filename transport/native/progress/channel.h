/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.h - a channel: an endpoint, and what its process needs to wait for it.
 *
 * The endpoint (worker/endpoint.h) moves messages and knows nothing of the rest. The parts here
 * belong to one file each:
 *
 *   waiters    waiters.c          threads that sleep on the channel
 *   poll       poll_descriptor.c  the descriptor of fileno()
 *   ownership  ownership.c        who makes progress: a thread that waits, or the progress thread
 *   entry      progress_thread.c  what the progress thread keeps of it
 *   assist     copy/assist.h      copy worker threads that assist the progress thread
 *   all        api/channel.c      the list of all channels, for fork
 *
 * The lock of the endpoint guards all of it, but for what progress_thread.h says of `entry`.
 */
#ifndef ADMA_PROGRESS_CHANNEL_H
#define ADMA_PROGRESS_CHANNEL_H

#include "base/backoff.h"
#include "copy/assist.h"
#include "worker/endpoint.h"

struct adma_waiters {
	uint32_t sleepers;       /* threads in ppoll() */
	uint32_t listeners;      /* those of them that wait for a message, not for a request */
	uint32_t wakes_left;     /* sleepers that have yet to see the last local wake-up */
	uint64_t wake_epoch;
	short slept_events;      /* of the data descriptor: what all sleepers wait for */
	int eventfd;             /* local wake-ups */
	_Atomic int64_t spin_ns; /* how long to spin before a sleep; adapts */
};

struct adma_poll_descriptor {
	int epoll;         /* fileno(), or -1 */
	bool readable;     /* it is held readable */
	short data_events; /* what it waits for on the data descriptor */
};

struct adma_ownership {
	uint32_t owners;    /* threads in a call that waits; those between two such calls do not count */
	bool delegated;     /* the progress thread sees to the channel; never while somebody owns it */
	int64_t left_at;    /* when the last owner left it to the progress thread */
	int64_t resumes_at; /* left_at of when the progress thread had it before this ownership, or 0 */
	int64_t owned_at;   /* since when it is owned, if so */
	int64_t grace_ns;   /* how long an owner that left is waited for; adapts */
};

/* What the progress thread keeps in each channel. */
struct adma_progress_entry {
	/* Set once, before the channel is taken: see to it. When to do so again, or ADMA_NEVER. */
	int64_t (*visit)(struct adma_chan *chan, bool by_time);
	bool taken;        /* its descriptors are in the epoll; with the channel's lock, and `life` */
	bool incomplete;   /* not all of them are: the progress thread is of no use to it */
	/* With the lock of the registry: */
	bool in_use;       /* the progress thread is at the channel, or on its way */
	bool polled;       /* the next byte on its socket wakes the progress thread */
	short data_events; /* and so do these, on the data descriptor */
	int64_t due;       /* when to visit */
	struct adma_list link; /* among the channels to be visited */
};

struct adma_chan {
	struct adma_endpoint ep;
	struct adma_waiters waiters;
	struct adma_poll_descriptor poll;
	struct adma_ownership ownership;
	struct adma_progress_entry entry;
	struct adma_assist assist;
	struct adma_list all;
};

#define ADMA_NEVER INT64_MAX

#endif
