// SPDX-License-Identifier: GPL-2.0
/* request.c - posts, matches and ends of requests; see request.h. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "connection.h"
#include "counters.h"
#include "dma.h"
#include "end.h"
#include "entries.h"
#include "request.h"
#include "user.h"

static struct kmem_cache *requests;

static struct adma_request *request_of(struct adma_party *party)
{
	return container_of(party, struct adma_request, party);
}

/* ---- life ---- */

static struct adma_request *make(struct adma_end *end, u64 cookie, u32 flags)
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
	__module_get(THIS_MODULE); /* till put(): rmmod is refused, not kept waiting */
	kref_get(&end->refs);
	request->end = end;
	request->cookie = cookie;
	INIT_LIST_HEAD(&request->party.node);
	return request;

no_user:
	kfree(request->times);
no_times:
	kmem_cache_free(requests, request);
	return ERR_PTR(error);
}

/* Memory and charge, before the result is stored. */
static void let_go(struct adma_request *request)
{
	request->pin_ns = request->memory.pin_ns + request->source.pin_ns;
	adma_memory_drop(&request->memory);
	adma_memory_drop(&request->source);
	adma_user_sub_request(request->user);
}

/* The rest, after it. */
static void put(struct adma_request *request)
{
	adma_user_put(request->user);
	adma_end_put(request->end);
	kfree(request->times);
	kmem_cache_free(requests, request);
	module_put(THIS_MODULE);
}

/* Of a request that was never posted. */
static void discard(struct adma_request *request)
{
	let_go(request);
	put(request);
}

/* ---- the end ---- */

static void wake(struct adma_end *end)
{
	wake_up_poll(&end->waiters, EPOLLIN | EPOLLRDNORM);
}

/* With the connection's lock. */
static void store(struct adma_request *request, int status, u64 length)
{
	static const u64 none[2];
	const struct adma_result result = {
		.status = status,
		.length = length,
		.note = request->party.write ? none : request->party.note,
		.matched = request->stage == ADMA_MATCHED,
		.times = request->times,
	};
	struct adma_end *end = request->end;

	request->times = NULL;
	adma_entries_end(end->entries, request->cookie, &result);
	adma_tally_add(&end->tally, status ? ADMA_COUNT_FAILED : ADMA_COUNT_DONE, 1);
	end->ended++;
	end->pending--;
}

static void count_times(struct adma_request *request, const u64 times[ADMA_TIMES])
{
	unsigned int i;

	for (i = 0; i < ADMA_TIMES; i++) {
		adma_tally_add(&request->end->tally, ADMA_COUNT_TIMES + i, times[i]);
		if (request->times)
			request->times[i] = times[i];
	}
}

/* One that left its match without having met another. */
static void leave(struct adma_request *request)
{
	u64 times[ADMA_TIMES] = { };
	int error = request->party.error;
	bool told = error == -EMSGSIZE || error == -EPROTOTYPE;

	let_go(request);
	times[ADMA_TIME_POST] = request->post_ns;
	times[ADMA_TIME_PIN] = request->pin_ns;
	count_times(request, times);
	spin_lock(&request->end->connection->lock);
	store(request, error, told ? request->party.length : 0);
	spin_unlock(&request->end->connection->lock);
	wake(request->end);
	put(request);
}

/* With the connection's lock: @list's requests are now the caller's to end. */
static void claim(struct list_head *list)
{
	struct adma_party *party;

	list_for_each_entry(party, list, node)
		request_of(party)->stage = ADMA_LEAVING;
}

static void leave_all(struct list_head *list)
{
	struct adma_party *party, *next;

	list_for_each_entry_safe(party, next, list, node)
		leave(request_of(party));
}

/* ---- transfers ---- */

static void add_transfer_times(struct adma_request *request, const struct adma_transfer *transfer)
{
	u64 times[ADMA_TIMES] = {
		[ADMA_TIME_POST] = request->post_ns,
		[ADMA_TIME_PIN] = request->pin_ns,
		[ADMA_TIME_START] = transfer->start_ns,
		[ADMA_TIME_COPY] = transfer->copy_ns,
	};

	if (transfer->ended)
		times[ADMA_TIME_COMPLETE] = ktime_to_ns(ktime_sub(ktime_get(), transfer->ended));
	count_times(request, times);
}

/* With the connection's lock. A transfer that ended because of a close: whose was it? */
static int told(const struct adma_request *request, int error)
{
	const struct adma_end *end = request->end;

	return error == -EPIPE && !end->connection->end[end->side] ? -ECANCELED : error;
}

