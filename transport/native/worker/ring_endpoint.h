/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_endpoint.h - the endpoint whose messages travel through the shared rings and slots. Called with the lock held.
 */
#ifndef ADMA_WORKER_RING_ENDPOINT_H
#define ADMA_WORKER_RING_ENDPOINT_H

#include "worker/endpoint.h"

extern const struct adma_endpoint_ops adma_ring_endpoint_ops;

/* ---- what it shares with the endpoint whose messages have tags ---- */

/* Take note of what the reader did with our slots, and publish writes of the backlog. True when anything changed. */
bool adma_ring_advance_sends(struct adma_endpoint *ep);

/* If nobody will match them any more, complete the writes that are not matched. True when there were any. */
bool adma_ring_fail_sends(struct adma_endpoint *ep);

/* Operations of the endpoint: see struct adma_endpoint_ops. */
void adma_ring_stop_reading(struct adma_endpoint *ep);
bool adma_ring_is_busy(const struct adma_endpoint *ep);
int adma_ring_data_fd(const struct adma_endpoint *ep);
short adma_ring_events(const struct adma_endpoint *ep, bool listener);
struct adma_poll_word adma_ring_poll_word(const struct adma_endpoint *ep);
void adma_ring_refresh(struct adma_endpoint *ep, struct adma_req *req);
uint64_t adma_ring_abandon(struct adma_endpoint *ep);
void adma_ring_close(struct adma_endpoint *ep);

#endif
