/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.c - spinning on the words of a worker's endpoints; see spin.h. */
#include "progress/spin.h"

#include <sched.h>

#include "base/cpu.h"
#include "base/own.h"
#include "shm/eventcount.h"
#include "shm/summary.h"

#define SPIN_MAX_NS 100000
#define FIRST_SPIN_NS 50000
#define CORE_ASK_NS 10000000 /* between two questions which cores the peers of a thread with one core may use */

static const struct adma_backoff_limits limits = {.min_ns = ADMA_SPIN_MIN_NS, .max_ns = SPIN_MAX_NS};

int64_t adma_spin_max_ns(void)
{
	return SPIN_MAX_NS;
}

int64_t adma_spin_time(int64_t learned, int64_t asked, int64_t now)
{
	if (asked >= 0)
		return asked;
	/* Whoever has slept long again and again spins for so little that the load does not matter. */
	if (learned <= ADMA_SPIN_MIN_NS)
		return adma_cpu_was_loaded(now) ? 0 : learned;
	return adma_cpu_loaded(now) ? 0 : learned;
}

void adma_spin_begin(struct adma_backoff *backoff)
{
	atomic_init(&backoff->spin_ns, FIRST_SPIN_NS);
}

void adma_spin_came(struct adma_backoff *backoff)
{
	adma_backoff_wake(backoff, limits);
}

void adma_spin_found(struct adma_backoff *backoff)
{
	adma_backoff_hit(backoff, limits);
}

int64_t adma_spin_learned(const struct adma_backoff *backoff)
{
	return atomic_load_explicit(&backoff->spin_ns, memory_order_relaxed);
}

/* For a spin in vain: when that was; 0: something has happened since. */
static void spin_note_vain(struct adma_progress *progress, int64_t at)
{
	_Atomic int64_t *vain_at = &progress->waiters.vain_at;

	if (atomic_load_explicit(vain_at, memory_order_relaxed) != at)
		atomic_store_explicit(vain_at, at, memory_order_relaxed);
}

/* Is a peer bound to the only core of this thread? An endpoint to ourselves has no socket, and waits for nobody else. */
static bool spin_shares_core(const struct adma_worker *worker)
{
	adma_list_for_each_entry(ep, &worker->endpoints, struct adma_endpoint, member)
		if (ep->connection.config.sock >= 0 && adma_cpu_shared_with(ep->connection.config.pid))
			return true;
	return false;
}

bool adma_spin_starves_peer(struct adma_progress *progress, int64_t spin_ns, int64_t now)
{
	struct adma_waiters *waiters = &progress->waiters;
	int64_t age = spin_ns <= ADMA_SPIN_MIN_NS ? ADMA_REST_NS : CORE_ASK_NS;
	int core;

	if (adma_cpu_count_within(age, now) > 1)
		return false;
	core = sched_getcpu();
	if (!waiters->core_asked || now - waiters->core_asked > age || waiters->core != core) {
		waiters->core_asked = now;
		waiters->core = core;
		waiters->core_shared = spin_shares_core(&progress->worker);
	}
	return waiters->core_shared;
}

int64_t adma_spin_limit(struct adma_progress *progress, int64_t asked, int64_t now)
{
	if (asked < 0 && now - atomic_load_explicit(&progress->waiters.vain_at, memory_order_relaxed) < SPIN_MAX_NS)
		return 0;
	return adma_spin_time(adma_spin_learned(&progress->waiters.backoff), asked, now);
}

void adma_spin_slept(struct adma_progress *progress, int64_t slept)
{
	adma_backoff_sleep(&progress->waiters.backoff, slept);
	spin_note_vain(progress, 0);
}

void adma_spin_moved(struct adma_progress *progress)
{
	if (!progress) /* the first channel of several was freed */
		return;
	adma_spin_came(&progress->waiters.backoff);
	spin_note_vain(progress, 0);
}

void adma_spin_hit(struct adma_progress *progress)
{
	if (progress)
		adma_spin_found(&progress->waiters.backoff);
}

static struct adma_hint hint_take(const struct adma_endpoint *ep, uint64_t events, bool messages)
{
	const struct adma_config *config = &ep->connection.config;
	uint64_t head = ep->receive.ring.head;

