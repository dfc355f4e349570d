/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * eager_limit.h - how long the messages may be that are sent eagerly: the reader learns it, and tells the writer.
 *
 * A message of up to ADMA_EAGER_MAX bytes is always eager. One of up to ADMA_BUFFER_SIZE bytes may be, through a bounce
 * buffer. Whether that is quicker than a rendezvous differs from one machine to the next, and from one size to the
 * next. So the reader learns it for each size class, from the time between the post, which the descriptor tells, and the
 * moment at which it has the bytes. It tells the writer by a word of the writer's segment, with a bit for each
 * class. The word is a hint: the writer sends by a rendezvous whatever it cannot send eagerly, and the reader takes
 * what comes.
 *
 * A sample is taken of a message only
 *
 *   - that was published while a thread of ours was looking for one. Otherwise its time says when the reader came
 *   - whose post was not long before that. So a time that is not of our clock is no sample, whether the peer lies or has
 *     a clock of its own
 *   - that was alone, if it came by a rendezvous, and was not disturbed; and only once the mechanisms of its kind have
 *     been tried, because until then it does not tell what a rendezvous takes: see learning.h
 *   - one in eight, once this endpoint has learnt for a while, and each one after a try: to learn takes time itself
 *
 * Called with the lock held.
 */
#ifndef ADMA_WORKER_EAGER_LIMIT_H
#define ADMA_WORKER_EAGER_LIMIT_H

#include "learn/tables.h"
#include "worker/endpoint.h"

/* The kind of these samples in the tables: worker/learning.c has those below. */
#define ADMA_EAGER_LIMIT_KIND (ADMA_TABLE_KINDS - 1u)

/* The ways that are compared, by their numbers in the tables. */
enum { ADMA_EAGER_LIMIT_RENDEZVOUS, ADMA_EAGER_LIMIT_EAGER, ADMA_EAGER_LIMIT_WAYS };

/*
 * Did the peer ask us to send such messages eagerly? `_asked`: by its word as last read. That needs no lock, since whether it
 * is learnt for messages of n bytes never changes.
 */
bool adma_eager_limit_asks(struct adma_endpoint *ep, uint64_t n);
bool adma_eager_limit_asked(const struct adma_endpoint *ep, uint64_t n);

/* The bytes of this message were copied out of its bounce buffer. */
void adma_eager_limit_took(struct adma_endpoint *ep, const struct adma_desc *desc);

/*
 * This message is matched, and comes by a rendezvous. Returns the time since which it counts, to be passed to
 * adma_eager_limit_came() once it is complete and was not disturbed; 0: it is no sample. `key`: of the table by which
 * its mechanism was chosen.
 */
int64_t adma_eager_limit_matched(struct adma_endpoint *ep, const struct adma_desc *desc);
void adma_eager_limit_came(struct adma_endpoint *ep, struct adma_table_key key, uint64_t n, int64_t since);

/* What is known of both ways, for messages of n bytes that we read: see adma_learnt(). Returns how many rows there are. */
uint32_t adma_eager_limit_tell(const struct adma_endpoint *ep, uint64_t n, struct adma_learnt_way *found);

/* See adma_learnt_tell() and adma_learnt_take_up(): no mechanism, and the number of the way as the choice. */
int adma_eager_limit_tell_costs(uint32_t uid, struct adma_learnt_cost *found, int room);
int adma_eager_limit_take_up(uint32_t uid, const struct adma_learnt_cost *cost);

#endif
