/* SPDX-License-Identifier: BSD-3-Clause */
/* select.h - which mechanism carries a message, and why another one does not. With the lock. */
#ifndef ADMA_WORKER_SELECT_H
#define ADMA_WORKER_SELECT_H

#include "worker/endpoint.h"

/* Does a write of n bytes take a slot? A forced mechanism carries every size by itself. */
static inline bool adma_takes_slot(const struct adma_endpoint *ep, uint64_t n)
{
	return ep->connection.config.forced || n > ADMA_EAGER_MAX;
}

/* Mechanisms that can serve a write of ours now. */
uint32_t adma_select_offer(const struct adma_endpoint *ep);

/* Mechanisms that could serve it, were their segments there. */
uint32_t adma_select_working(const struct adma_endpoint *ep);

/* Among those of `mask`, the one for n bytes, ADMA_MECH_NONE: none is left. `waits`: a thread of ours waits. */
uint32_t adma_select_from(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, bool waits);

/* The mechanism for a read of n bytes, from what the writer offers. */
uint32_t adma_select(const struct adma_endpoint *ep, uint64_t n, uint32_t offered);

/* It failed in mid-life for good. */
void adma_select_withdraw(struct adma_endpoint *ep, uint32_t id, int error);

/* Why each mechanism would carry n bytes or would not: see adma_candidates(). `chosen` may be ADMA_MECH_NONE. */
uint32_t adma_select_explain(const struct adma_endpoint *ep, uint64_t n, uint32_t chosen, struct adma_candidate *found);

#endif
