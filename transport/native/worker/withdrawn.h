/* SPDX-License-Identifier: BSD-3-Clause */
/* withdrawn.h - is a message that waits in a slot of the peer still there? Called with the lock held. */
#ifndef ADMA_WORKER_WITHDRAWN_H
#define ADMA_WORKER_WITHDRAWN_H

#include "worker/endpoint.h"

enum adma_offer_state {
	ADMA_OFFER_STANDS,
	ADMA_OFFER_WITHDRAWN, /* by its sender's program: pass over it. Its slot was given back */
	ADMA_OFFER_LOST,      /* by its sender's close: there is a hole here from now on */
	ADMA_OFFER_INVALID,   /* its sender breaks the protocol */
};

/* Look at a message in a slot, which the peer names by `index` and `gen`. Its block is mapped. */
enum adma_offer_state adma_offer_look(struct adma_endpoint *ep, uint32_t index, uint32_t gen);

#endif
