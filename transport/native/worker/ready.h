/* SPDX-License-Identifier: BSD-3-Clause */
/* ready.h - what this endpoint could copy now. Called with the lock held. */
#ifndef ADMA_WORKER_READY_H
#define ADMA_WORKER_READY_H

#include "worker/transfer.h"

/*
 * Is there a chunk that this endpoint could copy now? Without a ready(), only the pollfd() of its mechanism tells, until that has
 * hung up.
 */
bool adma_transfer_ready(const struct adma_endpoint *ep, const struct adma_transfer *t);
bool adma_transfers_ready(struct adma_endpoint *ep);

/*
 * poll() found these events on the data descriptor, whose mechanism has nothing but that to tell when it can go on. A
 * descriptor that has hung up tells that for ever, whatever is asked of it. So it is not polled any more. No move on it waits
 * from now on: each gets bytes that came before, or the error. So what is next on it counts as ready.
 */
void adma_transfers_note_polled(struct adma_endpoint *ep, short revents);

/* The poll() events of `fd` for which transfers wait. */
short adma_transfers_events(const struct adma_endpoint *ep, int fd);

/* Is there a transfer whose progress signals no event count? */
bool adma_transfers_polled(const struct adma_endpoint *ep);

#endif
