/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * race_channel.c - a channel whose two ends are in one process, each with several threads that
 * write, read, cancel, look and at last close, all at once.
 *
 * Each message tells who wrote it, which one it is and how long: a lost, doubled or torn
 * one, or one out of its writer's order, is found.
 *
 * A round ends in order (all is read, then both close), or in the middle of everything.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "pair.h"
#include "shm/layout.h"
#include "race.h"

#define WRITERS 2
#define READERS 2
#define LONGEST (1u << 20)
#define AT_ONCE 4 /* requests that a thread has outstanding */
#define SLICE_NS 5000000
#define SLEEP_NS 5000000

/* ---- two ends ---- */

struct end {
	struct adma_chan *chan;
	struct end *other;
	unsigned long long seed;
	_Atomic uint32_t sent, received, writing; /* relaxed: they must not order what is under test */
	_Atomic bool closed;
};

struct task {
	struct end *end;
	uint32_t number;
	unsigned long long seed;
	struct item *items;
	uint64_t cancelled;
	uint32_t last[WRITERS]; /* the last number read of each writer */
};

struct item {
	struct adma_req req;
	uint8_t *buffer;
	bool posted;
};

struct head {
	uint32_t writer, number;
	uint64_t length;
};

static int64_t hang;
static bool orderly;
static uint32_t each; /* messages of a writer */
static _Atomic uint64_t messages, cancels, broken;

/* ---- messages ---- */

static void fill(uint8_t *buffer, struct head head)
{
	for (uint64_t i = sizeof(head); i < head.length; i++)
		buffer[i] = (uint8_t)(head.writer * 101 + head.number * 7 + i + i / 251);
	memcpy(buffer, &head, sizeof(head));
}

static void check(struct task *task, const uint8_t *buffer, uint64_t n)
{
	struct head head;

	REQUIRE(n >= sizeof(head));
	memcpy(&head, buffer, sizeof(head));
	REQUIRE(head.length == n && head.writer < WRITERS);
	for (uint64_t i = sizeof(head); i < n; i++)
		REQUIRE(buffer[i] == (uint8_t)(head.writer * 101 + head.number * 7 + i + i / 251));
	atomic_fetch_add_explicit(&task->end->received, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&messages, 1, memory_order_relaxed);
}

static uint64_t draw_length(struct task *task)
{
	static const uint64_t most[] = {32, 32, 1000, 8192, 8192, 20000, 20000, 300000};
	uint64_t limit = below(&task->seed, 20) ? most[below(&task->seed, 8)] : LONGEST;

	return sizeof(struct head) + below(&task->seed, limit - sizeof(struct head) + 1);
}

static bool done(const struct item *item)
{
	return __atomic_load_n(&item->req.state, __ATOMIC_ACQUIRE) == ADMA_DONE_STATE;
}

/* A result that ends the channel: not in an orderly round. */
static bool is_over(int rc)
{
	if (rc >= 0)
		return false;
	REQUIRE(!orderly);
	atomic_fetch_add_explicit(&broken, 1, memory_order_relaxed);
	return true;
}

/* Drive one for a moment; asleep, if nothing moves. False: the channel is over. */
static bool push(struct task *task, struct item *item)
{
	int rc = adma_drive_one(task->end->chan, &item->req, (int64_t)below(&task->seed, 20000), SLICE_NS);

	REQUIRE(adma_now() < hang);
	if (rc == ADMA_QUIET)
		(void)adma_sleep_one(task->end->chan, &item->req, SLEEP_NS, NULL);
	return !is_over(rc);
}

/* The same for several at once: until one of them is done. */
static bool push_some(struct task *task)
{
	struct adma_req *reqs[AT_ONCE];
	struct adma_wait wait = {.chans = &task->end->chan, .reqs = reqs, .nchans = 1, .need = 1, .also = -1};
	int rc;

	for (int i = 0; i < AT_ONCE; i++)
		if (task->items[i].posted)
			reqs[wait.nreqs++] = &task->items[i].req;
	if (!wait.nreqs)
		return true;
	rc = adma_drive(&wait, -1, SLICE_NS);
	REQUIRE(adma_now() < hang);
	if (rc == ADMA_QUIET)
		(void)adma_sleep(&wait, SLEEP_NS, NULL);
	return !is_over(rc);
}

static bool post(struct task *task, struct item *item, uint64_t length, bool is_read)
{
	int rc;

	memset(&item->req, 0, sizeof(item->req));
	item->req.address = item->buffer;
	item->req.length = length;
	item->req.total = is_read ? 0 : length;
	item->req.kind = ADMA_BYTES;
	item->req.is_read = is_read;
	rc = adma_post_one(task->end->chan, &item->req);
	item->posted = !rc;
	return !is_over(rc);
}

