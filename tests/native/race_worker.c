/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * race_worker.c - three workers in one process, each with several threads that send, receive, probe,
 * take, cancel and wait, all at once.
 *
 * The first worker has three endpoints to each of the others and one to itself: more than few, so
 * that its summary is used. A message tells which thread sent it and which one it is. A receiving
 * thread takes all messages of one subject, a part of the tag. So a lost, doubled or torn message, or one
 * out of its sender's order, is found.
 *
 * A round ends in order, when all is received, or endpoints are dropped and connected anew in the
 * middle of everything.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "pair.h"
#include "adma_worker.h"
#include "race.h"
#include "shm/layout.h"

#define WORKERS 3
#define LINKS 7 /* the last one is the first worker's to itself */
#define SENDERS 2
#define SUBJECTS 2 /* as many threads of a worker receive */
#define LONGEST (300u << 10)
#define AT_ONCE 6 /* requests that a thread has outstanding */
#define RECONNECTS 12
#define SLICE_NS 2000000
#define SLEEP_NS 2000000

#define SUBJECT_MASK 0xffull
#define NUMBER_OF(number, subject) ((uint64_t)(number) << 8 | (subject))

/* ---- workers and links ---- */

/* Relaxed counts and numbers: they must not order what is under test. */
struct node {
	struct adma_worker *worker;
	_Atomic uint32_t sending; /* threads */
};

struct link {
	int nodes[ENDS];
	_Atomic uint32_t numbers[ENDS];
	struct adma_segment *segments[ENDS]; /* NULL: connected to itself */
};

static struct node nodes[WORKERS];
static struct link links[LINKS];
static _Atomic uint32_t sent[WORKERS][SUBJECTS], received[WORKERS][SUBJECTS];

static const struct adma_nonce *nonce;
static uint32_t forced;
static int64_t hang;
static bool orderly;
static uint32_t each; /* messages of a sender */
static _Atomic bool stopped;
static _Atomic uint64_t messages, cancels, takes, wholes, refusals, lost, summaries;

static void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void link_connect(struct link *link)
{
	struct adma_config configs[ENDS];
	uint32_t number;

	if (link->nodes[0] == link->nodes[1]) {
		REQUIRE(!adma_worker_connect_self(nodes[link->nodes[0]].worker, &number));
		for (int e = 0; e < ENDS; e++)
			atomic_store_explicit(&link->numbers[e], number, memory_order_relaxed);
		return;
	}
	for (int e = 0; e < ENDS; e++)
		link->segments[e] = make_segment();
	make_configs(configs, link->segments, nonce, forced);
	for (int e = 0; e < ENDS; e++) {
		REQUIRE(!adma_worker_connect(nodes[link->nodes[e]].worker, &configs[e], &number));
		atomic_store_explicit(&link->numbers[e], number, memory_order_relaxed);
	}
}

/* Both ends at once, as two processes do it. Nothing touches their segments any more. */
static void link_drop(struct link *link)
{
	uint32_t numbers[ENDS];

	for (int e = 0; e < ENDS; e++)
		numbers[e] = atomic_load_explicit(&link->numbers[e], memory_order_relaxed);
	adma_worker_drain(nodes[link->nodes[0]].worker, numbers[0]);
	for (bool left = true; left;) {
		left = false;
		for (int e = 0; e < ENDS; e++)
			left |= adma_worker_drop(nodes[link->nodes[e]].worker, numbers[e], 1000000) != 0;
		REQUIRE(adma_now() < hang);
	}
	for (int e = 0; e < ENDS; e++) {
		if (link->segments[e])
			free_segment(link->segments[e]);
		link->segments[e] = NULL;
	}
}

/* The number of an endpoint of this worker, and whose endpoint is at its other end. */
static uint32_t draw_endpoint(int node, unsigned long long *seed, int *other)
{
	for (;;) {
		struct link *link = &links[below(seed, LINKS)];
		int e = (int)below(seed, ENDS);

		if (link->nodes[e] != node)
			continue;
		*other = link->nodes[!e];
		return atomic_load_explicit(&link->numbers[e], memory_order_relaxed);
	}
}

/* ---- messages ---- */

struct head {
	uint32_t sender, number; /* `sender` is unique, `number` counts what it sent */
	uint64_t length;
};

