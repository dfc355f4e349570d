/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_receive.h - the receive side of a ring endpoint: our reads. Called with the lock held. */
#ifndef ADMA_WORKER_RING_RECEIVE_H
#define ADMA_WORKER_RING_RECEIVE_H

#include "worker/endpoint.h"

/* Operations of the endpoint: see struct adma_endpoint_ops. */
bool adma_ring_peek_message(struct adma_endpoint *ep, struct adma_message *message);
int adma_ring_skip(struct adma_endpoint *ep, struct adma_message *message);
bool adma_ring_has_message(struct adma_endpoint *ep);

/* Match posted reads with messages, and deliver those. True when a read left its queue. */
bool adma_ring_match_reads(struct adma_endpoint *ep);

#endif
