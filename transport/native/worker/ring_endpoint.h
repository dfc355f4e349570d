/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_endpoint.h - the endpoint whose messages travel through the shared rings and slots. */
#ifndef ADMA_WORKER_RING_ENDPOINT_H
#define ADMA_WORKER_RING_ENDPOINT_H

#include "worker/endpoint.h"

extern const struct adma_endpoint_ops adma_ring_endpoint_ops;

#endif
