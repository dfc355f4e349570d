/* SPDX-License-Identifier: BSD-3-Clause */
/* match.c - the posted queue and the verdict; see match.h. */
#include "match/match.h"

#include <stddef.h>

void adma_req_queue_init(struct adma_req_queue *queue)
{
	adma_list_init(&queue->list);
	queue->count = 0;
}

void adma_req_queue_push(struct adma_req_queue *queue, struct adma_req *req)
{
	adma_list_push_back(&queue->list, &req->link);
	queue->count++;
}

void adma_req_queue_remove(struct adma_req_queue *queue, struct adma_req *req)
{
	adma_list_remove(&req->link);
	queue->count--;
}

/* Parts are offered to reads for parts only, and other messages to the other reads. */
static bool match_accepts(const struct adma_req *read, const struct adma_desc *message)
{
	return (read->kind == ADMA_PART) == (message->kind == ADMA_PART);
}

static struct adma_req *match_find(const struct adma_req_queue *reads, const struct adma_desc *message)
{
	adma_list_for_each(at, &reads->list)
		if (match_accepts(adma_req_of(at), message))
			return adma_req_of(at);
	return NULL;
}

enum adma_verdict adma_match(const struct adma_req_queue *reads, const struct adma_desc *message,
			     enum adma_too_long too_long, struct adma_req **read)
{
	struct adma_req *req = match_find(reads, message);

	*read = req;
	if (!req)
		return ADMA_NO_READ;
	if (req->kind != message->kind)
		return ADMA_WRONG_KIND;
	if (req->flags & ADMA_REQ_OPEN)
		return message->total > req->limit ? ADMA_TOO_LONG : ADMA_ASK;
	if (message->length <= req->length)
		return ADMA_MATCH;
	return too_long == ADMA_KEEP ? ADMA_TOO_LONG : ADMA_TRUNCATE;
}
