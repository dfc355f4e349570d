/* SPDX-License-Identifier: BSD-3-Clause */
/* match.c - queues of requests and the verdict; see match.h. */
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

enum adma_verdict adma_judge(const struct adma_req *read, const struct adma_desc *message, enum adma_too_long too_long)
{
	if (read->kind != message->kind)
		return ADMA_WRONG_KIND;
	if (read->flags & ADMA_REQ_OPEN)
		return message->total > read->limit ? ADMA_TOO_LONG : ADMA_ASK;
	if (message->length <= read->length)
		return ADMA_MATCH;
	return too_long == ADMA_KEEP ? ADMA_TOO_LONG : ADMA_TRUNCATE;
}

enum adma_verdict adma_match(const struct adma_posted *reads, const struct adma_desc *message,
			     enum adma_too_long too_long, struct adma_req **read)
{
	struct adma_posted_entry *entry = adma_posted_find(reads, ADMA_CHANNEL_SOURCE, adma_channel_tag(message->kind));

	if (!entry) {
		*read = NULL;
		return ADMA_NO_READ;
	}
	*read = adma_container_of(entry, struct adma_req, posted);
	return adma_judge(*read, message, too_long);
}
