/* SPDX-License-Identifier: BSD-3-Clause */
/* tagged_endpoint.h - an endpoint whose messages match by tags, by way of the shared rings. */
#ifndef ADMA_WORKER_TAGGED_ENDPOINT_H
#define ADMA_WORKER_TAGGED_ENDPOINT_H

#include "worker/endpoint.h"

/*
 * Peers are asked to say when their rings are half full, or not until that is taken back. Then those that were not asked are,
 * and are looked at. With the lock held.
 */
void adma_tagged_leave_undisturbed(struct adma_worker *worker, bool undisturbed);

extern const struct adma_endpoint_ops adma_tagged_endpoint_ops;

#endif