struct item {
	struct adma_req req;
	uint8_t *buffer;
	int to;          /* of a send */
	uint64_t turn;   /* of a receive: in post order */
	bool posted;
};

/* What came last, in post order of its receive, from a sender over an endpoint. */
struct last {
	uint32_t source, sender, number;
	uint64_t turn;
	bool known;
};

#define LASTS 512

struct task {
	int node;
	uint32_t number; /* a sender's, or the subject of a receiver */
	unsigned long long seed;
	struct item items[AT_ONCE];
	uint64_t turns;
	struct last last[LASTS];
};

static void fill(uint8_t *buffer, struct head head)
{
	for (uint64_t i = sizeof(head); i < head.length; i++)
		buffer[i] = (uint8_t)(head.sender * 101 + head.number * 7 + i + i / 251);
	memcpy(buffer, &head, sizeof(head));
}

/* Messages of one sender over one endpoint match in the order in which they were sent. */
static void check_order(struct task *task, const struct item *item, struct head head)
{
	struct last *last = task->last;

	for (; last < task->last + LASTS && last->known; last++)
		if (last->source == item->req.source && last->sender == head.sender)
			break;
	REQUIRE(last < task->last + LASTS);
	if (last->known) {
		REQUIRE(last->number != head.number);
		REQUIRE((last->turn < item->turn) == (last->number < head.number));
	}
	if (!last->known || last->turn < item->turn)
		*last = (struct last){item->req.source, head.sender, head.number, item->turn, true};
}

static void check(struct task *task, const struct item *item)
{
	uint64_t n = item->req.done_bytes;
	struct head head;

	REQUIRE(n >= sizeof(head) && n == item->req.needed);
	memcpy(&head, item->buffer, sizeof(head));
	REQUIRE(head.length == n && item->req.tag == NUMBER_OF(head.number, task->number));
	for (uint64_t i = sizeof(head); i < n; i++)
		REQUIRE(item->buffer[i] == (uint8_t)(head.sender * 101 + head.number * 7 + i + i / 251));
	check_order(task, item, head);
}

static uint64_t draw_length(struct task *task)
{
	static const uint64_t most[] = {32, 32, 1000, 8192, 8192, 20000, LONGEST};

	return sizeof(struct head) + below(&task->seed, most[below(&task->seed, 7)] - sizeof(struct head) + 1);
}

/* ---- requests ---- */

static bool done(const struct item *item)
{
	return __atomic_load_n(&item->req.state, __ATOMIC_ACQUIRE) == ADMA_DONE_STATE;
}

static struct adma_worker *worker_of(const struct task *task)
{
	return nodes[task->node].worker;
}

/* Drive for some requests for a moment; asleep, if nothing moves. */
static void push(struct task *task, struct adma_req **reqs, int n)
{
	int rc = adma_worker_drive(worker_of(task), reqs, n, n > 0, (int64_t)below(&task->seed, 20000), SLICE_NS);

	REQUIRE(adma_now() < hang && rc >= 0);
	if (rc == ADMA_QUIET)
		(void)adma_worker_sleep(worker_of(task), reqs, n, n > 0, SLEEP_NS, NULL);
}

static void push_one(struct task *task, struct item *item)
{
	struct adma_req *req = &item->req;

	push(task, &req, 1);
}

static void push_all(struct task *task)
{
	struct adma_req *reqs[AT_ONCE];
	int n = 0;

	for (int i = 0; i < AT_ONCE; i++)
		if (task->items[i].posted)
			reqs[n++] = &task->items[i].req;
	if (n)
		push(task, reqs, n);
}

static void prepare(struct item *item, uint64_t length, bool is_read)
{
	memset(&item->req, 0, sizeof(item->req));
	item->req.address = item->buffer;
	item->req.length = length;
	item->req.kind = ADMA_TAGGED;
	item->req.is_read = is_read;
}

/* An error that only the loss of an endpoint explains. */
static void note_loss(int error)
{
	REQUIRE(!orderly);
	REQUIRE(error == ADMA_E_CLOSED || error == ADMA_E_CLOSED_HERE || error == ADMA_E_DIED || error == ADMA_E_LOST ||
		error == ADMA_E_ENDED || error == ENOENT);
	count(&lost);
}

