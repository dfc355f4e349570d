/* SPDX-License-Identifier: BSD-3-Clause */
/* ready.h - what this endpoint could copy now, and which transfer of a stream is next. With the lock. */
#ifndef ADMA_WORKER_READY_H
#define ADMA_WORKER_READY_H

#include "worker/transfer.h"

/* Of a stream: is it this transfer that this endpoint goes on with? */
bool adma_transfer_is_next(const struct adma_endpoint *ep, const struct adma_transfer *t);

/* This endpoint is through with its part of a stream: the next transfer follows. */
void adma_transfer_pass_stream(struct adma_endpoint *ep, const struct adma_transfer *t);

/* Is there a chunk that this endpoint could copy now? A transfer that a descriptor tells of is never ready. */
bool adma_transfer_ready(const struct adma_endpoint *ep, const struct adma_transfer *t);
bool adma_transfers_ready(const struct adma_endpoint *ep);

/* The poll() events of `fd` that would let a transfer go on. */
short adma_transfers_events(const struct adma_endpoint *ep, int fd);

/* Is there a transfer whose progress signals no event count? */
bool adma_transfers_polled(const struct adma_endpoint *ep);

#endif