/* Take the result of one that is done. False: the channel is over. */
static bool take(struct task *task, struct item *item)
{
	struct end *end = task->end;

	adma_observe(end->chan, &item->req);
	item->posted = false;
	if (item->req.error == ADMA_E_CANCELLED) {
		task->cancelled++;
		return true;
	}
	if (item->req.error)
		return !is_over(-item->req.error);
	if (item->req.is_read)
		check(task, item->buffer, item->req.done_bytes);
	else
		atomic_fetch_add_explicit(&end->sent, 1, memory_order_relaxed);
	return true;
}

/* ---- threads ---- */

static bool look_at_some(struct task *task)
{
	struct item *item = &task->items[below(&task->seed, AT_ONCE)];

	if (!item->posted)
		return true;
	switch (below(&task->seed, 24)) {
	case 0:
		if (adma_cancel(task->end->chan, &item->req))
			REQUIRE(done(item) && item->req.error == ADMA_E_CANCELLED);
		break;
	case 1:
		adma_refresh(task->end->chan, &item->req);
		break;
	case 2:
	case 3:
	case 4:
		return push_some(task);
	default:
		if (!push(task, item))
			return false;
	}
	return !done(item) || take(task, item);
}

/* Small ones in one call; what does not go so is posted. */
static bool write_one(struct task *task, struct item *item, uint32_t number)
{
	uint64_t length = draw_length(task);

	fill(item->buffer, (struct head){task->number, number, length});
	if (length <= ADMA_BUFFER_SIZE && below(&task->seed, 2)) {
		int rc = adma_write_now(task->end->chan, ADMA_BYTES, item->buffer, length);

		if (!rc)
			atomic_fetch_add_explicit(&task->end->sent, 1, memory_order_relaxed);
		if (rc != -ADMA_E_PENDING)
			return !is_over(rc);
	}
	REQUIRE(!bring_bulk(task->end->chan, length) || !orderly);
	return post(task, item, length, false);
}

static void *write_all(void *argument)
{
	struct task *task = argument;
	bool going = true;

	for (uint32_t number = 0; number < each && going;) {
		struct item *item = &task->items[below(&task->seed, AT_ONCE)];

		if (!item->posted)
			going = write_one(task, item, number++);
		else
			going = look_at_some(task);
	}
	for (int i = 0; i < AT_ONCE && going; i++)
		while (going && task->items[i].posted)
			going = push(task, &task->items[i]) && (!done(&task->items[i]) || take(task, &task->items[i]));
	atomic_fetch_sub_explicit(&task->end->writing, 1, memory_order_relaxed);
	return NULL;
}

/* Has everything that the other end sent been read? */
static bool all_read(const struct end *end)
{
	return !atomic_load_explicit(&end->other->writing, memory_order_relaxed) &&
	       atomic_load_explicit(&end->other->sent, memory_order_relaxed) ==
		       atomic_load_explicit(&end->received, memory_order_relaxed);
}

static bool read_one(struct task *task, struct item *item)
{
	if (!below(&task->seed, 3)) {
		int64_t n = adma_read_now(task->end->chan, ADMA_BYTES, item->buffer, LONGEST,
					  (int64_t)below(&task->seed, 20000));

		if (n >= 0)
			check(task, item->buffer, (uint64_t)n);
		if (n != -ADMA_E_PENDING)
			return n >= 0 || !is_over((int)n);
	}
	return post(task, item, LONGEST, true);
}

static void *read_all(void *argument)
{
	struct task *task = argument;
	bool going = true;

	while (going && !(orderly && all_read(task->end))) {
		struct item *item = &task->items[below(&task->seed, AT_ONCE)];

		going = item->posted ? look_at_some(task) : read_one(task, item);
	}
	for (int i = 0; i < AT_ONCE && going; i++) {
		struct item *item = &task->items[i];

		if (!item->posted)
			continue;
		(void)adma_cancel(task->end->chan, &item->req);
		while (going && !done(item))
			going = push(task, item);
		going = going && take(task, item);
	}
	return NULL;
}

static void look_once(struct end *end, unsigned long long *seed)
{
	struct adma_message message;
	struct adma_stats stats;
	struct pollfd fd = {.events = POLLIN};
	struct adma_wait wait = {.chans = &end->chan, .nchans = 1, .also = -1};
	int32_t errors[ADMA_MECH_MAX];

	switch (below(seed, 7)) {
	case 0:
		(void)adma_peek(end->chan, &message);
		break;
	case 1:
		adma_get_stats(end->chan, &stats);
		break;
	case 2:
		fd.fd = adma_fileno(end->chan);
		if (fd.fd >= 0 && !atomic_load_explicit(&end->closed, memory_order_relaxed))
			(void)poll(&fd, 1, 1);
		break;
	case 3:
		(void)adma_health(end->chan);
		(void)adma_deadlocked(end->chan);
		break;
	case 4:
		(void)adma_choose(end->chan, below(seed, LONGEST));
		(void)adma_withdrawn(end->chan, errors);
		break;
	default:
		/* Until a message waits. */
		if (adma_drive(&wait, 0, SLICE_NS) == ADMA_QUIET)
			(void)adma_sleep(&wait, 2000000, NULL);
	}
}

