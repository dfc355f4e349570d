/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tags.h - matching by tags: the posted and the unexpected queue of a worker. Called with the lock held.
 *
 * A message is offered to the posted receives when its descriptor is taken out of the ring. If none
 * accepts it, it joins the unexpected queue: an eager one with a copy of its bytes, so that the ring
 * is free for what follows; a rendezvous message as its descriptor, while its bytes stay where they are.
 * A receive looks into the unexpected queue before it joins the posted queue. So at any time no
 * posted receive accepts any message in the unexpected queue.
 */
#ifndef ADMA_WORKER_TAGS_H
#define ADMA_WORKER_TAGS_H

#include "worker/queues.h"

/* 0 or -ENOMEM. `secret`: see match/keys.h. */
int adma_tags_make(struct adma_worker *worker, uint64_t secret);
void adma_tags_free(struct adma_worker *worker);

/* Give an endpoint its number. 0 or -ENOMEM. */
int adma_tags_number(struct adma_worker *worker, struct adma_endpoint *ep);

/* The endpoint with this number, or NULL. */
struct adma_endpoint *adma_tags_endpoint(const struct adma_worker *worker, uint32_t number);

/* ---- receives ---- */

/* Match the receive with a message that arrived, or else post it. */
void adma_tags_receive(struct adma_worker *worker, struct adma_req *req);

/* Withdraw a posted receive. */
void adma_tags_withdraw(struct adma_worker *worker, struct adma_req *req);

/* The oldest message that arrived and that such a receive would get, or NULL. Passes over withdrawn ones. */
struct adma_arrived *adma_tags_find(struct adma_worker *worker, uint32_t source, uint64_t tag, uint64_t mask);

/* Take a message out of the unexpected queue. 0; -ECANCELED: it was withdrawn just now, and is gone. */
int adma_tags_take(struct adma_arrived *arrived);

/* Deliver a message that was taken, which is gone afterwards. 0; -ADMA_E_TOOLONG: it stays, and nothing has happened. */
int adma_tags_receive_taken(struct adma_worker *worker, struct adma_arrived *arrived, struct adma_req *req);

/* Complete a receive that met no message. */
void adma_tags_complete(struct adma_worker *worker, struct adma_req *req, int error);

/* ---- messages ---- */

/*
 * Offer a message to the posted receives, and put it into the unexpected queue if none accepts it. 0: the
 * message has gone to one of them; -ECANCELED: it was withdrawn; -ENOMEM, -EAGAIN: it stays; -EPROTO.
 */
int adma_tags_offer(const struct adma_offer *offer);

/* Complete the posted receives that name this endpoint, with this error. */
void adma_tags_fail_source(struct adma_endpoint *ep, int error);

#endif
