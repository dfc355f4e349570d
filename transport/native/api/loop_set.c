/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop_set.c - poll sets of event loops, which sleep in a poll of their own.
 *
 * A loop that is awake looks at the active members. What comes meanwhile costs nobody a system call, because the event
 * counts of active members are not armed. Only before it sleeps, all members are made quiet. So a loop goes on looking
 * for as long as a thread would spin, but gives all else that it has to do its turn in between.
 */
#include "adma_poll.h"
#include "api/channel.h"
#include "api/message.h"
#include "api/poll_member.h"
#include "base/clock.h"
#include "progress/poll_set.h"
#include "progress/spin.h"

#define IDLE_LOOKS 32 /* of a member, in vain and in a row */

int adma_poll_set_join(struct adma_poll_set *set, struct adma_chan *chan, int32_t place, uint32_t wants)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = adma_poll_set_keep(set);
	if (!rc)
		rc = adma_poll_set_add(set, &chan->progress, place, wants);
	adma_leave(chan);
	return rc;
}

int adma_poll_set_fileno(struct adma_poll_set *set)
{
	return set->epoll;
}

/*
 * May a member become quiet while the loop is awake? What comes for it then costs the peer one system call and the loop
 * two, which is about what so many looks in vain cost. There is nothing to look at where the kernel helper carries the messages.
 */
static bool loop_may_rest(const struct adma_poll_member *member)
{
	return member->idle_looks >= IDLE_LOOKS || adma_only_endpoint(member->progress)->ops->silent;
}

/* Look at the active members. Returns how many are ready, or -1: a channel is closed. */
static int32_t loop_look(struct adma_poll_set *set, int32_t *ready, int32_t room)
{
	int32_t n = adma_poll_set_active(set), nready = 0;

	for (int32_t i = 0; i < n && nready < room; i++) {
		struct adma_poll_member *member = set->looked[i];
		enum adma_looked looked =
			adma_poll_member_look(member, loop_may_rest(member) ? ADMA_REST_QUIET : ADMA_REST_NOT);

		if (looked == ADMA_LOOKED_CLOSED)
			return -1;
		if (looked == ADMA_LOOKED_READY)
			ready[nready++] = member->place;
		member->idle_looks = looked == ADMA_LOOKED_READY ? 0 : member->idle_looks + 1;
	}
	return n < 0 ? -1 : nready;
}

/* Something came: the loop learns for how long it pays to look on. */
static int loop_found(struct adma_poll_set *set)
{
	adma_spin_came(&set->backoff);
	if (set->spin_end)
		adma_spin_found(&set->backoff);
	set->spin_end = 0;
	return ADMA_READY;
}

/* Nothing is there: look again, or have the descriptor tell. */
static int loop_wait(struct adma_poll_set *set)
{
	int64_t now = adma_now();

	if (!set->spin_end)
		set->spin_end = now + adma_spin_time(adma_spin_learned(&set->backoff), -1, now);
	if (now < set->spin_end || !adma_poll_members_rest(set))
		return ADMA_BUSY;
	set->spin_end = 0;
	set->rests_since = now;
	return ADMA_QUIET;
}

/* The loop looks again, after it may have slept. */
static void loop_wake(struct adma_poll_set *set, bool told)
{
	if (set->rests_since) {
		adma_poll_set_wake(set);
		adma_poll_set_look_at_fds(set);
		if (told)
			adma_backoff_sleep(&set->backoff, adma_now() - set->rests_since);
		set->rests_since = 0;
	}
	if (!told)
		return;
	adma_poll_set_end_doze(set);
	adma_poll_set_collect(set, true);
}

/* ---- spinning in a task ---- */

#define SKIPS_DOUBLED 6 /* a spin is tried after 2^6 chances at the latest */

static int64_t loop_spin_time(const struct adma_poll_set *set, int64_t now)
{
	int64_t learned = adma_spin_time(adma_spin_learned(&set->backoff), -1, now);
	int64_t left = adma_spin_max_ns() - set->spun_ns;

	return learned < left ? learned : left;
}

/* What the next chances are worth: each spin in vain doubles those that are let go. */
static void loop_note_spin(struct adma_poll_set *set, bool came)
{
	if (came) {
		adma_spin_found(&set->backoff);
		set->spins_in_vain = 0;
		return;
	}
	set->spins_in_vain += set->spins_in_vain < SKIPS_DOUBLED;
	set->spins_to_skip = (1u << set->spins_in_vain) - 1;
}

int adma_poll_set_spin(struct adma_poll_set *set, struct adma_chan *chan)
{
	int64_t begin, ns;
	bool came;
	int rc;

	if (set->spins_to_skip) {
		set->spins_to_skip--;
		return ADMA_QUIET;
	}
	begin = adma_now();
	ns = loop_spin_time(set, begin);
	if (ns < ADMA_SPIN_MIN_NS)
		return ADMA_QUIET;
	rc = adma_enter(chan);
	if (rc)
		return rc;
	came = adma_message_spin(chan, ns);
	adma_publish_and_leave(chan);
	set->spun_ns += adma_now() - begin;
	loop_note_spin(set, came);
	return came ? ADMA_READY : ADMA_QUIET;
}

int adma_poll_set_turn(struct adma_poll_set *set, bool told, int32_t *ready, int32_t room, int32_t *nready)
{
	*nready = 0;
	set->spun_ns = 0;
	if (adma_poll_set_forget_gone(set))
		return -ADMA_E_CLOSED_HERE;
	loop_wake(set, told);
	if (adma_poll_set_has_moved(set))
		return -ADMA_E_DESCRIPTOR;
	*nready = loop_look(set, ready, room);
	if (*nready < 0) {
		*nready = 0;
		return ADMA_BUSY;
	}
	return *nready ? loop_found(set) : loop_wait(set);
}
