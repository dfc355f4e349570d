// SPDX-License-Identifier: GPL-2.0
/* post.c - posts requests, and starts transfers; see post.h. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "buffer.h"
#include "connection.h"
#include "dma.h"
#include "endpoint.h"
#include "entries.h"
#include "match.h"
#include "post.h"
#include "request.h"
#include "transfer.h"

/*
 * The mm layer may give up because of any signal. Nothing has been posted then, so the
 * system call can be restarted.
 */
static int post_restart(int error)
{
	return error == -EINTR ? -ERESTARTNOINTR : error;
}

/* ---- transfers ---- */

/* Starts the transfer of @request, whose post made the match, or which is a copy. */
static void post_start_transfer(struct adma_request *request, struct adma_buffer *destination,
				struct adma_buffer *source, u32 policy)
{
	struct adma_transfer *transfer = &request->transfer;

	transfer->destination = destination;
	transfer->source = source;
	transfer->length = source->memory.length;
	transfer->policy = policy;
	transfer->tally = &request->endpoint->tally;
	transfer->matched = ktime_get();
	transfer->done = adma_request_complete_transfer;
	if (transfer->length)
		adma_transfer_start(transfer, true);
	else
		transfer->done(transfer, 0);
}

static void post_start_matched(struct adma_request *request)
{
	struct adma_buffer *older = &request->older->buffer;
	struct adma_buffer *younger = &request->buffer;
	u32 policy = request->endpoint->connection->policy;

	if (request->envelope.write)
		post_start_transfer(request, older, younger, policy);
	else
		post_start_transfer(request, younger, older, policy);
}

/* ---- messages ---- */

/* Called with the connection's lock. */
static int post_match(struct adma_request *request, struct list_head *refused)
{
	struct adma_endpoint *endpoint = request->endpoint;
	struct adma_connection *connection = endpoint->connection;
	struct adma_envelope *envelope = &request->envelope, *matched;
	u32 writer = envelope->write ? endpoint->side : 1 - endpoint->side;
	int error = adma_entries_admit(endpoint->entries, request->cookie);

	if (error)
		return error;
	if (adma_endpoint_is_orphaned(endpoint))
		return -EPIPE;
	error = adma_match_post(&connection->direction[writer], envelope, &matched, refused);
	if (error)
		return error;
	adma_request_begin(request, matched ? ADMA_MATCHED : ADMA_WAITING);
	adma_request_claim_all(refused);
	if (matched) {
		request->older = adma_request_of(matched);
		request->older->stage = ADMA_MATCHED;
		request->older->on = &request->transfer;
	} else if (envelope->write && !envelope->key) {
		wake_up_poll(&adma_endpoint_peer(endpoint)->waiters, EPOLLPRI);
	}
	return 0;
}

static int post_request(struct adma_request *request)
{
	struct adma_connection *connection = request->endpoint->connection;
	LIST_HEAD(refused);
	bool matched;
	int error;

	spin_lock(&connection->lock);
	error = post_match(request, &refused);
	matched = !error && request->older;
	spin_unlock(&connection->lock);
	/* If it has not matched, another thread may have completed and freed it by now. */
	if (matched)
		post_start_matched(request);
	adma_request_complete_all_withdrawn(&refused);
	return error;
}

static bool post_is_valid(const struct adma_post *post)
{
	if (post->flags & ~ADMA_POST_TIMES || post->pad || post->iovcnt > ADMA_IOV_MAX)
		return false;
	if (post->op == ADMA_READ)
		return !post->note[0] && !post->note[1];
	return post->op == ADMA_WRITE;
}

static void post_address(struct adma_envelope *envelope, const struct adma_post *post, u64 length)
{
	envelope->key = post->key;
	envelope->length = length;
	envelope->note[0] = post->note[0];
	envelope->note[1] = post->note[1];
	envelope->kind = post->kind;
	envelope->write = post->op == ADMA_WRITE;
}

int adma_post_message(struct adma_endpoint *endpoint, const struct adma_post *post)
{
	const struct adma_iovec __user *iov = u64_to_user_ptr(post->iov);
	struct adma_poster poster = { .tally = &endpoint->tally };
	struct adma_request *request;
	int error;

	if (!endpoint->connection->connected)
		return -ENOTCONN;
	if (!post_is_valid(post))
		return -EINVAL;
	request = adma_request_make(endpoint, post->cookie, post->flags);
	if (IS_ERR(request))
		return PTR_ERR(request);
	poster.user = request->user;
	error = adma_buffer_take(&request->buffer, iov, post->iovcnt, post->op == ADMA_READ,
				 endpoint->connection->policy, &poster);
	if (error)
		goto fail;
	post_address(&request->envelope, post, request->buffer.memory.length);
	error = post_request(request);
	if (error)
		goto fail;
	return 0;

fail:
	adma_request_discard(request);
	return post_restart(error);
}

/* ---- copies ---- */

/* The memories' addresses are without tags. */
static bool post_overlaps(const struct adma_memory *a, const struct adma_memory *b)
{
	return a->length && a->ranges[0].address < b->ranges[0].address + b->length &&
	       b->ranges[0].address < a->ranges[0].address + a->length;
}

static int post_take_both(struct adma_request *request, const struct adma_copy *copy)
{
	const struct adma_poster poster = { request->user, &request->endpoint->tally };
	int error;

	error = adma_buffer_take_range(&request->buffer, copy->destination, copy->length, true,
				       copy->policy, &poster);
	if (error)
		return error;
	error = adma_buffer_take_range(&request->source, copy->source, copy->length, false,
				       copy->policy, &poster);
	if (error)
		return error;
	return post_overlaps(&request->buffer.memory, &request->source.memory) ? -EINVAL : 0;
}

int adma_post_copy(struct adma_endpoint *endpoint, const struct adma_copy *copy)
{
	struct adma_request *request;
	int error;

	if (copy->flags & ~ADMA_POST_TIMES || copy->pad || copy->policy > ADMA_BY_DMA ||
	    copy->length > ADMA_LENGTH_MAX)
		return -EINVAL;
	if (copy->policy == ADMA_BY_DMA && !adma_dma_works())
		return -ENODEV;
	request = adma_request_make(endpoint, copy->cookie, copy->flags);
	if (IS_ERR(request))
		return PTR_ERR(request);
	error = post_take_both(request, copy);
	if (error)
		goto fail;
	spin_lock(&endpoint->connection->lock);
	error = adma_entries_admit(endpoint->entries, request->cookie);
	if (!error)
		adma_request_begin(request, ADMA_MATCHED);
	spin_unlock(&endpoint->connection->lock);
	if (error)
		goto fail;
	post_start_transfer(request, &request->buffer, &request->source, copy->policy);
	return 0;

fail:
	adma_request_discard(request);
	return post_restart(error);
}
