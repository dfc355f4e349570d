/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * learning.h - how our read is to be carried, by what earlier ones took.
 *
 * The reader decides alone, and writes what it decided into the slot: the mechanism, the size of its
 * chunks, and whether copies make a detour. So nothing has to be agreed upon. What it learns from
 * is the time from the match to the completion, as it sees it. No sample is taken of a transfer
 *
 *   - that failed or was made once more
 *   - during which one of our threads slept, or the peer had to be woken: that is no time of a mechanism
 *   - while no thread of ours waited, so that nobody saw when it was complete
 *   - beside which another one was under way, since they slow each other down. These are learnt of
 *     apart, by what many in a row take (window.h): what is best for them may not be what is best alone
 *
 * Mechanisms compete only while both endpoints wait and each has a core. If one endpoint computes,
 * elapsed time is not what counts: two copies may take less of it, and take the other half of them
 * from a thread that has better to do. So then the built-in choice of a mechanism holds, unless one copy was
 * learnt to be quicker even where both wait; what is learnt are its chunks and its detour.
 *
 * Called with the lock held. A forced mechanism learns nothing: comparisons compare what is built in.
 */
#ifndef ADMA_WORKER_LEARNING_H
#define ADMA_WORKER_LEARNING_H

#include "worker/transfer.h"

/* How a transfer is made. */
struct adma_choice {
	uint32_t mechanism;
	uint64_t chunk;
	bool detour;
};

/* The built-in choice for this mechanism. */
struct adma_choice adma_choice_built_in(const struct adma_transfer *t, uint32_t mechanism);

/* Could a reader have chosen this for so many bytes? */
bool adma_choice_is_possible(const struct adma_mechanism *mechanism, uint64_t length, uint64_t chunk, uint32_t manner);

/*
 * The choice for an inbound transfer of which buffers and length are known. `built_in`: the mechanism without
 * experience, or ADMA_MECH_NONE; `mask`: those that are possible.
 */
struct adma_choice adma_learning_choose(struct adma_endpoint *ep, struct adma_transfer *t, uint32_t built_in,
					uint32_t mask);

/* It was matched, and is about to begin. */
void adma_learning_begin(struct adma_endpoint *ep, const struct adma_transfer *t);

/* A transfer is over, of either direction. True: it was alone and undisturbed, so that its time tells something. */
bool adma_learning_note(struct adma_endpoint *ep, const struct adma_transfer *t, int error);

/* The mechanism for n bytes by experience with our reads, in place of this one. */
uint32_t adma_learning_mechanism(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
				 bool both_wait);

enum { ADMA_LEARNING_TOLD_MAX = 4 * ADMA_WAYS }; /* ways that adma_learning_tell() tells of, at most */

/* What is known of each way, for messages of n bytes between endpoints that both wait: see adma_learnt(). */
uint32_t adma_learning_tell(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
			    struct adma_learnt_way *found);

/* See adma_learnt_tell() and adma_learnt_take_up(). */
int adma_learning_tell_costs(uint32_t uid, struct adma_learnt_cost *found, int room);
int adma_learning_take_up(uint32_t uid, const struct adma_learnt_cost *cost);

#endif
