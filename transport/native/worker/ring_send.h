/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_send.h - our writes, of an endpoint whose messages travel through the shared rings. With the lock. */
#ifndef ADMA_WORKER_RING_SEND_H
#define ADMA_WORKER_RING_SEND_H

#include "worker/endpoint.h"

/* Operations of the endpoint: see struct adma_endpoint_ops. */
int adma_ring_post(struct adma_endpoint *ep, struct adma_req *req);
void adma_ring_published(struct adma_endpoint *ep);
bool adma_ring_cancel(struct adma_endpoint *ep, struct adma_req *req);

/* A message went out inline or eagerly. */
void adma_ring_count_carry(struct adma_endpoint *ep, const struct adma_desc *desc);

/* Posted writes that the peer matched become transfers. True when anything changed. */
bool adma_ring_note_matches(struct adma_endpoint *ep);

/* Slots that their reader is through with, too, are free again. True when one is. */
bool adma_ring_note_seen(struct adma_endpoint *ep);

/* The endpoint is over: withdraw the writes that are posted. */
void adma_ring_fail_posted(struct adma_endpoint *ep, int error);

/* Complete the writes that were matched while there was no memory for a transfer, `held`. Their bytes. */
uint64_t adma_ring_abandon_posted(struct adma_endpoint *ep);

#endif
