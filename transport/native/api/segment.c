/* SPDX-License-Identifier: BSD-3-Clause */
/* segment.c - the segment that the binding makes for a mechanism when the first write needs it. */
#include <errno.h>

#include "adma_handshake.h"
#include "adma_worker.h"
#include "api/channel.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "mech/table.h"
#include "worker/peer.h"
#include "worker/select.h"
#include "worker/tags.h"
#include "worker/transfer.h"

/* A shortage may be over in a moment. It is looked at again after this time, by the next write that is long enough. */
#define RETRY_NS 1000000000

static bool segment_is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOSPC || err == EDQUOT || err == EAGAIN ||
	       err == EINTR;
}

/* Is it time to try again? The time runs from the first question on. */
static bool segment_retry_is_due(struct adma_endpoint *ep)
{
	int64_t now = adma_now();

	if (!ep->send.segment_retry_at)
		ep->send.segment_retry_at = now + RETRY_NS;
	return now >= ep->send.segment_retry_at;
}

/* Our segment could not be made a while ago: the mechanism gets another chance. */
static void segment_allow_again(struct adma_endpoint *ep, const struct adma_mechanism *mechanism)
{
	uint32_t bit = ADMA_MECH_BIT(mechanism->id);

	if (!(ep->send.withdrawn & bit) || !segment_is_shortage(ep->withdrawn_error[mechanism->id]) ||
	    !segment_retry_is_due(ep))
		return;
	ep->send.withdrawn &= ~bit;
	ep->send.segment_retry_at = 0;
}

static bool segment_is_in_use(const struct adma_endpoint *ep, uint32_t id)
{
	adma_list_for_each(at, &ep->transfers.all) {
		const struct adma_transfer *t = adma_transfer_of(at);

		if (t->span.outbound && t->mechanism_id == id)
			return true;
	}
	return false;
}

/*
 * Has the peer read what was passed to it? Descriptors that lie in a socket count against our user. So one of another
 * user gets no second segment while it may have left the first one there.
 */
static bool segment_is_read(const struct adma_endpoint *ep)
{
	const struct adma_config *config = &ep->connection.config;

	return config->same_user || adma_unread(config->sock) <= 0;
}

/*
 * Could the peer not receive our segment? Then it gets another one after a while. Before that, the peer fails each
 * transfer that was matched for the old one: until then it might look for the bytes in the new one (bulk.pml). Acquire:
 * see peer_note_lost_segment(). The peer writes the word: if it lies, a segment is made in vain, once in that time.
 */
static bool segment_is_lost(struct adma_endpoint *ep, const struct adma_mechanism *mechanism)
{
	uint32_t lost = atomic_load_explicit(&ep->connection.config.local->bulk_lost, memory_order_acquire);

	return lost != ep->send.segments_lost && !segment_is_in_use(ep, mechanism->id) && segment_retry_is_due(ep) &&
	       segment_is_read(ep);
}

static bool segment_is_missing(struct adma_endpoint *ep, const struct adma_mechanism *mechanism)
{
	return mechanism->wants_segment &&
	       (mechanism->wants_segment(&ep->connection) || segment_is_lost(ep, mechanism));
}

/* The mechanism that makes use of a segment, or NULL. */
static const struct adma_mechanism *segment_user(const struct adma_endpoint *ep)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism_of(&ep->connection, id);

		if (mechanism && mechanism->wants_segment)
			return mechanism;
	}
	return NULL;
}

/* Would a write of n bytes be carried by a mechanism that needs a segment first? */
static bool segment_is_wanted(struct adma_endpoint *ep, uint64_t n)
{
	const struct adma_mechanism *user = segment_user(ep);

	if (!user)
		return false;
	segment_allow_again(ep, user);
	return adma_select_from(ep, n, adma_select_working(ep), true) == user->id && segment_is_missing(ep, user);
}

/* The mechanism whose segment is missing, or NULL. */
static const struct adma_mechanism *segment_missing_for(struct adma_endpoint *ep)
{
	const struct adma_mechanism *user = segment_user(ep);

	return user && segment_is_missing(ep, user) ? user : NULL;
}

bool adma_wants_bulk(struct adma_chan *chan, uint64_t n)
{
	bool wants;

	if (!chan || !adma_takes_slot(&chan->ep, n)) /* this answer never changes, so no lock is needed */
		return false;
	if (adma_enter(chan))
		return false;
	wants = segment_is_wanted(&chan->ep, n);
	adma_leave(chan);
	return wants;
}

/* Take the segment over. *fd is -1 afterwards if it is still to be passed, and otherwise the caller closes it. */
static int segment_give(struct adma_endpoint *ep, int *fd)
{
	const struct adma_mechanism *mechanism = segment_missing_for(ep);
	int rc;

	if (!mechanism)
		return 0; /* another thread was first */
	rc = adma_give_segment(ep, mechanism, fd);
	if (!rc)
		ep->send.segment_retry_at = 0;
	return rc;
}

int adma_give_bulk(struct adma_chan *chan, int fd)
{
	int rc = adma_enter(chan);

	if (!rc) {
		rc = segment_give(&chan->ep, &fd);
		adma_publish_and_leave(chan);
	}
	adma_descriptor_close(&fd);
	return rc;
}

static void segment_refuse(struct adma_endpoint *ep, int err)
{
	const struct adma_mechanism *mechanism = segment_missing_for(ep);

	if (!mechanism)
		return;
	/* The other direction has a segment of its own, which the peer makes. */
	ep->send.withdrawn |= ADMA_MECH_BIT(mechanism->id);
	ep->withdrawn_error[mechanism->id] = err;
	ep->send.segment_retry_at = segment_is_shortage(err) ? adma_now() + RETRY_NS : 0;
}

void adma_no_bulk(struct adma_chan *chan, int err)
{
	if (adma_enter(chan))
		return;
	segment_refuse(&chan->ep, err);
	adma_leave(chan);
}

/* ---- the same for the endpoint of a worker ---- */

/* Take the lock, and find the endpoint. NULL: it is gone, and the lock is not held. */
static struct adma_endpoint *segment_enter(struct adma_worker *worker, uint32_t number)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_endpoint *ep;

	if (adma_enter_worker(progress))
		return NULL;
	ep = adma_tags_endpoint(worker, number);
	if (!ep)
		adma_leave_worker(progress);
	return ep;
}

bool adma_worker_wants_bulk(struct adma_worker *worker, uint32_t number, uint64_t n)
{
	struct adma_endpoint *ep = segment_enter(worker, number);
	bool wants;

	if (!ep)
		return false;
	/* A short message may have to take a slot, too, when the peer holds too many that nobody receives. */
	wants = segment_is_wanted(ep, n > ADMA_EAGER_MAX ? n : ADMA_EAGER_MAX + 1);
	adma_leave_worker(adma_progress_of(worker));
	return wants;
}

int adma_worker_give_bulk(struct adma_worker *worker, uint32_t number, int fd)
{
	struct adma_endpoint *ep = segment_enter(worker, number);
	int rc = -ENOENT;

	if (ep) {
		rc = segment_give(ep, &fd);
		adma_publish_and_leave_worker(adma_progress_of(worker));
	}
	adma_descriptor_close(&fd);
	return rc;
}

void adma_worker_no_bulk(struct adma_worker *worker, uint32_t number, int err)
{
	struct adma_endpoint *ep = segment_enter(worker, number);

	if (!ep)
		return;
	segment_refuse(ep, err);
	adma_leave_worker(adma_progress_of(worker));
}
