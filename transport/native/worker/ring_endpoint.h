/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_endpoint.h - the endpoint whose messages travel through the shared rings and slots. */
#ifndef ADMA_WORKER_RING_ENDPOINT_H
#define ADMA_WORKER_RING_ENDPOINT_H

#include "worker/endpoint.h"

extern const struct adma_endpoint_ops adma_ring_endpoint_ops;

/* A message went out inline or eagerly. */
void adma_ring_count_carry(struct adma_endpoint *ep, const struct adma_desc *desc);

#endif
