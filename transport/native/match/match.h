/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * match.h - which pending read meets the first message in line.
 *
 * Reads wait in post order. Today's rule is FIFO: the oldest read is offered
 * the oldest message. Parts of an object are the one exception: they meet the
 * reads that recv() posted for them and nothing else, and those reads meet
 * nothing but parts. Source and tag would join in accepts() alone.
 *
 * The queue is private to a channel and guarded by its lock.
 */
#ifndef ADMA_MATCH_MATCH_H
#define ADMA_MATCH_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "shm/layout.h"

/* Requests in order, linked through next and prev. */
struct adma_queue {
	struct adma_req *first, *last;
	uint32_t count;
};

void adma_queue_push(struct adma_queue *queue, struct adma_req *req);
void adma_queue_remove(struct adma_queue *queue, struct adma_req *req);

enum adma_too_long {
	ADMA_KEEP,    /* the message stays first in line for the next read (channels) */
	ADMA_CONSUME, /* it is cut and gone (MPI) */
};

enum adma_verdict {
	ADMA_MATCH,      /* copy it */
	ADMA_NO_READ,    /* no pending read can meet it: wait */
	ADMA_ASK,        /* an open read met it: ask for a buffer */
	ADMA_TOO_LONG,   /* the read fails, the message stays */
	ADMA_WRONG_KIND, /* the read fails, the message stays */
	ADMA_TRUNCATE,   /* copy what fits, the rest is gone */
};

/* The verdict on the first message and the read it concerns (NULL with ADMA_NO_READ). */
enum adma_verdict adma_match(const struct adma_queue *reads, const struct adma_desc *message,
			     enum adma_too_long too_long, struct adma_req **read);

#endif