static void take_send(struct item *item)
{
	uint64_t subject = item->req.tag & SUBJECT_MASK;

	if (!item->req.error)
		atomic_fetch_add_explicit(&sent[item->to][subject], 1, memory_order_relaxed);
	else if (item->req.error != ADMA_E_CANCELLED)
		note_loss(item->req.error);
	else
		count(&cancels);
}

static void take_receive(struct task *task, struct item *item)
{
	int error = item->req.error;
	bool consumed = error == ADMA_E_TOOLONG && item->req.flags & ADMA_REQ_CONSUME;

	if (error == ADMA_E_TOOLONG)
		REQUIRE(item->req.needed > item->req.length && (item->req.tag & SUBJECT_MASK) == task->number);
	if (!error)
		check(task, item);
	if (!error || consumed) {
		atomic_fetch_add_explicit(&received[task->node][task->number], 1, memory_order_relaxed);
		count(&messages);
	} else if (error == ADMA_E_TOOLONG) {
		count(&refusals);
	} else if (error == ADMA_E_CANCELLED) {
		count(&cancels);
	} else {
		note_loss(error);
	}
}

/* The message that this receive took comes into its buffer now. Its turn is that of the receive. */
static void receive_whole(struct task *task, struct item *item)
{
	struct adma_arrived *taken = item->req.taken;

	REQUIRE(taken && !item->req.done_bytes);
	count(&wholes);
	prepare(item, LONGEST, true);
	REQUIRE(!adma_worker_receive_taken(worker_of(task), taken, &item->req));
	item->posted = true;
}

static void take(struct task *task, struct item *item)
{
	adma_worker_observe(worker_of(task), &item->req);
	item->posted = false;
	if (item->req.is_read && item->req.flags & ADMA_REQ_TAKE && !item->req.error)
		receive_whole(task, item);
	else if (item->req.is_read)
		take_receive(task, item);
	else
		take_send(item);
}

/* Wait for this one or for some of all, and sometimes cancel it. */
static void attend(struct task *task, struct item *item)
{
	if (!below(&task->seed, 60)) {
		if (adma_worker_cancel(worker_of(task), &item->req))
			REQUIRE(done(item) && item->req.error == ADMA_E_CANCELLED);
	} else if (!below(&task->seed, 4)) {
		push_all(task);
	} else {
		push_one(task, item);
	}
	if (done(item))
		take(task, item);
}

/* All that is posted still: wait for it, or cancel it first. */
static void finish(struct task *task, bool cancel)
{
	for (int i = 0; i < AT_ONCE; i++) {
		struct item *item = &task->items[i];

		while (item->posted) {
			if (done(item)) {
				take(task, item);
				continue;
			}
			if (cancel || atomic_load_explicit(&stopped, memory_order_relaxed))
				(void)adma_worker_cancel(worker_of(task), &item->req);
			push_one(task, item);
		}
	}
}

/* ---- threads ---- */

static void bring_segment(struct task *task, uint32_t number, uint64_t n)
{
	if (adma_worker_wants_bulk(worker_of(task), number, n))
		(void)adma_worker_give_bulk(worker_of(task), number, make_bulk());
}

static void send_one(struct task *task, struct item *item, uint32_t number)
{
	uint64_t length = draw_length(task), subject = below(&task->seed, SUBJECTS);
	uint32_t endpoint = draw_endpoint(task->node, &task->seed, &item->to);
	int rc;

	fill(item->buffer, (struct head){(uint32_t)task->node * SENDERS + task->number, number, length});
	bring_segment(task, endpoint, length);
	prepare(item, length, false);
	item->req.source = endpoint;
	item->req.tag = NUMBER_OF(number, subject);
	item->req.flags = below(&task->seed, 4) ? 0 : ADMA_REQ_SLOT;
	rc = adma_worker_send(worker_of(task), &item->req);
	item->posted = !rc;
	if (rc)
		note_loss(-rc);
}

static void *send_all(void *argument)
{
	struct task *task = argument;

	for (uint32_t number = 0; number < each && !atomic_load_explicit(&stopped, memory_order_relaxed);) {
		struct item *item = &task->items[below(&task->seed, AT_ONCE)];

		if (item->posted)
			attend(task, item);
		else
			send_one(task, item, number++);
	}
	finish(task, false);
	atomic_fetch_sub_explicit(&nodes[task->node].sending, 1, memory_order_relaxed);
	return NULL;
}

