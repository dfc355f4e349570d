/* SPDX-License-Identifier: BSD-3-Clause */
/* withdrawn.c - see withdrawn.h. */
#include "worker/withdrawn.h"

#include "shm/slot.h"
#include "worker/peer.h"

enum adma_offer_state adma_offer_look(struct adma_endpoint *ep, uint32_t index, uint32_t gen)
{
	struct adma_slot *slot = adma_slot_at(ep->connection.config.remote, index);

	switch (adma_slot_state(slot, gen)) {
	case ADMA_POSTED:
		return ADMA_OFFER_STANDS;
	case ADMA_CANCELLED:
		adma_slot_see(slot, gen);
		adma_signal_peer(ep); /* the peer may wait for the slot */
		return ADMA_OFFER_WITHDRAWN;
	case ADMA_LOST:
		ep->receive.hole = true;
		return ADMA_OFFER_LOST;
	default:
		return ADMA_OFFER_INVALID;
	}
}
