/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tags.h - matching by tags: the posted and the unexpected queue of a worker. Called with the lock held.
 *
 * A message is offered to the posted receives when its descriptor is taken out of the ring. If none
 * accepts it, it joins the unexpected queue: an eager one with a copy of its bytes, so that the ring
 * is free for what follows; a rendezvous message as its descriptor, while its bytes stay where they are.
 * A receive looks into the unexpected queue before it joins the posted queue. So at any time no
 * posted receive accepts any message in the unexpected queue.
 *
 * What a peer's eager messages cost is limited. Before the limit is reached, by as much as may be
 * under way, the peer is told to send by rendezvous, and below half of the limit that it may send
 * eagerly again (tests/model/unexpected.pml). A peer that does not obey breaks the protocol. The
 * limit on rendezvous messages is the number of slots that a peer has. Between users it is smaller,
 * and an honest peer has no more slots.
 */
#ifndef ADMA_WORKER_TAGS_H
#define ADMA_WORKER_TAGS_H

#include "adma_worker.h"
#include "match/posted.h"
#include "match/unexpected.h"
#include "worker/endpoint.h"

#define ADMA_ARRIVED_BYTES_MAX (1u << 20) /* that eager messages of one peer may cost */
#define ADMA_ARRIVED_SLOTS_MAX 4096       /* rendezvous messages of a peer of another user */

struct adma_tags {
	struct adma_posted posted;
	struct adma_unexpected unexpected;
	uint32_t long_receives;           /* posted receives whose messages may need our help */
	struct adma_endpoint **by_number; /* endpoints by number; NULL: closed */
	uint32_t numbers;                 /* as many were given out */
	struct adma_list orphans;         /* messages that were taken, and whose endpoints are gone */
};

/* A message that came before its receive. */
struct adma_arrived {
	struct adma_unexpected_entry entry;
	struct adma_list taken;    /* among those of its endpoint that matched probes took, or among the orphans */
	struct adma_endpoint *ep;  /* NULL: closed since a matched probe took it */
	uint32_t slot_index, slot_gen;
	bool slot;                 /* it waits in a slot of the peer */
	struct adma_tagged_message message;
	uint8_t bytes[];           /* of an eager one */
};

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

/* A message as it is offered: its bytes lie in the ring, or wait in a slot. */
struct adma_offer {
	struct adma_endpoint *ep;
	uint64_t tag, length;
	const void *bytes;
	const struct adma_desc *desc; /* of a message in a slot, or NULL */
};

/*
 * Offer a message to the posted receives, and put it into the unexpected queue if none accepts it. 0: the
 * message has gone to one of them; -ECANCELED: it was withdrawn; -ENOMEM: it stays; -EPROTO.
 */
int adma_tags_offer(const struct adma_offer *offer);

/* There is news of a slot of the peer. If a message waits there that was withdrawn, drop it. True when that was so. */
bool adma_tags_note_news(struct adma_endpoint *ep, uint32_t slot_index);

/* Complete the posted receives that name this endpoint, with this error. */
void adma_tags_fail_source(struct adma_endpoint *ep, int error);

/* Drop what arrived from this endpoint: all of it, or what is lost with a dead peer because it waits in slots. */
void adma_tags_drop_source(struct adma_endpoint *ep, bool all);

/* Free what arrived from this endpoint, of a worker that is freed. Touches nothing that is shared with the peer. */
void adma_tags_forget_source(struct adma_endpoint *ep);

/*
 * Too much has arrived: tell the peer to send by rendezvous. Enough has gone: tell it that it may send eagerly
 * again. Called before the message is taken out of the ring: a peer that sees room sees this word, too.
 */
void adma_tags_limit(struct adma_endpoint *ep);

#endif