/* Both requests end at once: nobody sees one over and the other pending. */
static void done(struct adma_transfer *transfer, int error)
{
	struct adma_request *younger = container_of(transfer, struct adma_request, transfer);
	struct adma_request *older = younger->older;
	spinlock_t *lock = &younger->end->connection->lock;
	u64 copied = transfer->copied;

	if (older) {
		let_go(older);
		add_transfer_times(older, transfer);
	}
	let_go(younger);
	add_transfer_times(younger, transfer);

	spin_lock(lock);
	if (older)
		store(older, told(older, error), copied);
	store(younger, told(younger, error), copied);
	spin_unlock(lock);

	if (older) {
		wake(older->end);
		put(older);
	}
	wake(younger->end);
	put(younger);
}

/* @request's post made the match; a copy brings its own source. */
static void start(struct adma_request *request, struct adma_memory *destination,
		  struct adma_memory *source, u32 policy)
{
	struct adma_transfer *transfer = &request->transfer;

	transfer->destination = destination;
	transfer->source = source;
	transfer->length = source->length;
	transfer->policy = policy;
	transfer->tally = &request->end->tally;
	transfer->matched = ktime_get();
	transfer->done = done;
	if (transfer->length)
		adma_transfer_start(transfer, true);
	else
		done(transfer, 0);
}

static void start_matched(struct adma_request *request)
{
	struct adma_memory *older = &request->older->memory;
	struct adma_memory *younger = &request->memory;
	u32 policy = request->end->connection->policy;

	if (request->party.write)
		start(request, older, younger, policy);
	else
		start(request, younger, older, policy);
}

/* ---- posts ---- */

/* With the connection's lock: the request is pending from here on. */
static void begin(struct adma_request *request, enum adma_stage stage)
{
	struct adma_end *end = request->end;

	request->stage = stage;
	request->post_ns = ktime_to_ns(ktime_sub(ktime_get(), request->begun));
	request->post_ns -= min(request->post_ns, request->memory.pin_ns + request->source.pin_ns);
	adma_entries_begin(end->entries, request->cookie, request);
	end->pending++;
	adma_tally_add(&end->tally, ADMA_COUNT_POSTS, 1);
	if (stage == ADMA_MATCHED) {
		request->on = &request->transfer;
		adma_tally_add(&end->tally, ADMA_COUNT_MATCHES, 1);
	}
}

/* With the connection's lock. */
static int enter(struct adma_request *request, struct list_head *refused)
{
	struct adma_end *end = request->end;
	struct adma_connection *connection = end->connection;
	struct adma_party *party = &request->party, *met;
	int error = adma_entries_admit(end->entries, request->cookie);

	if (error)
		return error;
	if (adma_end_orphaned(end))
		return -EPIPE;
	error = adma_match_post(&connection->way[party->write ? end->side : 1 - end->side],
				party, &met, refused);
	if (error)
		return error;
	begin(request, met ? ADMA_MATCHED : ADMA_WAITING);
	claim(refused);
	if (met) {
		request->older = request_of(met);
		request->older->stage = ADMA_MATCHED;
		request->older->on = &request->transfer;
	} else if (party->write && !party->key) {
		wake_up_poll(&adma_end_peer(end)->waiters, EPOLLPRI);
	}
	return 0;
}

static int enqueue(struct adma_request *request)
{
	struct adma_connection *connection = request->end->connection;
	LIST_HEAD(refused);
	bool met;
	int error;

	spin_lock(&connection->lock);
	error = enter(request, &refused);
	met = !error && request->older;
	spin_unlock(&connection->lock);
	/* Unless it met another, somebody else may have ended and freed it by now. */
	if (met)
		start_matched(request);
	leave_all(&refused);
	return error;
}

/* The mm layer may give up for any signal. Nothing was posted yet, so the call is made again. */
static int restart(int error)
{
	return error == -EINTR ? -ERESTARTNOINTR : error;
}

static bool post_valid(const struct adma_post *post)
{
	if (post->flags & ~ADMA_POST_TIMES || post->pad || post->iovcnt > ADMA_IOV_MAX)
		return false;
	if (post->op == ADMA_READ)
		return !post->note[0] && !post->note[1];
	return post->op == ADMA_WRITE;
}

