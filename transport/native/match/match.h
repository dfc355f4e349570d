/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * match.h - the posted queue, and which posted read matches the next message.
 *
 * Reads wait in post order. The rule is FIFO: the oldest read is offered the oldest message. The
 * parts of an object are the one exception: they match only the reads that recv() posted for them,
 * and those reads match nothing but parts. If messages had a source and a tag, match_accepts()
 * alone would compare them.
 *
 * A queue is private to an endpoint and guarded by that endpoint's lock.
 */
#ifndef ADMA_MATCH_MATCH_H
#define ADMA_MATCH_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "shm/layout.h"

/* Requests in post order. */
struct adma_req_queue {
	struct adma_list list;
	uint32_t count;
};

void adma_req_queue_init(struct adma_req_queue *queue);
void adma_req_queue_push(struct adma_req_queue *queue, struct adma_req *req);
void adma_req_queue_remove(struct adma_req_queue *queue, struct adma_req *req);

static inline struct adma_req *adma_req_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_req, link);
}

/* The oldest one, or NULL. */
static inline struct adma_req *adma_req_queue_first(const struct adma_req_queue *queue)
{
	struct adma_list *first = adma_list_first(&queue->list);

	return first ? adma_req_of(first) : NULL;
}

enum adma_too_long {
	ADMA_KEEP,    /* the message stays the next one (this is for channels) */
	ADMA_CONSUME, /* it is truncated, and leaves the ring (this is for MPI) */
};

enum adma_verdict {
	ADMA_MATCH,      /* copy it */
	ADMA_NO_READ,    /* no posted read can match it: wait */
	ADMA_ASK,        /* an open read matches it: ask for a buffer */
	ADMA_TOO_LONG,   /* the read fails, the message stays */
	ADMA_WRONG_KIND, /* the read fails, the message stays */
	ADMA_TRUNCATE,   /* copy what fits, and drop the rest */
};

/* Returns the verdict on the next message, and in *read the read that it concerns (NULL with ADMA_NO_READ). */
enum adma_verdict adma_match(const struct adma_req_queue *reads, const struct adma_desc *message,
			     enum adma_too_long too_long, struct adma_req **read);

#endif
