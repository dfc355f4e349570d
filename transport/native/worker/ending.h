/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ending.h - how an endpoint ends in order. Called with the lock held.
 *
 * An endpoint that ends stops reading first, and says so (`ending`): then a peer that is stuck in a
 * write to it fails at once, and can read. What was posted is carried as before, until the endpoint
 * is *drained*. What cannot be delivered is taken back at last, and the peer is told of how many
 * messages that are (`withdrawn`), before it is told of the end (`closed`). tests/model/ending.pml
 * searches this.
 */
#ifndef ADMA_WORKER_ENDING_H
#define ADMA_WORKER_ENDING_H

#include "worker/endpoint.h"

/* Stop reading: receives that are not matched fail. Say so to the peer. Does nothing the second time. */
void adma_ending_begin(struct adma_endpoint *ep);

/* Is nothing left to be carried? That is so, too, when the peer is gone or reads no more. */
bool adma_ending_is_drained(const struct adma_endpoint *ep);

/* Tell the peer how many messages were lost, and then that nothing follows. */
void adma_ending_tell_closed(struct adma_endpoint *ep);

#endif
