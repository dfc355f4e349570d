/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll_set.c - waiting for messages on many channels.
 *
 * A waiter collects what its epoll reports, and looks at the active members. While none is ready it
 * spins: on the words of a few members that it leaves active for that, and now and then on the
 * epoll. Before it sleeps, all members have to be quiet: it arms the event count of each, and looks
 * once more. Members that stay quiet are not touched.
 *
 * The waiter of a poll set owns no channel. So requests that are pending on these channels stay
 * with the progress thread, or with the threads that wait for them.
 */
#include "progress/poll_set.h"

#include <errno.h>

#include "adma_poll.h"
#include "api/channel.h"
#include "api/poll_member.h"
#include "base/clock.h"
#include "progress/spin.h"

#define IDLE_LOOKS 4 /* after so many looks in vain, a member is not worth spinning on */

/* ---- life ---- */

int adma_poll_set_new(struct adma_poll_set **out)
{
	*out = adma_poll_set_make();
	return *out ? 0 : -ENOMEM;
}

void adma_poll_set_free(struct adma_poll_set *set)
{
	if (set)
		adma_poll_set_destroy(set);
}

static int set_name(struct adma_poll_set *set, struct adma_chan *chan, int32_t place)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = adma_poll_set_name(set, &chan->progress, place);
	adma_leave(chan);
	return rc;
}

int adma_poll_set_update(struct adma_poll_set *set, struct adma_chan **chans, int32_t n)
{
	int rc = adma_poll_set_reserve(set, n);

	if (!rc)
		rc = adma_poll_set_restart(set);
	for (int32_t i = 0; i < n && !rc; i++)
		rc = set_name(set, chans[i], i);
	adma_poll_set_drop_others(set);
	adma_poll_set_end(set);
	return rc;
}

/* ---- looking ---- */

/*
 * May a member become quiet that is idle now, while its waiter is awake? A few that were busy lately
 * stay active, for spinning: their messages need no system call. There is nothing to spin on where
 * the kernel helper carries the messages.
 */
static bool member_may_rest(const struct adma_poll_member *member, int32_t idle)
{
	return idle >= ADMA_HINTS_MAX || member->idle_looks >= IDLE_LOOKS ||
	       adma_only_endpoint(member->progress)->ops->silent;
}

/* Look at the active members. Returns how many are ready, or -1: a channel is closed. */
static int32_t set_look(struct adma_poll_set *set, int32_t *ready)
{
	int32_t n = adma_poll_set_active(set), nready = 0, idle = 0;

	for (int32_t i = 0; i < n; i++) {
		struct adma_poll_member *member = set->looked[i];

		switch (adma_poll_member_look(member,
					      member_may_rest(member, idle) ? ADMA_REST_QUIET : ADMA_REST_NOT)) {
		case ADMA_LOOKED_READY:
			member->idle_looks = 0;
			ready[nready++] = member->place;
			break;
		case ADMA_LOOKED_IDLE:
			member->idle_looks++;
			idle++;
			break;
		case ADMA_LOOKED_QUIET:
			break;
		case ADMA_LOOKED_CLOSED:
			return -1;
		}
	}
	return n < 0 ? -1 : nready;
}

/* ---- spinning ---- */

struct spinner {
	struct adma_poll_set *set;
	int64_t spin_ns; /* for how long it spins, if it has learned that; -1: its caller says so */
	bool starves; /* a peer would not run meanwhile */
	int32_t n; /* how many channels it holds */
	struct adma_progress *held[ADMA_HINTS_MAX];
	struct adma_hints hints;
};

/* Keep the maps of active members in place without their locks. False: one of them is closed. */
static bool spinner_hold_maps(struct spinner *spinner)
{
	int32_t n = adma_poll_set_active(spinner->set);
	int64_t now = adma_now();

	if (n > ADMA_HINTS_MAX)
		n = 0; /* many have news */
	adma_hints_begin(&spinner->hints);
	for (int32_t i = 0; i < n; i++) {
		struct adma_progress *progress = spinner->set->looked[i]->progress;

		if (adma_enter_worker(progress))
			return false;
		spinner->starves |= spinner->spin_ns >= 0 && adma_spin_starves_peer(progress, spinner->spin_ns, now);
		adma_hints_note_events(&spinner->hints, progress);
		adma_hints_take(&spinner->hints, progress, true);
		spinner->held[spinner->n++] = progress;
		adma_worker_release_for_use(&progress->worker);
	}
	return n >= 0;
}

static void spinner_let_maps_go(const struct spinner *spinner)
{
	for (int32_t i = 0; i < spinner->n; i++) {
		adma_worker_retake(&spinner->held[i]->worker);
		adma_leave_worker(spinner->held[i]);
	}
}

static bool spinner_look(void *arg)
{
	const struct spinner *spinner = arg;

	return adma_hints_look(&spinner->hints);
}