/* Looks, and in a disorderly round closes when it has seen enough. */
static void *meddle(void *argument)
{
	struct task *task = argument;
	struct end *end = task->end;
	uint32_t looks = 20 + (uint32_t)below(&task->seed, 1500);

	while (orderly ? !all_read(end) || !all_read(end->other) : looks--) {
		REQUIRE(adma_now() < hang);
		look_once(end, &task->seed);
	}
	if (orderly)
		return NULL;
	atomic_store_explicit(&end->closed, true, memory_order_relaxed);
	if (below(&task->seed, 2))
		adma_chan_drain(end->chan);
	while (adma_chan_close(end->chan, SLEEP_NS))
		REQUIRE(adma_now() < hang);
	return NULL;
}

/* ---- rounds ---- */

#define TASKS (ENDS * (WRITERS + READERS + 1))

static void make_task(struct task *task, struct end *end, uint32_t number, unsigned long long *seed)
{
	*task = (struct task){.end = end, .number = number, .seed = draw(seed) | 1};
	task->items = calloc(AT_ONCE, sizeof(*task->items));
	REQUIRE(task->items);
	for (int i = 0; i < AT_ONCE; i++) {
		task->items[i].buffer = malloc(LONGEST);
		REQUIRE(task->items[i].buffer);
	}
}

static void end_task(struct task *task)
{
	for (int i = 0; i < AT_ONCE; i++) {
		/* Closed: nothing is left with the core. */
		REQUIRE(!task->items[i].posted || done(&task->items[i]));
		REQUIRE(!orderly || !task->items[i].posted);
		free(task->items[i].buffer);
	}
	free(task->items);
	atomic_fetch_add_explicit(&cancels, task->cancelled, memory_order_relaxed);
}

static void go(struct end ends[ENDS], unsigned long long *seed)
{
	struct task tasks[TASKS];
	pthread_t threads[TASKS];
	int n = 0;

	for (int e = 0; e < ENDS; e++) {
		atomic_store(&ends[e].writing, WRITERS);
		for (uint32_t i = 0; i < WRITERS + READERS + 1; i++)
			make_task(&tasks[n++], &ends[e], i, seed);
	}
	for (int i = 0; i < n; i++) {
		uint32_t kind = (uint32_t)i % (WRITERS + READERS + 1);

		start(&threads[i],
		      kind < WRITERS             ? write_all
		      : kind < WRITERS + READERS ? read_all
						 : meddle,
		      &tasks[i]);
	}
	for (int i = 0; i < n; i++)
		join(threads[i]);
	/* Both at once, as two processes do. */
	for (bool left = true; left;) {
		left = false;
		for (int e = 0; e < ENDS; e++)
			left |= adma_chan_close(ends[e].chan, 1000000) != 0;
		REQUIRE(adma_now() < hang);
	}
	for (int i = 0; i < n; i++)
		end_task(&tasks[i]);
	for (int e = 0; e < ENDS; e++)
		REQUIRE(!orderly || all_read(&ends[e]));
}

static void round_of(const struct adma_nonce *nonce, uint32_t forced, unsigned long long *seed)
{
	struct end ends[ENDS] = {0};
	struct adma_chan *chans[ENDS];
	struct adma_segment *segments[ENDS] = {make_segment(), make_segment()};

	hang = adma_now() + HANG_NS;
	make_ends(chans, segments, nonce, forced);
	for (int e = 0; e < ENDS; e++) {
		atomic_store(&segments[e]->buffered, below(seed, 3) ? UINT32_MAX : 0); /* asked for, by and large */
		ends[e].chan = chans[e];
		ends[e].other = &ends[!e];
	}
	go(ends, seed);
	for (int e = 0; e < ENDS; e++) {
		adma_chan_free(ends[e].chan);
		free_segment(segments[e]);
	}
}

int main(int argc, char **argv)
{
	static const uint32_t kinds[] = {0, ADMA_MECH_SHARED, ADMA_MECH_CMA, ADMA_MECH_TCP};
	int64_t until = end_of_run(argc, argv);
	struct adma_nonce *nonce = adma_nonce_new();
	unsigned long long seed = 20250306;
	unsigned int rounds = 0;

	REQUIRE(nonce);
	for (; adma_now() < until || rounds < 8; rounds++) {
		orderly = rounds / 4 % 2 == 0;
		each = 30 + (uint32_t)below(&seed, 60);
		round_of(nonce, kinds[rounds % 4], &seed);
	}
	adma_nonce_free(nonce);
	REQUIRE(atomic_load(&messages) && atomic_load(&cancels) && atomic_load(&broken));
	printf("channel: %u rounds, %llu messages, %llu cancelled, %llu cut off\n", rounds,
	       (unsigned long long)atomic_load(&messages), (unsigned long long)atomic_load(&cancels),
	       (unsigned long long)atomic_load(&broken));
	return 0;
}