	return (struct adma_hint){
		.ep = ep,
		.event_count = &config->local->event_count,
		.events_seen = events,
		.seq = &config->remote->cells[head & (ADMA_CELLS - 1)].seq,
		.seq_wanted = messages ? head + 1 : 0,
		.word = ep->ops->poll_word(ep),
	};
}

void adma_hints_begin(struct adma_hints *hints)
{
	hints->count = hints->summaries = 0;
	hints->removed = 0;
	hints->too_many = false;
}

void adma_hints_note_events(struct adma_hints *hints, struct adma_progress *progress)
{
	hints->first = hints->count;
	adma_list_for_each_entry(ep, &progress->worker.direct, struct adma_endpoint, direct) {
		struct adma_hint *hint = &hints->each[hints->count];

		if (hints->count == ADMA_HINTS_MAX) {
			hints->too_many = true;
			return;
		}
		hints->count++;
		hint->ep = ep;
		hint->events_seen = adma_ec_read(&ep->connection.config.local->event_count);
	}
}

/* The lock was dropped since the endpoints were noted. Is this one still there, and looked at directly? */
static bool hints_are_of(const struct adma_worker *worker, const struct adma_endpoint *noted)
{
	adma_list_for_each_entry(ep, &worker->direct, struct adma_endpoint, direct)
		if (ep == noted)
			return true;
	return false;
}

void adma_hints_take(struct adma_hints *hints, struct adma_progress *progress, bool messages)
{
	struct adma_worker *worker = &progress->worker;
	int count = hints->first;

	hints->removed += worker->removed;
	if (hints->too_many)
		return;
	for (int i = hints->first; i < hints->count; i++) {
		const struct adma_hint *noted = &hints->each[i];
		bool wants = messages || worker->tags;

		if (hints_are_of(worker, noted->ep))
			hints->each[count++] =
				hint_take(noted->ep, noted->events_seen, wants || noted->ep->receive.reads.count);
	}
	hints->count = count;
	if (!worker->summary)
		return;
	if (hints->summaries < ADMA_HINTS_MAX)
		hints->summary[hints->summaries++] = worker->summary;
	else
		hints->too_many = true;
}

/* Relaxed, here and below: a thread that finds something takes the lock and looks again, with acquire. */
static bool hint_has_message(const struct adma_hint *hint)
{
	return hint->seq_wanted && atomic_load_explicit(hint->seq, memory_order_relaxed) == hint->seq_wanted;
}

static bool hint_has_ended(const struct adma_hint *hint)
{
	return hint->word.word && atomic_load_explicit(hint->word.word, memory_order_relaxed) != hint->word.seen;
}

static bool hint_is_signalled(const struct adma_hint *hint)
{
	return adma_ec_read(hint->event_count) != hint->events_seen;
}

bool adma_hints_look(const struct adma_hints *hints)
{
	for (int i = 0; i < hints->count; i++) {
		const struct adma_hint *hint = &hints->each[i];

		if (hint_has_message(hint) || hint_is_signalled(hint) || hint_has_ended(hint))
			return true;
	}
	for (int i = 0; i < hints->summaries; i++)
		if (adma_summary_has_news(hints->summary[i]))
			return true;
	return false;
}

static bool spin_look(void *hint)
{
	return hint_has_message(hint);
}

static bool spin_look_seldom(void *hint)
{
	return hint_is_signalled(hint);
}

bool adma_spin_for_message(struct adma_progress *progress, struct adma_endpoint *ep, int64_t spin_ns)
{
	int64_t now = adma_now();
	int64_t limit = adma_spin_limit(progress, spin_ns, now), end = now + limit;
	struct adma_hint hint = hint_take(ep, adma_ec_read(&ep->connection.config.local->event_count), true);

	if (hint_has_message(&hint))
		return true;
	if (!limit || (spin_ns < 0 && adma_spin_starves_peer(progress, limit, now)))
		return false;
	adma_endpoint_release_for_use(ep);
	/* The event count is looked at seldom: otherwise its cache line would travel between the peer and us. */
	bool ended = adma_spin(end, spin_look, spin_look_seldom, &hint);
	bool came = hint_has_message(&hint);
	adma_endpoint_retake(ep);
	if (came) {
		progress->worker.watched_since = now;
		adma_spin_hit(progress);
	} else if (!ended) { /* otherwise the peer has signalled something else, and it is there and awake */
		spin_note_vain(progress, adma_now());
	}
	return came;
}