static bool spinner_look_seldom(void *arg)
{
	const struct spinner *spinner = arg;

	return adma_poll_set_has_events(spinner->set);
}

/*
 * Spin until `end`, for `spin_ns` if that was learned, or else -1. `briefly`: ask no epoll meanwhile. True when another look
 * may find something.
 */
static bool set_spin(struct adma_poll_set *set, int64_t end, int64_t spin_ns, bool briefly)
{
	struct spinner spinner; /* not initialised: the hints are set before they are looked at */
	bool found = true;

	spinner.set = set;
	spinner.spin_ns = spin_ns;
	spinner.starves = false;
	spinner.n = 0;
	if (spinner_hold_maps(&spinner))
		found = !spinner.starves &&
			adma_spin(end, spinner_look, briefly ? NULL : spinner_look_seldom, &spinner);
	spinner_let_maps_go(&spinner);
	return found;
}

/* ---- drive ---- */

static int set_drive(struct adma_poll_set *set, int64_t spin_ns, int32_t *ready, int32_t *nready)
{
	int64_t end = -1, spin = 0;
	bool again = false;

	for (;;) {
		int64_t now;

		adma_poll_set_collect(set, again || !spin_ns);
		again = true;
		*nready = set_look(set, ready);
		if (*nready < 0)
			return -ADMA_E_CLOSED_HERE;
		if (*nready) {
			adma_spin_came(&set->backoff);
			return ADMA_READY;
		}
		if (!spin_ns)
			return ADMA_QUIET;
		now = adma_now();
		if (end < 0) {
			spin = adma_spin_time(adma_spin_learned(&set->backoff), spin_ns, now);
			end = now + spin;
		}
		if (now >= end || !set_spin(set, end, spin_ns < 0 ? spin : -1, spin <= ADMA_SPIN_MIN_NS))
			return ADMA_QUIET;
		adma_spin_found(&set->backoff);
	}
}

int adma_poll_set_drive(struct adma_poll_set *set, int64_t spin_ns, int32_t *ready, int32_t *nready)
{
	int result;

	*nready = 0;
	if (!adma_poll_set_begin(set))
		return -ADMA_E_CLOSED_HERE;
	result = set_drive(set, spin_ns, ready, nready);
	adma_poll_set_end(set);
	return result;
}

/* ---- sleep ---- */

/*
 * Sleep for requests, too. adma_sleep() takes one more descriptor only, which is the epoll. So the
 * caller's descriptor joins the epoll for the time of the sleep. When it is readable it is reported
 * as the eventfd would be.
 */
static int sleep_for_requests(const struct adma_poll_set *set, const struct adma_wait *also, int64_t timeout_ns,
			      const sigset_t *mask)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct adma_wait wait = *also;
	int rc;

	wait.also = set->epoll;
	if (also->also >= 0 && epoll_ctl(set->epoll, EPOLL_CTL_ADD, also->also, &event))
		return -errno;
	rc = adma_sleep(&wait, timeout_ns, mask);
	if (also->also >= 0)
		(void)epoll_ctl(set->epoll, EPOLL_CTL_DEL, also->also, NULL);
	return rc;
}

/* Sleep for a second at most. 0: something happened; -ETIMEDOUT: nothing did; -EINTR, or another negated errno. */
static int set_sleep_once(struct adma_poll_set *set, const struct adma_wait *also, int64_t timeout_ns,
			  const sigset_t *mask)
{
	int64_t begin = adma_now(), ns = timeout_ns >= 0 && timeout_ns < ADMA_REST_NS ? timeout_ns : ADMA_REST_NS;
	int rc;

	if (!adma_poll_members_rest(set))
		return 0;
	rc = also && also->nreqs ? sleep_for_requests(set, also, ns, mask)
				 : adma_poll_set_sleep_on_epoll(set, also ? also->also : -1, ns, mask);
	adma_poll_set_wake(set);
	adma_poll_set_look_at_fds(set);
	adma_backoff_sleep(&set->backoff, adma_now() - begin);
	return rc;
}

void adma_poll_set_give_up(struct adma_poll_set *set)
{
	set->collected = false;
}

int adma_poll_set_sleep(struct adma_poll_set *set, const struct adma_wait *also, int64_t timeout_ns,
			const sigset_t *mask)
{
	int64_t end = timeout_ns < 0 ? ADMA_NEVER : adma_now() + timeout_ns, left = timeout_ns;
	int rc;

	if (!adma_poll_set_begin(set))
		return 0;
	do {
		rc = set_sleep_once(set, also, left, mask);
		left = end - adma_now();
	} while (rc == -ETIMEDOUT && left > 0 && !(also && also->also >= 0));
	adma_poll_set_end(set);
	return left > 0 && rc == -ETIMEDOUT ? 0 : rc;
}
