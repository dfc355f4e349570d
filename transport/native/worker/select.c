/* SPDX-License-Identifier: BSD-3-Clause */
/* select.c - the mechanism with the highest rank among those that work; see select.h. */
#include "worker/select.h"

#include "mech/table.h"

uint32_t adma_select_working(const struct adma_endpoint *ep)
{
	return ep->connection.config.out_mask & ~ep->withdrawn & ~ep->send.withdrawn;
}

uint32_t adma_select_offer(const struct adma_endpoint *ep)
{
	uint32_t mask = adma_select_working(ep), forced = ep->connection.config.forced;
	const struct adma_mechanism *mechanism;

	if (forced)
		mask &= ADMA_MECH_BIT(forced);
	for (uint32_t left = mask; (mechanism = adma_mechanism_next(&left));)
		if (mechanism->serves && !mechanism->serves(&ep->connection))
			mask &= ~ADMA_MECH_BIT(mechanism->id);
	return mask;
}

uint32_t adma_select_from(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, bool waits)
{
	uint32_t forced = ep->connection.config.forced, best = ADMA_MECH_NONE;
	bool both_wait = waits && adma_peer_waits(ep); /* what the peer says is a hint */
	const struct adma_mechanism *mechanism;
	int best_rank = 0;

	if (forced)
		return mask & ADMA_MECH_BIT(forced) ? forced : ADMA_MECH_NONE;
	while ((mechanism = adma_mechanism_next(&mask))) {
		int rank;

		if (!mechanism->rank)
			continue;
		rank = mechanism->rank(&ep->connection, n, both_wait);
		if (best == ADMA_MECH_NONE || rank > best_rank) {
			best = mechanism->id;
			best_rank = rank;
		}
	}
	return best;
}

/* The mechanisms among these whose segment of the peer's has not come. */
static uint32_t select_without_segment(const struct adma_endpoint *ep, uint32_t mask)
{
	const struct adma_mechanism *mechanism;
	uint32_t without = 0;

	while ((mechanism = adma_mechanism_next(&mask)))
		if (mechanism->has_segment && !mechanism->has_segment(&ep->connection))
			without |= ADMA_MECH_BIT(mechanism->id);
	return without;
}

/* The mechanisms among these that can carry our reads, now or once a segment has come. */
static uint32_t select_readable(const struct adma_endpoint *ep, uint32_t offered)
{
	return offered & ep->connection.config.in_mask & ~ep->withdrawn & ~ep->receive.lost;
}

bool adma_select_lacks_segment(const struct adma_endpoint *ep, uint32_t offered)
{
	return select_without_segment(ep, select_readable(ep, offered));
}

uint32_t adma_select_for_read(const struct adma_endpoint *ep, uint32_t offered)
{
	uint32_t mask = select_readable(ep, offered), now = mask & ~select_without_segment(ep, mask);

	return now ? now : mask;
}

uint32_t adma_select_guards(const struct adma_endpoint *ep, uint32_t mask, uint32_t refused)
{
	uint32_t guards = 0, left = mask & ~ep->withdrawn & ~ADMA_MECH_BIT(refused);
	const struct adma_mechanism *mechanism;

	if (ep->connection.config.forced)
		return 0;
	while ((mechanism = adma_mechanism_next(&left)))
		if (mechanism->guards)
			guards |= ADMA_MECH_BIT(mechanism->id);
	return guards;
}

void adma_select_withdraw(struct adma_endpoint *ep, uint32_t id, int error)
{
	if (ep->withdrawn & ADMA_MECH_BIT(id))
		return;
	ep->withdrawn |= ADMA_MECH_BIT(id);
	ep->withdrawn_error[id] = error;
}

bool adma_select_has_single_copy(uint32_t mask)
{
	const struct adma_mechanism *mechanism;

	while ((mechanism = adma_mechanism_next(&mask)))
		if (mechanism->flags & ADMA_EITHER_ENDPOINT)
			return true;
	return false;
}

static enum adma_reason select_reason(const struct adma_endpoint *ep, const struct adma_mechanism *mechanism,
				      uint64_t n, uint32_t chosen, bool learnt, uint32_t working)
{
	uint32_t forced = ep->connection.config.forced, bit = ADMA_MECH_BIT(mechanism->id);

	if (mechanism->id == chosen && forced)
		return ADMA_REASON_FORCED;
	if ((ep->withdrawn | ep->send.withdrawn) & bit)
		return ADMA_REASON_WITHDRAWN;
	if (!(working & bit) || !mechanism->reason)
		return ADMA_REASON_UNAVAILABLE;
	if (forced)
		return ADMA_REASON_OTHER_FORCED;
	if (!adma_takes_slot(ep, n))
		return ADMA_REASON_NOT_NEEDED;
	if (learnt && mechanism->competes)
		return mechanism->id == chosen ? ADMA_REASON_LEARNT : ADMA_REASON_SLOWER_LEARNT;
	return mechanism->reason(&ep->connection, n, mechanism->id == chosen, adma_select_has_single_copy(working));
}

uint32_t adma_select_explain(const struct adma_endpoint *ep, uint64_t n, uint32_t chosen, bool learnt,
			     struct adma_candidate *found)
{
	uint32_t working = adma_select_working(ep), count = chosen != ADMA_MECH_NONE;

	for (uint32_t id = 1; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism(id);
		uint32_t at = id == chosen ? 0 : count;

		if (!mechanism || mechanism->internal)
			continue;
		found[at] = (struct adma_candidate){
			.mechanism = id,
			.reason = select_reason(ep, mechanism, n, chosen, learnt, working),
			.error = ep->withdrawn_error[id],
		};
		count += id != chosen;
	}
	return count;
}
