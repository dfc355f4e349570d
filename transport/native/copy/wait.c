/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * awaiting.c - callers that wait for copies, and help with them.
 *
 * Who sleeps has, under the lock, found its copies unfinished, read the count of ends and
 * entered itself among the sleepers; whoever ends a copy does, under the lock, raise the
 * count and wake the sleepers. So no end is missed.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "adma.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/futex.h"
#include "base/relax.h"
#include "copy/engine.h"

#define everything adma_offload
#define HELP_WITH 8        /* this many of its own copies a caller looks at for a part to do */
#define SPIN_NS 20000      /* about what falling asleep and waking costs */
#define SPIN_MAX_NS 120000 /* for a copy that will have ended by then */
#define GUESS 8            /* and what its parts say is not far off by more than one in so many */
#define NAP_MIN_NS 50000   /* for less it is not worth falling asleep twice */
#define LEAD_NS 120000     /* a sleep by the clock ends that much early: the timer's slack of 50 us, and waking */

struct waiter {
	struct adma_copy **copies;
	uint64_t n, need;
	uint64_t first; /* those before it are done */
	int64_t end;
	int64_t spun; /* since it last slept */
	uint64_t napped; /* parts that were done when it last slept by the clock, and one */
};

/* For all: where the first one stands that is not done. For some: count them. */
static bool satisfied(struct waiter *waiter)
{
	uint64_t ready = 0;

	while (waiter->first < waiter->n && adma_copy_done(waiter->copies[waiter->first]))
		waiter->first++;
	if (waiter->first >= waiter->need)
		return true;
	if (waiter->need == waiter->n)
		return false;
	ready = waiter->first;
	for (uint64_t i = waiter->first; i < waiter->n && ready < waiter->need; i++)
		ready += adma_copy_done(waiter->copies[i]);
	return ready >= waiter->need;
}

/* With no queues nobody else would. */
static bool may_help(const struct adma_engine *engine)
{
	return engine && engine->help && (everything.config.callers_help || !everything.running);
}

/* With the lock, dropped meanwhile. False: there is nothing that the caller could do. */
static bool help(struct waiter *waiter)
{
	const struct adma_engine *engine = everything.engine;
	bool held_back = false;
	uint64_t looked = 0;

	if (!may_help(engine))
		return false;
	for (uint64_t i = waiter->first; i < waiter->n && looked < HELP_WITH; i++) {
		struct adma_copy *copy = waiter->copies[i];

		/* What the parent process posted is not ours to do. */
		if (adma_copy_done(copy) || copy->family != everything.family)
			continue;
		looked++;
		if (copy->state != ADMA_COPY_WAITING && engine->help(copy))
			return true;
		held_back |= copy->state == ADMA_COPY_WAITING;
	}
	return held_back && engine->help(NULL);
}

/*
 * With the lock: when the one copy that is still waited for will have ended, by what its parts have taken
 * so far; 0: it cannot be told.
 */
static int64_t time_to_go(const struct waiter *waiter)
{
	const struct adma_copy *copy;

	if (waiter->need != waiter->n || waiter->n - waiter->first != 1)
		return 0;
	copy = waiter->copies[waiter->first];
	if (copy->state != ADMA_COPY_RUNNING || !copy->copied)
		return 0;
	int64_t each = (adma_now() - copy->times.started) / (int64_t)copy->copied;

	return each * (int64_t)(copy->plan.parts - copy->copied) + 1;
}

/* Without the lock: look at the count for up to `ns`. True when it moved. */
static bool spin(struct waiter *waiter, uint32_t seen, int64_t ns)
{
	int64_t begin = adma_now(), now = begin, until = now + ns < waiter->end ? now + ns : waiter->end;

	/* Queues that have a core each leave none for who only looks. */
	if ((int)atomic_load_explicit(&everything.running, memory_order_relaxed) >= adma_cpu_count() || adma_cpu_oversubscribed(now)) {
		waiter->spun = SPIN_MAX_NS;
		return false;
	}
	for (unsigned int i = 1; now < until; i++) {
		if (atomic_load_explicit(&everything.ended, memory_order_relaxed) != seen)
			return true;
		adma_relax();
		if (i % 32)
			continue;
		adma_engine_reap();
		now = adma_now();
	}
	waiter->spun += now - begin;
	return false;
}

/* With the lock, dropped meanwhile: until a copy ends, for at most `left`. False: a signal, or the time is over. */
static bool doze(struct waiter *waiter, uint32_t seen, int64_t left)
{
	int64_t soon = time_to_go(waiter), nap = soon - soon / GUESS - LEAD_NS;
	uint64_t copied = soon ? waiter->copies[waiter->first]->copied : 0;
	/* Whoever is woken by the end itself is late by what waking takes. But where nothing moves nobody looks again. */
	bool early = nap > NAP_MIN_NS && nap < left && waiter->napped != copied + 1;
	int rc;

	if (early)
		waiter->napped = copied + 1;
	everything.sleepers++;
	adma_engine_unlock();
	rc = adma_futex_wait(&everything.ended, seen, early ? nap : left);
	adma_engine_lock();
	everything.sleepers--;
	waiter->spun = 0;
	return rc == 0 || rc == -EAGAIN || (rc == -ETIMEDOUT && early);
}

