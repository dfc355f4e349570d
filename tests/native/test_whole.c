/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_whole.c - a receive takes its message whole, and there is no memory for that: both ends in one process.
 *
 * Nothing may have happened then. The message is still in the ring, its sender may still cancel it, and the receive gets
 * it, or the next one, as soon as there is memory.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "adma_worker.h"
#include "race.h"
#include "shm/layout.h"

#define NBYTES 1000
#define ROUNDS 4 /* more than progress needs to come to rest */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static _Atomic bool refuse_memory;
static _Atomic int refused;

void *__wrap_malloc(size_t size)
{
	if (!refuse_memory)
		return __real_malloc(size);
	refused++;
	return NULL;
}

static struct adma_worker *receiver, *sender;
static uint32_t from_sender, to_receiver; /* the endpoints */
static uint8_t outgoing[NBYTES], incoming[NBYTES];

static void progress(void)
{
	for (int i = 0; i < ROUNDS; i++)
		REQUIRE(adma_worker_progress(receiver) >= 0);
	for (int i = 0; i < ROUNDS; i++)
		REQUIRE(adma_worker_progress(sender) >= 0);
}

static void finish(struct adma_worker *worker, struct adma_req *req)
{
	REQUIRE(req->state == ADMA_DONE_STATE);
	adma_worker_observe(worker, req);
}

static struct adma_req send_one(uint8_t flags)
{
	return (struct adma_req){
		.address = outgoing,
		.length = NBYTES,
		.kind = ADMA_TAGGED,
		.flags = flags,
		.tag = 1,
		.source = to_receiver,
	};
}

static struct adma_req receive_one(uint8_t flags)
{
	return (struct adma_req){
		.address = incoming,
		.length = flags & ADMA_REQ_TAKE ? 0 : NBYTES,
		.kind = ADMA_TAGGED,
		.is_read = true,
		.flags = flags,
		.tag = 1,
		.mask = ADMA_WHOLE_TAG,
		.source = ADMA_ANY_SOURCE,
	};
}

/* The receive finds no memory. Then it gets this message or, if that is cancelled, the next one. */
static void without_memory(uint8_t flags, bool cancel)
{
	struct adma_req whole = receive_one(ADMA_REQ_TAKE), into = receive_one(0);
	struct adma_req first = send_one(flags), second = send_one(flags);
	int before = refused;

	for (int i = 0; i < NBYTES; i++)
		outgoing[i] = (uint8_t)(i * 7 + before);
	REQUIRE(!adma_worker_receive(receiver, &whole));
	/* From before the message can be seen: the receiver's progress thread may be the one that looks. */
	refuse_memory = true;
	REQUIRE(!adma_worker_send(sender, &first));
	progress();
	REQUIRE(refused > before && whole.state == ADMA_QUEUED_STATE && !whole.taken);
	REQUIRE(!adma_worker_health(receiver, from_sender));
	if (cancel) {
		REQUIRE(adma_worker_cancel(sender, &first) == 1);
		finish(sender, &first);
		REQUIRE(!adma_worker_send(sender, &second));
	}
	refuse_memory = false;
	progress();
	finish(receiver, &whole);
	REQUIRE(!whole.error && whole.taken && whole.needed == NBYTES && whole.source == from_sender);
	REQUIRE(!adma_worker_cancel(sender, cancel ? &second : &first));
	REQUIRE(!adma_worker_receive_taken(receiver, whole.taken, &into));
	for (int i = 0; i < ROUNDS; i++)
		progress();
	finish(receiver, &into);
	finish(sender, cancel ? &second : &first);
	REQUIRE(!into.error && into.done_bytes == NBYTES && !memcmp(incoming, outgoing, NBYTES));
}

int main(void)
{
	struct adma_nonce *nonce = adma_nonce_new();
	struct adma_segment *segments[ENDS];
	struct adma_config configs[ENDS];

	REQUIRE(nonce && !adma_worker_new(1, &receiver) && !adma_worker_new(2, &sender));
	for (int e = 0; e < ENDS; e++)
		segments[e] = make_segment();
	make_configs(configs, segments, nonce, 0);
	REQUIRE(!adma_worker_connect(receiver, &configs[0], &from_sender));
	REQUIRE(!adma_worker_connect(sender, &configs[1], &to_receiver));
	for (int i = 0; i < 3; i++) {
		without_memory(0, false);
		without_memory(ADMA_REQ_SLOT, false);
		without_memory(ADMA_REQ_SLOT, true);
	}
	adma_worker_free(receiver);
	adma_worker_free(sender);
	for (int e = 0; e < ENDS; e++)
		free_segment(segments[e]);
	adma_nonce_free(nonce);
	printf("whole: without memory\n");
	return 0;
}
