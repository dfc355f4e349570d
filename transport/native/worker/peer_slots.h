/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer_slots.h - what this endpoint knows of the slots of its peer. Called with the lock held.
 *
 * The peer may use slots of any index below ADMA_SLOTS_MAX. Before one is looked at, it is reached:
 * its pages are made sure of (shm/growth.h). That happens once for each doubling of the slots, and so
 * a peer can make us allocate what all slots take, and no more.
 */
#ifndef ADMA_WORKER_PEER_SLOTS_H
#define ADMA_WORKER_PEER_SLOTS_H

#include <stdint.h>

#include "shm/layout.h"

struct adma_arrived;
struct adma_transfer;

struct adma_peer_slots {
	struct adma_segment *segment; /* the peer's */
	uint32_t reached;             /* slots whose pages are there */
	uint32_t capacity;            /* of the arrays */
	struct adma_transfer **of;    /* by slot: the transfer of our read, or NULL */
	struct adma_arrived **arrived; /* by slot: the tagged message that waits there for a receive, or NULL */
};

void adma_peer_slots_init(struct adma_peer_slots *slots, struct adma_segment *segment);
void adma_peer_slots_free(struct adma_peer_slots *slots);

/* Make sure that the slot can be looked at. 0 or a negated errno: an honest peer has allocated its slots. */
int adma_peer_slots_reach(struct adma_peer_slots *slots, uint32_t index);

/* Make room for what the arrays say of this slot, which was reached. 0 or -ENOMEM. */
int adma_peer_slots_provide(struct adma_peer_slots *slots, uint32_t index);

/* The transfer of this slot is over. A peer that used its slot too early has another one there. */
static inline void adma_peer_slots_forget(struct adma_peer_slots *slots, uint32_t index, const struct adma_transfer *t)
{
	if (slots->of[index] == t)
		slots->of[index] = NULL;
}

#endif