int adma_request_post(struct adma_end *end, const struct adma_post *post)
{
	const struct adma_iovec __user *iov = u64_to_user_ptr(post->iov);
	struct adma_request *request;
	int error;

	if (!end->connection->connected)
		return -ENOTCONN;
	if (!post_valid(post))
		return -EINVAL;
	request = make(end, post->cookie, post->flags);
	if (IS_ERR(request))
		return PTR_ERR(request);
	error = adma_memory_take(&request->memory, iov, post->iovcnt, post->op == ADMA_READ,
				 end->connection->policy, &end->tally);
	if (error)
		goto fail;
	request->memory.poster = request->user;
	request->party.key = post->key;
	request->party.length = request->memory.length;
	request->party.note[0] = post->note[0];
	request->party.note[1] = post->note[1];
	request->party.kind = post->kind;
	request->party.write = post->op == ADMA_WRITE;
	error = enqueue(request);
	if (error)
		goto fail;
	return 0;

fail:
	discard(request);
	return restart(error);
}

/* ---- copies ---- */

/* With tags taken off, as the memories have it. */
static bool overlap(const struct adma_memory *a, const struct adma_memory *b)
{
	return a->length && a->ranges[0].address < b->ranges[0].address + b->length &&
	       b->ranges[0].address < a->ranges[0].address + a->length;
}

static int take_both(struct adma_request *request, const struct adma_copy *copy)
{
	struct adma_tally *tally = &request->end->tally;
	int error;

	error = adma_memory_take_range(&request->memory, copy->destination, copy->length, true,
				       copy->policy, tally);
	if (error)
		return error;
	error = adma_memory_take_range(&request->source, copy->source, copy->length, false,
				       copy->policy, tally);
	if (error)
		return error;
	return overlap(&request->memory, &request->source) ? -EINVAL : 0;
}

int adma_request_copy(struct adma_end *end, const struct adma_copy *copy)
{
	struct adma_request *request;
	int error;

	if (copy->flags & ~ADMA_POST_TIMES || copy->pad || copy->policy > ADMA_BY_DMA ||
	    copy->length > ADMA_LENGTH_MAX)
		return -EINVAL;
	if (copy->policy == ADMA_BY_DMA && !adma_dma_works())
		return -ENODEV;
	request = make(end, copy->cookie, copy->flags);
	if (IS_ERR(request))
		return PTR_ERR(request);
	error = take_both(request, copy);
	if (error)
		goto fail;
	request->memory.poster = request->user;
	request->source.poster = request->user;
	spin_lock(&end->connection->lock);
	error = adma_entries_admit(end->entries, request->cookie);
	if (!error)
		begin(request, ADMA_MATCHED);
	spin_unlock(&end->connection->lock);
	if (error)
		goto fail;
	start(request, &request->memory, &request->source, copy->policy);
	return 0;

fail:
	discard(request);
	return restart(error);
}

/* ---- withdrawals ---- */

int adma_request_cancel(struct adma_end *end, u64 cookie)
{
	struct adma_connection *connection = end->connection;
	struct adma_request *request;
	int error = 0;

	spin_lock(&connection->lock);
	request = adma_entries_find(end->entries, cookie);
	if (IS_ERR(request)) {
		error = PTR_ERR(request);
	} else if (!request || request->stage == ADMA_LEAVING) {
		error = -EALREADY;
	} else if (request->stage == ADMA_MATCHED) {
		error = -EBUSY;
	} else {
		list_del_init(&request->party.node);
		request->party.error = -ECANCELED;
		request->stage = ADMA_LEAVING;
	}
	spin_unlock(&connection->lock);
	if (!error)
		leave(request);
	return error;
}

/* With the connection's lock, under which it would end. */
static void close_transfer(struct adma_request *request)
{
	if (request->stage == ADMA_MATCHED)
		adma_transfer_close(request->on);
}

void adma_request_withdraw_all(struct adma_end *end)
{
	struct adma_connection *connection = end->connection;
	struct adma_party *party;
	struct adma_end *peer;
	LIST_HEAD(leaving);

	spin_lock(&connection->lock);
	connection->end[end->side] = NULL;
	adma_entries_each(end->entries, close_transfer);
	adma_match_drain(&connection->way[0], &leaving);
	adma_match_drain(&connection->way[1], &leaving);
	claim(&leaving);
	list_for_each_entry(party, &leaving, node)
		party->error = request_of(party)->end == end ? -ECANCELED : -EPIPE;
	peer = adma_end_peer(end);
	if (peer)
		wake_up_poll(&peer->waiters, EPOLLHUP);
	spin_unlock(&connection->lock);
	leave_all(&leaving);
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
