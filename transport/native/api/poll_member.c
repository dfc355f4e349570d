/* SPDX-License-Identifier: BSD-3-Clause */
/* poll_member.c - a look at the members of a poll set; see poll_member.h. */
#include "api/poll_member.h"

#include <string.h>

#include "adma_poll.h"
#include "api/channel.h"
#include "base/poll.h"
#include "progress/descriptors.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/peer.h"
#include "worker/round.h"

/* Read what the epoll has reported. */
static void member_read(struct adma_poll_member *member)
{
	struct adma_endpoint *ep = adma_only_endpoint(member->progress);

	const uint32_t *reported = member->reported;

	(void)adma_peer_look(ep, adma_poll_events(reported[0]), adma_poll_events(reported[1]));
	/* A poll set polls the data descriptor of no other endpoint. */
	if (ep->ops->silent && ep->ops->polled && reported[2] & (EPOLLHUP | EPOLLERR))
		ep->ops->polled(ep, POLLHUP);
	if (member->suspect) {
		adma_descriptors_suspect(member->progress);
		adma_descriptors_check(member->progress, adma_now());
	}
	memset(member->reported, 0, sizeof(member->reported));
	member->told = member->suspect = false;
}

/*
 * Is there what the waiter wants of this channel? A transfer may be ready that cannot go on, because nobody can copy its chunk: so
 * it counts only if there is `news`.
 */
static bool member_is_ready(const struct adma_poll_member *member, struct adma_endpoint *ep, bool news)
{
	struct adma_message message;

	if (member->wants & ADMA_WANTS_MESSAGES && (ep->ops->peek(ep, &message) || ep->control.over))
		return true;
	return news && member->wants & ADMA_WANTS_PROGRESS && adma_worker_ready(&member->progress->worker);
}

/* The loop is awake: the peer need not pay for a system call to say so. Others who rely on it are taken care of by publishing. */
static void member_disarm(struct adma_poll_member *member, struct adma_endpoint *ep)
{
	member->armed = false;
	adma_ec_disarm(&ep->connection.config.local->event_count);
	adma_mark(ep, ADMA_MARK_REARM);
}

enum adma_looked adma_poll_member_look(struct adma_poll_member *member, enum adma_rest rest)
{
	struct adma_progress *progress = member->progress;
	_Atomic uint64_t *event_count;
	struct adma_endpoint *ep;
	uint64_t events;
	bool ready, news, changed, may_rest = rest != ADMA_REST_NOT;

	if (adma_enter_worker(progress))
		return ADMA_LOOKED_CLOSED;
	ep = adma_only_endpoint(progress);
	event_count = &ep->connection.config.local->event_count;
	if (member->armed)
		member_disarm(member, ep);
	events = adma_ec_read(event_count); /* before the look */
	news = atomic_exchange_explicit(&member->fresh, false, memory_order_relaxed) || member->told;
	if (member->told || member->suspect) {
		member_read(member);
		may_rest = false; /* others may rely on the byte that was read here: publish */
	}
	changed = adma_endpoint_advance(ep);
	may_rest &= !changed;
	ready = member_is_ready(member, ep, news || changed);
	if (!ready && may_rest && adma_ec_arm(event_count, events)) {
		adma_poll_member_rest(member, rest == ADMA_REST_DOZES);
		/* Nothing else is to be published: the look found no change, and the event count was armed after it. */
		adma_waiters_wake_marked(progress);
		progress->worker.marks = 0;
		adma_leave_worker(progress);
		return ADMA_LOOKED_QUIET;
	}
	adma_publish_and_leave_worker(progress);
	return ready ? ADMA_LOOKED_READY : ADMA_LOOKED_IDLE;
}

bool adma_poll_members_rest(struct adma_poll_set *set)
{
	enum adma_rest rest = set->kept ? ADMA_REST_DOZES : ADMA_REST_QUIET;
	int32_t n = adma_poll_set_active(set);

	for (int32_t i = 0; i < n; i++)
		if (adma_poll_member_look(set->looked[i], rest) != ADMA_LOOKED_QUIET)
			return false;
	return adma_poll_set_fall_asleep(set);
}
