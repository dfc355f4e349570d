/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * match.h - requests in queues, and which posted read gets the next message of a channel.
 *
 * A channel is the case of one source and two tags: the parts of an object have a tag of their own,
 * and match only the reads that recv() posted for them. All other messages have one tag, so the
 * oldest read is offered the oldest message.
 *
 * A queue is private to an endpoint and guarded by that endpoint's lock.
 */
#ifndef ADMA_MATCH_MATCH_H
#define ADMA_MATCH_MATCH_H

#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "match/posted.h"
#include "shm/layout.h"

/* Requests in the order in which they joined: writes, or what the kernel helper has. */
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

/* The read of a member of the list of all posted reads. */
static inline struct adma_req *adma_read_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_req, posted.all);
}

/* The oldest posted read, or NULL. */
static inline struct adma_req *adma_first_read(const struct adma_posted *reads)
{
	struct adma_list *first = adma_list_first(&reads->all);

	return first ? adma_read_of(first) : NULL;
}

/* The source of all messages of a channel, and the tag of those of a kind. */
enum { ADMA_CHANNEL_SOURCE = 0 };

static inline uint64_t adma_channel_tag(uint16_t kind)
{
	return kind == ADMA_PART;
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

/* What becomes of a message and the read that accepts its source and tag. Never ADMA_NO_READ. */
enum adma_verdict adma_judge(const struct adma_req *read, const struct adma_desc *message, enum adma_too_long too_long);

/*
 * Returns the verdict on the next message of a channel, and in *read the read that it concerns (NULL
 * with ADMA_NO_READ).
 */
enum adma_verdict adma_match(const struct adma_posted *reads, const struct adma_desc *message,
			     enum adma_too_long too_long, struct adma_req **read);

#endif
