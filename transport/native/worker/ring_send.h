/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_send.h - the send side of a ring endpoint: our writes. Called with the lock held. */
#ifndef ADMA_WORKER_RING_SEND_H
#define ADMA_WORKER_RING_SEND_H

#include "worker/endpoint.h"

/* Operations of the endpoint: see struct adma_endpoint_ops. */
int adma_ring_post(struct adma_endpoint *ep, struct adma_req *req);
void adma_ring_published(struct adma_endpoint *ep);
bool adma_ring_cancel(struct adma_endpoint *ep, struct adma_req *req);

/* Count a message that was published inline or eagerly. */
void adma_ring_count_carry(struct adma_endpoint *ep, const struct adma_desc *desc);

/*
 * Publish a message through a bounce buffer, if its reader has asked for that. There must be room for the descriptor.
 * 1: it is published; 0: that is not so, or no buffer is free: it takes a slot; -EPROTO.
 */
int adma_ring_put_if_asked(struct adma_endpoint *ep, struct adma_desc *desc, const void *payload);

/*
 * Take note of the news that the peer tells. Posted writes that it has matched become transfers, and
 * transfers that may be over are touched. Messages of the peer that wait for a receive, and that it has
 * withdrawn, are dropped. True when anything of that happened, a touch excepted.
 */
bool adma_ring_note_matches(struct adma_endpoint *ep);

/*
 * Nobody will match the posted writes: withdraw them, and complete them with this error. If it is
 * ADMA_E_CLOSED_HERE, our close takes them back, and the reader is told that they are lost.
 */
void adma_ring_fail_posted(struct adma_endpoint *ep, int error);

/* Our close has taken messages back: count what was published after the first of them, which is lost, too. */
void adma_ring_note_cut_off(struct adma_endpoint *ep);

/* Complete, with `held` set, writes that the peer has taken, but for which there is no transfer. Returns their bytes. */
uint64_t adma_ring_abandon_posted(struct adma_endpoint *ep);

#endif
