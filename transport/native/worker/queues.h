/* SPDX-License-Identifier: BSD-3-Clause */
/* queues.h - the posted and the unexpected queue of a worker, and what is in them. The lock of the worker guards all. */
#ifndef ADMA_WORKER_QUEUES_H
#define ADMA_WORKER_QUEUES_H

#include "adma_worker.h"
#include "match/posted.h"
#include "match/unexpected.h"
#include "worker/endpoint.h"

struct adma_tags {
	struct adma_posted posted;
	struct adma_unexpected unexpected;
	uint32_t long_receives; /* posted receives whose messages may need our help */
	struct adma_endpoint **by_number; /* endpoints by number; NULL: closed */
	uint32_t numbers; /* as many were given out */
	struct adma_list orphans; /* messages that were taken, and whose endpoints are gone */
};

/* A message that came before its buffer: nobody has received it yet, or a probe or a receive has taken it. */
struct adma_arrived {
	struct adma_unexpected_entry entry;
	struct adma_list taken; /* among those of its endpoint that were taken, or among the orphans */
	struct adma_endpoint *ep; /* NULL: closed since it was taken */
	uint32_t slot_index, slot_gen;
	bool slot; /* it waits in a slot of the peer */
	struct adma_tagged_message message;
	uint8_t bytes[]; /* of an eager one */
};

/* A message as it is offered: its bytes lie in the ring, or wait in a slot. */
struct adma_offer {
	struct adma_endpoint *ep;
	uint64_t tag, length;
	const void *bytes;
	const struct adma_desc *desc; /* of a message in a slot, or NULL */
	const struct adma_desc *buffered; /* of a message in a bounce buffer, or NULL */
};

#endif
