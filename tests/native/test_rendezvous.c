/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rendezvous.c - what a rendezvous signals, and when: both ends in one process, one call after the other.
 *
 * A signal is a change of the peer's event count. Its cache line travels between the two processors, and its peer looks.
 */
#include <stdio.h>
#include <string.h>

#include "pair.h"
#include "race.h"
#include "shm/eventcount.h"
#include "shm/layout.h"

#define CHUNK (128u << 10) /* of mapped:cma, for what is not long */

struct pair {
	struct adma_chan *ends[ENDS];
	struct adma_segment *segments[ENDS];
	struct adma_nonce *nonce;
};

static uint8_t from[4 * CHUNK], to[4 * CHUNK];

static struct pair pair_make(void)
{
	struct pair pair = {.nonce = adma_nonce_new()};

	REQUIRE(pair.nonce);
	for (int i = 0; i < ENDS; i++)
		pair.segments[i] = make_segment();
	make_ends(pair.ends, pair.segments, pair.nonce, ADMA_MECH_CMA);
	return pair;
}

static void pair_free(struct pair *pair)
{
	for (int i = 0; i < ENDS; i++)
		adma_chan_free(pair->ends[i]);
	for (int i = 0; i < ENDS; i++)
		free_segment(pair->segments[i]);
	adma_nonce_free(pair->nonce);
}

/* How often this end was signalled so far. */
static uint64_t signals(const struct pair *pair, int end)
{
	return adma_ec_read(&pair->segments[end]->event_count) / ADMA_EC_EVENT;
}

static struct adma_req blocking(bool is_read, uint64_t n)
{
	return (struct adma_req){
		.address = is_read ? to : from,
		.length = n,
		.total = n,
		.kind = ADMA_BYTES,
		.is_read = is_read,
		.flags = ADMA_REQ_BLOCKING,
		.state = ADMA_IDLE_STATE,
	};
}

/* The write is posted, and the read copies all of it. Returns how often the writer was signalled. */
static uint64_t exchange(struct pair *pair, uint64_t n)
{
	struct adma_req write = blocking(false, n), read = blocking(true, n);
	uint64_t writer, reader = signals(pair, 1);

	memset(from, (int)n, n);
	memset(to, 0, n);
	REQUIRE(!adma_post_one(pair->ends[0], &write));
	REQUIRE(signals(pair, 1) == reader + 1);
	writer = signals(pair, 0);
	REQUIRE(adma_run(pair->ends[1], &read, to, n) == (int64_t)n);
	writer = signals(pair, 0) - writer;
	REQUIRE(!memcmp(from, to, n) && read.observed);
	REQUIRE(signals(pair, 1) == reader + 1); /* the writer learns of the end without an answer */
	REQUIRE(adma_drive_one(pair->ends[0], &write, 0, 0) == ADMA_READY && !write.error);
	adma_observe(pair->ends[0], &write);
	return writer;
}

int main(void)
{
	struct pair pair = pair_make();

	for (int i = 0; i < 10; i++) { /* fewer than the ring takes for a step, which is signalled, too */
		REQUIRE(exchange(&pair, 8) == 1); /* the end */
		REQUIRE(exchange(&pair, CHUNK) == 1);
		REQUIRE(exchange(&pair, 3 * CHUNK) == 2); /* the match, so that the writer may copy, and the end */
	}
	pair_free(&pair);
	printf("rendezvous: signals\n");
	return 0;
}
