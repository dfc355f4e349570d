/* SPDX-License-Identifier: BSD-3-Clause */
/* choice.c - which mechanism carries a message, and why another does not. */
#include <string.h>

#include "base/cpu.h"
#include "worker/channel.h"

bool adma_takes_slot(const struct adma_chan *chan, uint64_t n)
{
	return chan->config.forced || n > ADMA_EAGER_MAX;
}

static uint32_t working_out(const struct adma_chan *chan)
{
	return chan->config.out_mask & ~chan->withdrawn & ~chan->withdrawn_out;
}

uint32_t adma_offer(const struct adma_chan *chan)
{
	uint32_t mask = working_out(chan);

	if (chan->config.forced)
		mask &= ADMA_MECH_BIT(chan->config.forced);
	if (!chan->bulk_out)
		mask &= ~ADMA_MECH_BIT(ADMA_MECH_SHARED);
	return mask;
}

/*
 * Least time while both wait: two copies that overlap in user space, a core for each, beat one in the kernel. As soon
 * as one of them computes, or others want the cores, one copy costs least. What the peer says is a hint.
 */
static bool copied_once(const struct adma_chan *chan, uint64_t length, bool waits)
{
	if (length < chan->config.single_copy_from)
		return false;
	return !waits || length >= chan->config.single_copy_from_waiting || !adma_peer_waits(chan) || adma_cpu_oversubscribed(adma_now());
}

/*
 * Among what works: short messages go through the bulk segment, whose cost per
 * call is the least, long ones are copied once, unless both ends wait. loopback:tcp is for
 * those who ask for it, or who have nothing else.
 */
static uint32_t prefer(const struct adma_chan *chan, uint64_t length, uint32_t mask, bool waits)
{
	if (chan->config.forced)
		return mask & ADMA_MECH_BIT(chan->config.forced) ? chan->config.forced : ADMA_MECH_NONE;
	if (mask & ADMA_MECH_BIT(ADMA_MECH_CMA) &&
	    (!(mask & ADMA_MECH_BIT(ADMA_MECH_SHARED)) || copied_once(chan, length, waits)))
		return ADMA_MECH_CMA;
	if (mask & ADMA_MECH_BIT(ADMA_MECH_SHARED))
		return ADMA_MECH_SHARED;
	return mask & ADMA_MECH_BIT(ADMA_MECH_TCP) ? ADMA_MECH_TCP : ADMA_MECH_NONE;
}

uint32_t adma_select(const struct adma_chan *chan, uint64_t length, uint32_t offered)
{
	return prefer(chan, length, offered & chan->config.in_mask & ~chan->withdrawn, chan->waiting);
}

void adma_withdraw_mechanism(struct adma_chan *chan, uint32_t id, int err)
{
	if (chan->withdrawn & ADMA_MECH_BIT(id))
		return;
	chan->withdrawn |= ADMA_MECH_BIT(id);
	chan->withdrawn_errno[id] = err;
}

int adma_choose(struct adma_chan *chan, uint64_t n)
{
	int rc = adma_enter(chan);
	uint32_t id;

	if (rc)
		return rc;
	if (!adma_takes_slot(chan, n)) {
		rc = n <= ADMA_INLINE_MAX ? ADMA_INLINE : ADMA_EAGER;
	} else {
		/* By a write that waits; as if the bulk segment were there: a post makes it when it is wanted. */
		id = prefer(chan, n, working_out(chan), true);
		rc = id ? ADMA_SLOT | (int)id << 8 : -ADMA_E_NO_MECHANISM;
	}
	adma_leave(chan);
	return rc;
}

bool adma_wants_bulk(struct adma_chan *chan, uint64_t n)
{
	bool wants;

	if (!chan || (n <= ADMA_EAGER_MAX && !chan->config.forced)) /* which never changes */
		return false;
	if (adma_enter(chan))
		return false;
	wants = !chan->bulk_out && adma_takes_slot(chan, n) &&
		prefer(chan, n, working_out(chan), true) == ADMA_MECH_SHARED;
	adma_leave(chan);
	return wants;
}

void adma_no_bulk(struct adma_chan *chan, int err)
{
	if (adma_enter(chan))
		return;
	/* The other direction has a segment of its own, made by the peer. */
	chan->withdrawn_out |= ADMA_MECH_BIT(ADMA_MECH_SHARED);
	chan->withdrawn_errno[ADMA_MECH_SHARED] = err;
	adma_leave(chan);
}

uint32_t adma_withdrawn(struct adma_chan *chan, int32_t *errs)
{
	uint32_t mask = 0;

	if (adma_enter(chan))
		return 0;
	mask = chan->withdrawn | chan->withdrawn_out;
	memcpy(errs, chan->withdrawn_errno, sizeof(chan->withdrawn_errno));
	adma_leave(chan);
	return mask;
}
