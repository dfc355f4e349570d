// SPDX-License-Identifier: GPL-2.0
/* request.c - makes requests, and completes them; see request.h. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "buffer.h"
#include "connection.h"
#include "counters.h"
#include "endpoint.h"
#include "entries.h"
#include "request.h"
#include "transfer.h"
#include "user.h"

static struct kmem_cache *requests;

/* ---- life ---- */

struct adma_request *adma_request_make(struct adma_endpoint *endpoint, u64 cookie, u32 flags)
{
	struct adma_request *request = kmem_cache_zalloc(requests, GFP_KERNEL);
	int error = -ENOMEM;

	if (!request)
		return ERR_PTR(error);
	request->begun = ktime_get();
	if (flags & ADMA_POST_TIMES) {
		request->times = kcalloc(ADMA_TIMES, sizeof(u64), GFP_KERNEL_ACCOUNT);
		if (!request->times)
			goto no_times;
	}
	request->user = adma_user_add_request();
	if (IS_ERR(request->user)) {
		error = PTR_ERR(request->user);
		goto no_user;
	}
	adma_transfer_init(&request->transfer);
	__module_get(THIS_MODULE); /* so that rmmod is refused, and does not wait for requests */
	kref_get(&endpoint->refs);
	request->endpoint = endpoint;
	request->cookie = cookie;
	INIT_LIST_HEAD(&request->envelope.node);
	return request;

no_user:
	kfree(request->times);
no_times:
	kmem_cache_free(requests, request);
	return ERR_PTR(error);
}

/* Releases memory and charge, before the result is stored. */
static void request_release(struct adma_request *request)
{
	request->pin_ns = request->buffer.memory.pin_ns + request->source.memory.pin_ns;
	adma_buffer_drop(&request->buffer);
	adma_buffer_drop(&request->source);
	adma_user_sub_request(request->user);
}

/* Frees the rest, after that. */
static void request_free(struct adma_request *request)
{
	adma_user_put(request->user);
	adma_endpoint_put(request->endpoint);
	kfree(request->times);
	kmem_cache_free(requests, request);
	module_put(THIS_MODULE);
}

void adma_request_discard(struct adma_request *request)
{
	request_release(request);
	request_free(request);
}

void adma_request_begin(struct adma_request *request, enum adma_stage stage)
{
	struct adma_endpoint *endpoint = request->endpoint;
	u64 pin_ns = request->buffer.memory.pin_ns + request->source.memory.pin_ns;

	request->stage = stage;
	request->post_ns = ktime_to_ns(ktime_sub(ktime_get(), request->begun));
	request->post_ns -= min(request->post_ns, pin_ns);
	adma_entries_begin(endpoint->entries, request->cookie, request);
	endpoint->pending++;
	adma_tally_add(&endpoint->tally, ADMA_COUNT_POSTS, 1);
	if (stage == ADMA_MATCHED) {
		request->on = &request->transfer;
		adma_tally_add(&endpoint->tally, ADMA_COUNT_MATCHES, 1);
	}
}

/* ---- completion ---- */

static void request_wake(struct adma_endpoint *endpoint)
{
	wake_up_poll(&endpoint->waiters, EPOLLIN | EPOLLRDNORM);
}

/* Called with the connection's lock. */
static void request_store(struct adma_request *request, int status, u64 length)
{
	static const u64 none[2];
	const struct adma_result result = {
		.status = status,
		.length = length,
		.note = request->envelope.write ? none : request->envelope.note,
		.matched = request->stage == ADMA_MATCHED,
		.times = request->times,
	};
	struct adma_endpoint *endpoint = request->endpoint;

	request->times = NULL;
	adma_entries_complete(endpoint->entries, request->cookie, &result);
	adma_tally_add(&endpoint->tally, status ? ADMA_COUNT_FAILED : ADMA_COUNT_DONE, 1);
	endpoint->completed++;
	endpoint->pending--;
}

static void request_count_times(struct adma_request *request, const u64 times[ADMA_TIMES])
{
	unsigned int i;

	for (i = 0; i < ADMA_TIMES; i++) {
		adma_tally_add(&request->endpoint->tally, ADMA_COUNT_TIMES + i, times[i]);
		if (request->times)
			request->times[i] = times[i];
	}
}

/* ---- without a match ---- */

void adma_request_claim_all(struct list_head *list)
{
	struct adma_envelope *envelope;

	list_for_each_entry(envelope, list, node)
		adma_request_of(envelope)->stage = ADMA_WITHDRAWN;
}

void adma_request_complete_withdrawn(struct adma_request *request)
{
	u64 times[ADMA_TIMES] = { };
	int error = request->envelope.error;
	bool refused = error == -EMSGSIZE || error == -EPROTOTYPE;

	request_release(request);
	times[ADMA_TIME_POST] = request->post_ns;
	times[ADMA_TIME_PIN] = request->pin_ns;
	request_count_times(request, times);
	spin_lock(&request->endpoint->connection->lock);
	request_store(request, error, refused ? request->envelope.length : 0);
	spin_unlock(&request->endpoint->connection->lock);
	request_wake(request->endpoint);
	request_free(request);
}

void adma_request_complete_all_withdrawn(struct list_head *list)
{
	struct adma_envelope *envelope, *next;

	list_for_each_entry_safe(envelope, next, list, node)
		adma_request_complete_withdrawn(adma_request_of(envelope));
}

/* ---- with a transfer ---- */

static void request_count_transfer(struct adma_request *request,
				   const struct adma_transfer *transfer)
{
	u64 times[ADMA_TIMES] = {
		[ADMA_TIME_POST] = request->post_ns,
		[ADMA_TIME_PIN] = request->pin_ns,
		[ADMA_TIME_START] = transfer->start_ns,
		[ADMA_TIME_COPY] = transfer->copy_ns,
	};

	if (transfer->finished)
		times[ADMA_TIME_COMPLETE] = ktime_to_ns(ktime_sub(ktime_get(), transfer->finished));
	request_count_times(request, times);
}

/*
 * Called with the connection's lock. When a close made the transfer fail, then the requests of the
 * closed endpoint are cancelled, and those of its peer have lost their peer.
 */
static int request_status(const struct adma_request *request, int error)
{
	const struct adma_endpoint *endpoint = request->endpoint;
	bool open = endpoint->connection->endpoint[endpoint->side];

	return error == -EPIPE && !open ? -ECANCELED : error;
}

void adma_request_complete_transfer(struct adma_transfer *transfer, int error)
{
	struct adma_request *younger = container_of(transfer, struct adma_request, transfer);
	struct adma_request *older = younger->older;
	spinlock_t *lock = &younger->endpoint->connection->lock;
	u64 copied = transfer->copied;

	if (older) {
		request_release(older);
		request_count_transfer(older, transfer);
	}
	request_release(younger);
	request_count_transfer(younger, transfer);

	spin_lock(lock);
	if (older)
		request_store(older, request_status(older, error), copied);
	request_store(younger, request_status(younger, error), copied);
	spin_unlock(lock);

	if (older) {
		request_wake(older->endpoint);
		request_free(older);
	}
	request_wake(younger->endpoint);
	request_free(younger);
}

/* ---- module ---- */

int adma_requests_init(void)
{
	requests = KMEM_CACHE(adma_request, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT);
	return requests ? 0 : -ENOMEM;
}

void adma_requests_exit(void)
{
	kmem_cache_destroy(requests);
}