static bool all_received(int node)
{
	for (int i = 0; i < WORKERS; i++)
		if (atomic_load_explicit(&nodes[i].sending, memory_order_relaxed))
			return false;
	for (int subject = 0; subject < SUBJECTS; subject++)
		if (atomic_load_explicit(&sent[node][subject], memory_order_relaxed) !=
		    atomic_load_explicit(&received[node][subject], memory_order_relaxed))
			return false;
	return true;
}

static uint64_t draw_room(struct task *task)
{
	return below(&task->seed, 8) ? LONGEST : below(&task->seed, 10000);
}

static uint32_t draw_source(struct task *task)
{
	int other;

	return below(&task->seed, 2) ? ADMA_ANY_SOURCE : draw_endpoint(task->node, &task->seed, &other);
}

static void prepare_receive(struct task *task, struct item *item)
{
	prepare(item, draw_room(task), true);
	item->req.flags = below(&task->seed, 4) ? 0 : ADMA_REQ_CONSUME;
	item->turn = task->turns++;
}

/* One in four takes its message whole, and receives it when it is complete. */
static void prepare_posted(struct task *task, struct item *item)
{
	prepare_receive(task, item);
	if (below(&task->seed, 4))
		return;
	item->req.flags = ADMA_REQ_TAKE;
	item->req.address = NULL;
	item->req.length = 0;
}

static void receive_one(struct task *task, struct item *item)
{
	int rc;

	prepare_posted(task, item);
	item->req.source = draw_source(task);
	item->req.tag = task->number;
	item->req.mask = SUBJECT_MASK;
	rc = adma_worker_receive(worker_of(task), &item->req);
	item->posted = !rc;
	if (rc)
		note_loss(-rc);
}

static void take_one(struct task *task, struct item *item)
{
	struct adma_tagged_message found, again;
	struct adma_arrived *taken;
	int rc = adma_worker_take(worker_of(task), draw_source(task), task->number, SUBJECT_MASK, &found, &taken);

	REQUIRE(rc >= 0);
	if (!rc)
		return;
	count(&takes);
	prepare_receive(task, item);
	(void)adma_worker_probe(worker_of(task), found.source, found.tag, ~0ull, &again);
	rc = adma_worker_receive_taken(worker_of(task), taken, &item->req);
	if (rc) {
		REQUIRE(rc == -ADMA_E_TOOLONG && item->req.needed == found.length);
		count(&refusals);
		item->req.length = LONGEST;
		REQUIRE(!adma_worker_receive_taken(worker_of(task), taken, &item->req));
	}
	item->posted = true;
}

static void *receive_all(void *argument)
{
	struct task *task = argument;
	const _Atomic bool *stop = &stopped;

	while (orderly ? !all_received(task->node) : !atomic_load_explicit(stop, memory_order_relaxed)) {
		struct item *item = &task->items[below(&task->seed, AT_ONCE)];

		if (item->posted)
			attend(task, item);
		else if (below(&task->seed, 4))
			receive_one(task, item);
		else
			take_one(task, item);
	}
	finish(task, true);
	return NULL;
}

static void look_once(struct task *task)
{
	struct adma_worker *worker = worker_of(task);
	struct adma_tagged_message message;
	struct adma_stats stats;
	struct pollfd fd = {.events = POLLIN};
	uint32_t endpoints, direct;
	int other;

	switch (below(&task->seed, 6)) {
	case 0:
		(void)adma_worker_probe(worker, ADMA_ANY_SOURCE, 0, ADMA_ANY_TAG, &message);
		break;
	case 1:
		(void)adma_worker_stats(worker, draw_endpoint(task->node, &task->seed, &other), &stats);
		break;
	case 2:
		fd.fd = adma_worker_fileno(worker);
		(void)poll(&fd, 1, 1);
		break;
	case 3:
		(void)adma_worker_health(worker, draw_endpoint(task->node, &task->seed, &other));
		break;
	case 4:
		adma_worker_counts(worker, &endpoints, &direct);
		if (direct < endpoints)
			count(&summaries);
		break;
	default:
		push(task, NULL, 0); /* until a message waits */
	}
}

