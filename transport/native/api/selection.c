/* SPDX-License-Identifier: BSD-3-Clause */
/* selection.c - questions about how messages would travel: from an endpoint of a worker, or from a channel's own. */
#include <errno.h>
#include <string.h>

#include "api/channel.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "worker/eager_limit.h"
#include "worker/learning.h"
#include "worker/peer.h"
#include "worker/select.h"
#include "worker/tags.h"

/* The mechanism for a write of n bytes that waits, as if all segments existed: a post makes a missing one. */
static uint32_t selection_built_in(const struct adma_endpoint *ep, uint64_t n)
{
	return adma_select_from(ep, n, adma_select_working(ep), true);
}

/* The same, if the peer has learnt what we have: it is the reader that decides. */
static uint32_t selection_learnt(const struct adma_endpoint *ep, uint64_t n)
{
	bool both_wait = adma_peer_waits(ep) && !adma_cpu_short_with(ep->connection.config.pid, adma_now());

	return adma_learning_mechanism(ep, n, adma_select_working(ep), selection_built_in(ep, n), both_wait);
}

static int selection_choose(struct adma_endpoint *ep, uint64_t n)
{
	uint32_t id;

	if (!adma_takes_slot(ep, n))
		return n <= ADMA_INLINE_MAX ? ADMA_INLINE : ADMA_EAGER;
	if (adma_eager_limit_asks(ep, n))
		return ADMA_EAGER;
	id = selection_learnt(ep, n);
	return id ? ADMA_SLOT | (int)id << 8 : -ADMA_E_NO_MECHANISM;
}

static int selection_candidates(const struct adma_endpoint *ep, uint64_t n, struct adma_candidate *found)
{
	uint32_t chosen = ADMA_MECH_NONE;
	bool learnt = false;

	if (adma_takes_slot(ep, n)) {
		chosen = selection_learnt(ep, n);
		learnt = chosen != selection_built_in(ep, n);
	}
	return (int)adma_select_explain(ep, n, chosen, learnt, found);
}

_Static_assert(ADMA_LEARNING_TOLD_MAX + ADMA_EAGER_LIMIT_WAYS <= ADMA_LEARNT_MAX, "there is room for all of them");

static int selection_tell(const struct adma_endpoint *ep, uint64_t n, struct adma_learnt_way *found)
{
	uint32_t told;

	if (!adma_takes_slot(ep, n))
		return 0;
	told = adma_learning_tell(ep, n, adma_select_working(ep), selection_built_in(ep, n), found);
	return (int)(told + adma_eager_limit_tell(ep, n, found + told));
}

static uint32_t selection_withdrawn(const struct adma_endpoint *ep, int32_t *errs)
{
	memcpy(errs, ep->withdrawn_error, sizeof(ep->withdrawn_error));
	return ep->withdrawn | ep->send.withdrawn;
}

/* ---- of channels ---- */

int adma_choose(struct adma_chan *chan, uint64_t n)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = selection_choose(&chan->ep, n);
	adma_leave(chan);
	return rc;
}

int adma_candidates(struct adma_chan *chan, uint64_t n, struct adma_candidate *found)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = selection_candidates(&chan->ep, n, found);
	adma_leave(chan);
	return rc;
}

int adma_learnt(struct adma_chan *chan, uint64_t n, struct adma_learnt_way *found)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = selection_tell(&chan->ep, n, found);
	adma_leave(chan);
	return rc;
}

uint32_t adma_withdrawn(struct adma_chan *chan, int32_t *errs)
{
	uint32_t mask;

	if (adma_enter(chan))
		return 0;
	mask = selection_withdrawn(&chan->ep, errs);
	adma_leave(chan);
	return mask;
}

/* ---- of endpoints ---- */

/* Take the worker's lock if there is such an endpoint, which can be used; or return the negated reason. */
static int selection_enter(struct adma_worker *worker, uint32_t number, struct adma_endpoint **ep)
{
	int rc = adma_enter_worker(adma_progress_of(worker));

	if (rc)
		return rc;
	*ep = adma_tags_endpoint(worker, number);
	rc = *ep ? -(*ep)->control.over : -ENOENT;
	if (rc)
		adma_leave_worker(adma_progress_of(worker));
	return rc;
}

int adma_worker_choose(struct adma_worker *worker, uint32_t number, uint64_t n)
{
	struct adma_endpoint *ep;
	int rc = selection_enter(worker, number, &ep);

	if (rc)
		return rc;
	rc = selection_choose(ep, n);
	adma_leave_worker(adma_progress_of(worker));
	return rc;
}

int adma_worker_candidates(struct adma_worker *worker, uint32_t number, uint64_t n, struct adma_candidate *found)
{
	struct adma_endpoint *ep;
	int rc = selection_enter(worker, number, &ep);

	if (rc)
		return rc;
	rc = selection_candidates(ep, n, found);
	adma_leave_worker(adma_progress_of(worker));
	return rc;
}

int adma_worker_learnt(struct adma_worker *worker, uint32_t number, uint64_t n, struct adma_learnt_way *found)
{
	struct adma_endpoint *ep;
	int rc = selection_enter(worker, number, &ep);

	if (rc)
		return rc;
	rc = selection_tell(ep, n, found);
	adma_leave_worker(adma_progress_of(worker));
	return rc;
}

uint32_t adma_worker_withdrawn(struct adma_worker *worker, uint32_t number, int32_t *errs)
{
	struct adma_endpoint *ep;
	uint32_t mask;

	if (selection_enter(worker, number, &ep))
		return 0;
	mask = selection_withdrawn(ep, errs);
	adma_leave_worker(adma_progress_of(worker));
	return mask;
}

/* ---- of users ---- */

int adma_learnt_tell(uint32_t uid, struct adma_learnt_cost *found, int room)
{
	int told = adma_learning_tell_costs(uid, found, room);

	return told + adma_eager_limit_tell_costs(uid, told < room ? found + told : NULL, room - told);
}

int adma_learnt_take_up(uint32_t uid, const struct adma_learnt_cost *cost)
{
	if (cost->mechanism == ADMA_MECH_NONE)
		return adma_eager_limit_take_up(uid, cost);
	return adma_learning_take_up(uid, cost);
}

uint64_t adma_learnt_size(uint32_t size_class)
{
	uint64_t power = 1ull << (ADMA_SIZE_CLASS_FIRST + size_class / 2);

	return size_class < ADMA_SIZE_CLASSES ? power + size_class % 2 * power / 2 : 0;
}
