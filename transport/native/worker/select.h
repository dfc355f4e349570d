/* SPDX-License-Identifier: BSD-3-Clause */
/* select.h - which mechanism carries a message, and why the others do not. Called with the lock held. */
#ifndef ADMA_WORKER_SELECT_H
#define ADMA_WORKER_SELECT_H

#include "worker/endpoint.h"

/* Does a write of n bytes take a slot? A forced mechanism carries messages of every size. */
static inline bool adma_takes_slot(const struct adma_endpoint *ep, uint64_t n)
{
	return ep->connection.config.forced || n > ADMA_EAGER_MAX;
}

/* The mechanisms that can serve a write of ours now: a mask, here and below. */
uint32_t adma_select_offer(const struct adma_endpoint *ep);

/* The mechanisms that could serve it if their segments existed. */
uint32_t adma_select_working(const struct adma_endpoint *ep);

/* The best mechanism of `mask` for n bytes; ADMA_MECH_NONE: there is none. `waits`: a thread of ours waits. */
uint32_t adma_select_from(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, bool waits);

/*
 * The mechanisms for a read, from what the writer offers. One whose segment of the peer's has not come yet is among
 * them only if there is no other.
 */
uint32_t adma_select_for_read(const struct adma_endpoint *ep, uint32_t offered);

/* Is there one among those that the writer offers whose segment has not come? */
bool adma_select_lacks_segment(const struct adma_endpoint *ep, uint32_t offered);

/*
 * The mechanisms of `mask` that can make a transfer once more, for which this one (`refused`) could not access a
 * buffer: a forced mechanism has no other one in its place.
 */
uint32_t adma_select_guards(const struct adma_endpoint *ep, uint32_t mask, uint32_t refused);

/* The mechanism failed while in use, and will not work again. */
void adma_select_withdraw(struct adma_endpoint *ep, uint32_t id, int error);

/* Is there one among these by which an endpoint accesses the memory of the other one itself? */
bool adma_select_has_single_copy(uint32_t mask);

/*
 * Why each mechanism would or would not carry n bytes: see adma_candidates(). `chosen` may be ADMA_MECH_NONE. `learnt`: it
 * was chosen by experience, against the ranks.
 */
uint32_t adma_select_explain(const struct adma_endpoint *ep, uint64_t n, uint32_t chosen, bool learnt,
			     struct adma_candidate *found);

#endif
