/* SPDX-License-Identifier: BSD-3-Clause */
/* closing.h - how an endpoint is closed, of a channel or of a worker. Called with the lock held. */
#ifndef ADMA_API_CLOSING_H
#define ADMA_API_CLOSING_H

#include "progress/progress.h"

/* The time between two looks at what a close waits for. */
#define ADMA_CLOSE_SLEEP_NS 10000000
#define ADMA_ABANDON_SLEEP_NS 1000000

/* Take back what is unmatched, stop the claiming of chunks, and tell the peer that nothing follows. */
void adma_closing_begin(struct adma_endpoint *ep);

/* Do threads of ours use maps or descriptors of the endpoint without the lock? */
bool adma_closing_has_users(const struct adma_endpoint *ep);

/*
 * Before a peer is given up on: wait for our own threads, which copy for a moment only. But a page may hold one up,
 * for ever. True: none uses the endpoint, which may be torn down.
 */
bool adma_closing_await_users(struct adma_endpoint *ep);

/* Look whether nobody touches its buffers and maps any more. */
bool adma_closing_is_quiet(struct adma_endpoint *ep);

/* Arm the event count, which was `events` before the look. False: a sleep has to be short. */
bool adma_closing_arm(struct adma_endpoint *ep, uint64_t events);

/*
 * Sleep for about `ns`, or until something may have completed the last transfer; only for a moment unless
 * `armed`. The lock is dropped meanwhile.
 */
void adma_closing_sleep(struct adma_endpoint *ep, bool armed, int64_t ns);

#endif
