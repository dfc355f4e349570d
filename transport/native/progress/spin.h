/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.h - what a thread looks at while it spins on workers, and for how long it spins. */
#ifndef ADMA_PROGRESS_SPIN_H
#define ADMA_PROGRESS_SPIN_H

#include "progress/progress.h"

/*
 * How long to spin, unless that starves a peer: `asked` ns or, if that is < 0, what the worker has learned; 0 where
 * spinning would do harm, and where nothing has happened since a spin in vain that ended a moment ago: a call that posts
 * what it waits for follows on one that only spun (adma_read_now()).
 */
int64_t adma_spin_limit(struct adma_progress *progress, int64_t asked, int64_t now);

/*
 * A thread is about to spin for `spin_ns`. Is a peer of the worker bound to the core that the thread is bound to? Then
 * nothing comes from it meanwhile. Called with the lock of the worker held.
 */
bool adma_spin_starves_peer(struct adma_progress *progress, int64_t spin_ns, int64_t now);

/* The same, for a waiter that has learned to spin for `learned` ns. */
int64_t adma_spin_time(int64_t learned, int64_t asked, int64_t now);

/*
 * What a waiter has learned before its first wait; what it learns when something comes, from the sleeps before that, and
 * when a spin found that; and how long to spin now.
 */
void adma_spin_begin(struct adma_backoff *backoff);
void adma_spin_came(struct adma_backoff *backoff);
void adma_spin_found(struct adma_backoff *backoff);
int64_t adma_spin_learned(const struct adma_backoff *backoff);

/* The same for the threads that wait for a worker: one has slept; something has moved; a spin has found something. */
void adma_spin_slept(struct adma_progress *progress, int64_t slept);
void adma_spin_moved(struct adma_progress *progress);
void adma_spin_hit(struct adma_progress *progress);

/* Words of an endpoint to look at without the lock, and their values at an earlier look. */
struct adma_hint {
	const struct adma_endpoint *ep;
	_Atomic uint64_t *event_count;
	uint64_t events_seen;
	_Atomic uint64_t *seq;
	uint64_t seq_wanted; /* 0: do not look for messages */
	struct adma_poll_word word;
};

#define ADMA_HINTS_MAX 8 /* a thread does not spin on the words of more endpoints than this */

/* The shortest spin. Nothing is looked at in it but words in memory: the sleep that follows tells of the rest. */
#define ADMA_SPIN_MIN_NS 2000

/* The words of all endpoints that a thread waits for. */
struct adma_hints {
	struct adma_hint each[ADMA_HINTS_MAX];
	struct adma_summary *summary[ADMA_HINTS_MAX]; /* of workers whose peers name their endpoints there */
	int count, summaries;
	int first;     /* the first one of the worker whose events were noted last */
	bool too_many; /* there are endpoints without one */
	uint32_t removed; /* endpoints that all workers together had lost: hints of one that goes later are void */
};

void adma_hints_begin(struct adma_hints *hints);

/*
 * For each worker, with its lock held: first note its event counts, then look at its endpoints, then take hints.
 * What is signalled after the first step counts as news. `messages`: the thread waits for a message.
 */
void adma_hints_note_events(struct adma_hints *hints, struct adma_progress *progress);
void adma_hints_take(struct adma_hints *hints, struct adma_progress *progress, bool messages);

/* Has a message come? Was an event count signalled? Has the word of an endpoint's oldest request changed? */
bool adma_hints_look(const struct adma_hints *hints);

/* Spin until a message comes. Called with the lock held, which is dropped meanwhile. True when a message came. */
bool adma_spin_for_message(struct adma_progress *progress, struct adma_endpoint *ep, int64_t spin_ns);

#endif
