/* SPDX-License-Identifier: BSD-3-Clause */
/* life.h - the memory of an endpoint: prepared and freed. No lock is needed: nobody else knows the endpoint. */
#ifndef ADMA_WORKER_LIFE_H
#define ADMA_WORKER_LIFE_H

#include "worker/endpoint.h"

/*
 * Prepare an endpoint whose descriptors and segments `config` names. It belongs to no worker yet. 0 or -ENOMEM;
 * it has to be freed in either case.
 */
int adma_endpoint_init(struct adma_endpoint *ep, const struct adma_config *config, const struct adma_endpoint_ops *ops);

/* Free what it has in memory. Descriptors and segments are gone. */
void adma_endpoint_free(struct adma_endpoint *ep);

#endif
