/* SPDX-License-Identifier: BSD-3-Clause */
/* tagged_endpoint.h - an endpoint whose messages match by tags, by way of the shared rings. */
#ifndef ADMA_WORKER_TAGGED_ENDPOINT_H
#define ADMA_WORKER_TAGGED_ENDPOINT_H

#include "worker/endpoint.h"

extern const struct adma_endpoint_ops adma_tagged_endpoint_ops;

#endif
