/* SPDX-License-Identifier: BSD-3-Clause */
/* drive.h - what adma_drive() and adma_sleep() ask about a wait. Called without a lock. */
#ifndef ADMA_API_DRIVE_H
#define ADMA_API_DRIVE_H

#include <stdbool.h>

#include "adma.h"

#define ADMA_SPIN_CHANNELS 8 /* a thread does not spin on more channels than this */

/* A wait for one request, or with *req NULL for a message, on one channel. */
static inline struct adma_wait adma_wait_for_one(struct adma_chan **chan, struct adma_req **req)
{
	int n = *req != NULL;

	return (struct adma_wait){.chans = chan, .nchans = 1, .reqs = req, .nreqs = n, .need = n, .also = -1};
}

/* Is the request done, or does it need a buffer? */
bool adma_request_is_ready(const struct adma_req *req);

/* Are `need` of the requests ready; or, without requests, is there a message on the first channel? */
bool adma_wait_is_satisfied(const struct adma_wait *wait);

#endif