/* The first worker's also drops endpoints and connects them anew, in a disorderly round. */
static void *meddle(void *argument)
{
	struct task *task = argument;

	for (int i = 0; orderly && i < 200 && !all_received(task->node); i++)
		look_once(task);
	if (orderly || task->node)
		return NULL;
	for (int i = 0; i < RECONNECTS; i++) {
		struct link *link = &links[below(&task->seed, LINKS)];

		for (uint64_t looks = below(&task->seed, 60); looks; looks--)
			look_once(task);
		link_drop(link);
		link_connect(link);
	}
	atomic_store_explicit(&stopped, true, memory_order_relaxed);
	return NULL;
}

/* ---- rounds ---- */

#define THREADS (SENDERS + SUBJECTS + 1)
#define TASKS (WORKERS * THREADS)

static struct task tasks[TASKS];

static void make_task(struct task *task, int node, uint32_t number, unsigned long long *seed)
{
	*task = (struct task){.node = node, .number = number, .seed = draw(seed) | 1};
	for (int i = 0; i < AT_ONCE; i++) {
		task->items[i].buffer = malloc(LONGEST);
		REQUIRE(task->items[i].buffer);
	}
}

static void end_task(struct task *task)
{
	for (int i = 0; i < AT_ONCE; i++) {
		REQUIRE(!task->items[i].posted);
		free(task->items[i].buffer);
	}
}

static void go(unsigned long long *seed)
{
	pthread_t threads[TASKS];

	for (int i = 0; i < TASKS; i++) {
		uint32_t kind = (uint32_t)i % THREADS;

		make_task(&tasks[i], i / THREADS, kind < SENDERS ? kind : kind - SENDERS, seed);
	}
	for (uint32_t i = 0; i < TASKS; i++) {
		uint32_t kind = i % THREADS;

		start(&threads[i],
		      kind < SENDERS              ? send_all
		      : kind < SENDERS + SUBJECTS ? receive_all
						  : meddle,
		      &tasks[i]);
	}
	for (int i = 0; i < TASKS; i++)
		join(threads[i]);
	for (int i = 0; i < TASKS; i++)
		end_task(&tasks[i]);
}

static void make_all(unsigned long long *seed)
{
	for (int i = 0; i < WORKERS; i++) {
		REQUIRE(!adma_worker_new(draw(seed), &nodes[i].worker));
		atomic_store(&nodes[i].sending, SENDERS);
		for (int subject = 0; subject < SUBJECTS; subject++) {
			atomic_store(&sent[i][subject], 0);
			atomic_store(&received[i][subject], 0);
		}
	}
	for (int i = 0; i < LINKS; i++) {
		links[i].nodes[0] = 0;
		links[i].nodes[1] = i == LINKS - 1 ? 0 : 1 + i % (WORKERS - 1);
		link_connect(&links[i]);
	}
	atomic_store(&stopped, false);
}

static void end_all(void)
{
	for (int i = 0; i < LINKS; i++)
		link_drop(&links[i]);
	for (int i = 0; i < WORKERS; i++) {
		REQUIRE(!orderly || all_received(i));
		adma_worker_free(nodes[i].worker);
	}
}

int main(int argc, char **argv)
{
	static const uint32_t kinds[] = {0, ADMA_MECH_SHARED, ADMA_MECH_CMA, ADMA_MECH_TCP};
	int64_t until = end_of_run(argc, argv);
	struct adma_nonce *made = adma_nonce_new();
	unsigned long long seed = 20261129;
	unsigned int rounds = 0;

	REQUIRE(made);
	nonce = made;
	for (; adma_now() < until || rounds < 8; rounds++) {
		hang = adma_now() + HANG_NS;
		forced = kinds[rounds % 4];
		orderly = rounds / 4 % 2 == 0;
		each = 30 + (uint32_t)below(&seed, 60);
		make_all(&seed);
		go(&seed);
		end_all();
	}
	adma_nonce_free(made);
	REQUIRE(messages && cancels && takes && wholes && refusals && lost && summaries);
	printf("worker: %u rounds, %llu messages, %llu taken, %llu taken whole, %llu refused, %llu cancelled, %llu lost\n",
	       rounds, (unsigned long long)messages, (unsigned long long)takes, (unsigned long long)wholes,
	       (unsigned long long)refusals, (unsigned long long)cancels, (unsigned long long)lost);
	return 0;
}