/* With the lock, dropped meanwhile: until something has changed, or the time is over. False: look at the clock. */
static bool rest(struct waiter *waiter)
{
	uint32_t seen = atomic_load_explicit(&everything.ended, memory_order_relaxed);
	int64_t soon = time_to_go(waiter), left;
	bool moved;

	adma_engine_unlock();
	adma_engine_kick(); /* a copy that we ended may have made others begin */
	moved = spin(waiter, seen, soon && soon < SPIN_MAX_NS ? soon + SPIN_NS : SPIN_NS);
	adma_engine_lock();
	if (moved || atomic_load_explicit(&everything.ended, memory_order_relaxed) != seen)
		return true;
	left = waiter->end - adma_now();
	if (left <= 0)
		return false;
	soon = time_to_go(waiter);
	if (soon && soon < SPIN_MAX_NS && waiter->spun < SPIN_MAX_NS)
		return true;
	return doze(waiter, seen, left);
}

static void note_seen(struct waiter *waiter)
{
	for (uint64_t i = 0; i < waiter->n; i++)
		if (adma_copy_done(waiter->copies[i]))
			adma_copy_seen(waiter->copies[i]);
}

static bool reap(void)
{
	return everything.engine && everything.engine->reap && everything.engine->reap();
}

/* With the lock: 1, 0 or a negated errno, as adma_copy_wait(). */
static int wait(struct waiter *waiter)
{
	while (!satisfied(waiter)) {
		if (waiter->copies[waiter->first]->family != everything.family)
			return -ADMA_E_FORKED;
		if (reap())
			continue;
		if (help(waiter)) {
			if (adma_now() >= waiter->end)
				return satisfied(waiter);
		} else if (!rest(waiter)) {
			return satisfied(waiter);
		}
	}
	return 1;
}

int adma_copy_wait(struct adma_copy **copies, uint64_t n, uint64_t need, int64_t slice_ns)
{
	struct waiter waiter = {.copies = copies, .n = n, .need = need, .end = adma_now() + slice_ns};
	int rc;

	adma_engine_lock();
	rc = wait(&waiter);
	adma_engine_unlock();
	adma_engine_kick();
	if (rc == 1)
		note_seen(&waiter);
	return rc;
}

int adma_copy_wait_one(struct adma_copy *copy, int64_t slice_ns)
{
	return adma_copy_wait(&copy, 1, 1, slice_ns);
}

/* With the lock: until `enough` holds, doing whatever there is to do. */
static int wait_until(bool (*enough)(void), int64_t slice_ns)
{
	struct waiter waiter = {.end = adma_now() + slice_ns};

	adma_engine_lock();
	while (!enough()) {
		const struct adma_engine *engine = everything.engine;
		bool helped = may_help(engine) && engine->help(NULL);

		if (helped ? adma_now() >= waiter.end : !rest(&waiter))
			break;
	}
	int rc = enough();
	adma_engine_unlock();
	adma_engine_kick();
	return rc;
}

static bool room(void)
{
	return everything.in_line < ADMA_BACKLOG_MAX;
}

static bool nothing_pending(void)
{
	return !atomic_load_explicit(&everything.pending, memory_order_acquire);
}

int adma_copy_wait_room(int64_t slice_ns)
{
	return wait_until(room, slice_ns);
}

int adma_engine_drain(int64_t slice_ns)
{
	return wait_until(nothing_pending, slice_ns);
}

/* ---- for who waits for other things, too ---- */

int adma_copy_signal_open(struct adma_copy_signal *signal)
{
	signal->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (signal->fd < 0)
		return -errno;
	signal->armed = 0;
	adma_engine_lock();
	signal->next = everything.signals;
	everything.signals = signal;
	adma_engine_unlock();
	return 0;
}

void adma_copy_signal_arm(struct adma_copy_signal *signal)
{
	uint64_t ends;

	adma_engine_lock();
	(void)!read(signal->fd, &ends, sizeof(ends));
	signal->armed = signal->fd >= 0;
	adma_engine_unlock();
}

/* After a fork it is not in the list of the child, and closed there already. */
void adma_copy_signal_close(struct adma_copy_signal *signal)
{
	adma_engine_lock();
	for (struct adma_copy_signal **at = &everything.signals; *at; at = &(*at)->next) {
		if (*at == signal) {
			*at = signal->next;
			break;
		}
	}
	adma_engine_unlock();
	if (signal->fd >= 0)
		close(signal->fd);
	signal->fd = -1;
}
