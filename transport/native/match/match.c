/* SPDX-License-Identifier: BSD-3-Clause */
/* match.c - the queue of pending reads and the verdict; see match.h. */
#include "match/match.h"

#include <stddef.h>

void adma_queue_push(struct adma_queue *queue, struct adma_req *req)
{
	req->next = NULL;
	req->prev = queue->last;
	if (queue->last)
		queue->last->next = req;
	else
		queue->first = req;
	queue->last = req;
	queue->count++;
}

void adma_queue_remove(struct adma_queue *queue, struct adma_req *req)
{
	if (req->prev)
		req->prev->next = req->next;
	else
		queue->first = req->next;
	if (req->next)
		req->next->prev = req->prev;
	else
		queue->last = req->prev;
	req->next = req->prev = NULL;
	queue->count--;
}

/* May this read be offered this message at all? */
static bool accepts(const struct adma_req *read, const struct adma_desc *message)
{
	return (read->kind == ADMA_PART) == (message->kind == ADMA_PART);
}

enum adma_verdict adma_match(const struct adma_queue *reads, const struct adma_desc *message,
			     enum adma_too_long too_long, struct adma_req **read)
{
	struct adma_req *req = reads->first;

	while (req && !accepts(req, message))
		req = req->next;
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
