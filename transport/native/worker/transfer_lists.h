/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer_lists.h - transfers by what they wait for. Called with the lock held.
 *
 * No round walks all transfers, unless they are few or the endpoint is terminated. A transfer is
 * *touched* when something may have happened to it: the next round looks whether it is over. Those
 * that may have bytes for this endpoint to move are in `open` or `heads`, oldest first. The rest wait
 * for the peer, who tells by news.
 */
#ifndef ADMA_WORKER_TRANSFER_LISTS_H
#define ADMA_WORKER_TRANSFER_LISTS_H

#include "worker/transfer.h"

void adma_transfer_lists_init(struct adma_transfer_lists *lists);

/* A transfer begins, and is touched; a transfer is over. */
void adma_transfer_enlist(struct adma_endpoint *ep, struct adma_transfer *t);
void adma_transfer_delist(struct adma_endpoint *ep, struct adma_transfer *t);

/* Something happened to it: the next round looks whether it is over. */
static inline void adma_transfer_touch(struct adma_endpoint *ep, struct adma_transfer *t)
{
	if (!adma_list_listed(&t->touched))
		adma_list_push_back(&ep->transfers.touched, &t->touched);
}

/* No chunk of it can be claimed any more. */
static inline void adma_transfer_shut(struct adma_transfer *t)
{
	t->shut = true;
	if (!adma_transfer_is_stream(t))
		adma_list_remove(&t->movable);
}

/* This endpoint has done its part of this stream, or the transfer is over: the next one of its FIFO follows. */
void adma_transfer_pass_stream(struct adma_endpoint *ep, struct adma_transfer *t);

/* Has a stream waited longer for its turn than any transfer of which chunks can be claimed? */
bool adma_transfers_begin_with_streams(const struct adma_transfer_lists *lists);

/* Is this the transfer of its stream with which this endpoint goes on? */
bool adma_transfer_is_next(const struct adma_endpoint *ep, const struct adma_transfer *t);

/* The first transfer of an inbound stream, or NULL. */
const struct adma_transfer *adma_transfer_draining(const struct adma_endpoint *ep, uint32_t mechanism_id);

static inline struct adma_transfer *adma_transfer_of_touched(struct adma_list *member)
{
	return adma_container_of(member, struct adma_transfer, touched);
}

static inline struct adma_transfer *adma_transfer_of_movable(struct adma_list *member)
{
	return adma_container_of(member, struct adma_transfer, movable);
}

#endif
