/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_slots.c - our own slots and the news about them, against a naive model; and the life of a
 * reserved slot and of one with a second life.
 *
 * The reader is played here: it matches, reserves and sees slots as it likes, and sets news.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "require.h"
#include "shm/growth.h"
#include "shm/news.h"
#include "shm/slot.h"
#include "worker/peer_slots.h"
#include "worker/slots.h"

#define ROUNDS 40
#define STEPS 4000
#define MANY 700 /* slots in use at once, at most */

static unsigned long long seed = 20260110;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed % n);
}

static struct adma_segment *segment_new(void)
{
	struct adma_segment *segment =
		mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(segment != MAP_FAILED);
	return segment;
}

static void segment_free(struct adma_segment *segment)
{
	REQUIRE(!munmap(segment, sizeof(*segment)));
}

/* Are the pages of this slot there? */
static bool is_present(struct adma_segment *segment, uint32_t index)
{
	uintptr_t page = (uintptr_t)adma_slot_at(segment, index) / 4096 * 4096;
	unsigned char there = 0;

	REQUIRE(!mincore((void *)page, 1, &there));
	return there & 1;
}

/* ---- the lists of our slots ---- */

struct naive {
	uint32_t posted[ADMA_SLOTS_FIRST * 32]; /* in post order */
	uint32_t count;
	uint32_t others[ADMA_SLOTS_FIRST * 32]; /* matched, or lingering and not seen */
	uint32_t nothers;
};

static void naive_remove(uint32_t *list, uint32_t *count, uint32_t at)
{
	memmove(list + at, list + at + 1, (*count - at - 1) * sizeof(*list));
	--*count;
}

static void check_posted(const struct adma_slots *slots, const struct naive *naive)
{
	uint32_t n = 0;

	for (uint32_t i = slots->posted.first; i != ADMA_SLOT_NONE; i = slots->own[i].next)
		REQUIRE(n < naive->count && naive->posted[n++] == i);
	REQUIRE(n == naive->count && slots->posted.count == n);
	REQUIRE(slots->posted.last == (n ? naive->posted[n - 1] : ADMA_SLOT_NONE));
}

static void step_take(struct adma_slots *slots, struct naive *naive)
{
	struct adma_req *req = (void *)(uintptr_t)(1 + naive->count);
	uint32_t index = adma_slots_take(slots, req);

	REQUIRE(index < slots->capacity && slots->own[index].use == ADMA_SLOT_POSTED);
	REQUIRE(slots->own[index].of.req == req);
	REQUIRE(index < ADMA_SLOTS_FIRST || is_present(slots->segment, index)); /* the handshake allocates the first */
	for (uint32_t i = 0; i < naive->count; i++)
		REQUIRE(naive->posted[i] != index);
	for (uint32_t i = 0; i < naive->nothers; i++)
		REQUIRE(naive->others[i] != index);
	adma_slot_post(adma_slot_at(slots->segment, index), slots->own[index].gen);
	naive->posted[naive->count++] = index;
}

/* The reader sees it, at once or never. A slot that was not seen is never taken again. */
static void step_finish(struct adma_slots *slots, struct naive *naive)
{
	uint32_t at = below(naive->count), index = naive->posted[at];

	naive_remove(naive->posted, &naive->count, at);
	if (below(2))
		adma_slots_matched(slots, index);
	adma_slots_linger(slots, index);
	if (below(8))
		adma_slot_see(adma_slot_at(slots->segment, index), slots->own[index].gen);
	else
		naive->others[naive->nothers++] = index;
}

static void lists_round(void)
{
	struct adma_segment *segment = segment_new();
	struct adma_slots slots;
	struct naive naive = {0};

	REQUIRE(!adma_slots_init(&slots, segment));
	for (int step = 0; step < STEPS; step++) {
		uint32_t most = 1 + below(below(20) ? 100 : MANY);

		if (naive.count < most && naive.nothers < MANY)
			step_take(&slots, &naive);
		else if (naive.count)
			step_finish(&slots, &naive);
		if (step % 16 == 0)
			check_posted(&slots, &naive);
	}
	REQUIRE(slots.capacity <= 4096);
	REQUIRE(slots.free.count + slots.posted.count + slots.lingering.count == slots.capacity);
	adma_slots_free(&slots);
	segment_free(segment);
}

/* One slot is used again and again, if the reader keeps up: it stays in the cache. */
static void test_one_slot_is_enough(void)
{
	struct adma_segment *segment = segment_new();
	struct adma_slots slots;

	REQUIRE(!adma_slots_init(&slots, segment));
	for (uint32_t gen = 1; gen < 1000; gen++) {
		uint32_t index = adma_slots_take(&slots, NULL);

		REQUIRE(index == 0 && slots.own[0].gen == gen);
		adma_slots_linger(&slots, index);
		adma_slot_see(adma_slot_at(segment, index), gen);
	}
	REQUIRE(slots.capacity == ADMA_SLOTS_FIRST);
	adma_slots_free(&slots);
	segment_free(segment);
}

/* All slots that there may be, and then none; the one that is seen last is found. */
static void test_the_last_slot(void)
{
	struct adma_segment *segment = segment_new();
	struct adma_slots slots;
	uint32_t seen = 77777;

	REQUIRE(!adma_slots_init(&slots, segment));
	for (uint32_t i = 0; i < ADMA_SLOTS_MAX; i++)
		REQUIRE(adma_slots_take(&slots, NULL) == i); /* those that were never used: in order */
	REQUIRE(adma_slots_take(&slots, NULL) == ADMA_SLOT_NONE);
	for (uint32_t i = 0; i < ADMA_SLOTS_MAX; i++)
		adma_slots_linger(&slots, i);
	REQUIRE(adma_slots_take(&slots, NULL) == ADMA_SLOT_NONE);
	adma_slot_see(adma_slot_at(segment, seen), 1);
	REQUIRE(adma_slots_take(&slots, NULL) == seen && slots.own[seen].gen == 2);
	adma_slots_free(&slots);
	segment_free(segment);
}

/* Without memory the slots that there are go on; pages that are there prove that there was memory. */
static void test_no_memory(void)
{
	struct adma_segment *segment = segment_new();
	struct adma_slots slots;
	uint8_t *rest = (uint8_t *)segment + (adma_segment_bytes_of(1) + 4095) / 4096 * 4096;

	REQUIRE(!adma_slots_init(&slots, segment));
	REQUIRE(!munmap(rest, (size_t)((uint8_t *)(segment + 1) - rest)));
	for (uint32_t i = 0; i < ADMA_SLOTS_FIRST; i++)
		REQUIRE(adma_slots_take(&slots, NULL) == i);
	for (int i = 0; i < 3; i++)
		REQUIRE(adma_slots_take(&slots, NULL) == ADMA_SLOT_NONE);
	REQUIRE(slots.limit == ADMA_SLOTS_FIRST && slots.capacity == ADMA_SLOTS_FIRST);
	adma_slots_linger(&slots, 5);
	REQUIRE(adma_slots_take(&slots, NULL) == ADMA_SLOT_NONE);
	adma_slot_see(adma_slot_at(segment, 5), 1);
	REQUIRE(adma_slots_take(&slots, NULL) == 5);
	adma_slots_free(&slots);
	REQUIRE(!munmap(segment, (size_t)(rest - (uint8_t *)segment)));
}

/* ---- the slots of the peer ---- */

static void test_reach(void)
{
	struct adma_segment *segment = segment_new();
	struct adma_peer_slots slots;

	adma_peer_slots_init(&slots, segment);
	REQUIRE(!adma_peer_slots_reach(&slots, 63) && slots.reached == 64);
	REQUIRE(!is_present(segment, 500));
	REQUIRE(!adma_peer_slots_reach(&slots, 300) && slots.reached == 512 && is_present(segment, 511));
	REQUIRE(!adma_peer_slots_provide(&slots, 300) && slots.capacity == 512);
	for (uint32_t i = 0; i < 512; i++)
		REQUIRE(!slots.of[i]);
	REQUIRE(!adma_peer_slots_reach(&slots, ADMA_SLOTS_MAX - 1) && slots.reached == ADMA_SLOTS_MAX);
	REQUIRE(!adma_peer_slots_provide(&slots, ADMA_SLOTS_MAX - 1) && slots.capacity == ADMA_SLOTS_MAX);
	adma_peer_slots_free(&slots);
	segment_free(segment);
}

/* ---- news ---- */

struct seen_news {
	bool bits[ADMA_SLOTS_MAX];
	uint32_t count;
};

static void note(void *arg, uint32_t index)
{
	struct seen_news *news = arg;

	REQUIRE(index < ADMA_SLOTS_MAX && !news->bits[index]);
	news->bits[index] = true;
	news->count++;
}

static void test_news(void)
{
	struct adma_segment *segment = segment_new();
	static struct seen_news set, taken;

	for (int round = 0; round < 200; round++) {
		uint32_t slots = ADMA_SLOTS_FIRST << below(12), n = below(100);
		enum adma_news_for whose = below(2) ? ADMA_NEWS_FOR_MAKER : ADMA_NEWS_FOR_READER;

		memset(&set, 0, sizeof(set));
		memset(&taken, 0, sizeof(taken));
		while (n--) {
			uint32_t index = below(slots);

			adma_news_set(segment, whose, index);
			set.count += !set.bits[index];
			set.bits[index] = true;
		}
		adma_news_take(segment, !whose, slots, note,
			       &taken); /* that of the other side is not mixed up with it */
		REQUIRE(!taken.count);
		adma_news_take(segment, whose, slots, note, &taken);
		REQUIRE(!memcmp(&set, &taken, sizeof(set)));
		adma_news_take(segment, whose, slots, note, &taken);
		REQUIRE(taken.count == set.count);
	}
	segment_free(segment);
}

/* A peer that sets all bits makes us look at the slots that we have, once. */
static void test_all_bits(void)
{
	struct adma_segment *segment = segment_new();
	static struct seen_news taken;

	for (uint32_t top = 0; top < ADMA_NEWS_TOPS; top++)
		atomic_store(&segment->news_top[ADMA_NEWS_FOR_MAKER][top], UINT64_MAX);
	for (uint32_t block = 0; block < ADMA_SLOT_BLOCKS; block++)
		atomic_store(&segment->blocks[block].news[ADMA_NEWS_FOR_MAKER].bits, UINT64_MAX);
	adma_news_take(segment, ADMA_NEWS_FOR_MAKER, 128, note, &taken);
	REQUIRE(taken.count == 128 && taken.bits[127]);
	segment_free(segment);
}

/* ---- a reserved slot ---- */

static void test_reserved(void)
{
	struct adma_slot slot = {0};

	adma_slot_post(&slot, 1);
	REQUIRE(!adma_slot_reserve(&slot, 1) && adma_slot_state(&slot, 1) == ADMA_RESERVED);
	REQUIRE(adma_slot_cancel(&slot, 1, false) == -EBUSY && adma_slot_state(&slot, 1) == ADMA_RESERVED);
	REQUIRE(adma_slot_reserve(&slot, 1) == -EPROTO); /* once is enough */
	REQUIRE(adma_slot_match(&slot, 2) == -EPROTO && adma_slot_reserve(&slot, 2) == -EPROTO);
	REQUIRE(!adma_slot_match(&slot, 1) && adma_slot_state(&slot, 1) == ADMA_MATCHED);
	REQUIRE(adma_slot_match(&slot, 1) == -EPROTO && adma_slot_cancel(&slot, 1, false) == -EBUSY);

	adma_slot_post(&slot, 2);
	REQUIRE(!adma_slot_cancel(&slot, 2, false));
	REQUIRE(adma_slot_reserve(&slot, 2) == -ECANCELED && adma_slot_match(&slot, 2) == -ECANCELED);

	adma_slot_post(&slot, 3);
	REQUIRE(!adma_slot_cancel(&slot, 3, true) && adma_slot_state(&slot, 3) == ADMA_LOST);
	REQUIRE(adma_slot_reserve(&slot, 3) == -ECANCELED && adma_slot_match(&slot, 3) == -ECANCELED);

	atomic_store(&slot.state, 4ull << 32 | (ADMA_AGAIN + 1));
	REQUIRE(adma_slot_state(&slot, 4) == -EPROTO && adma_slot_reserve(&slot, 4) == -EPROTO);
}

/* ---- a second life ---- */

static void test_again(void)
{
	struct adma_slot slot = {0};

	adma_slot_post(&slot, 1);
	REQUIRE(!adma_slot_match(&slot, 1) && !adma_slot_fail(&slot, 1, EFAULT));
	REQUIRE(adma_slot_next_state(&slot, 1) == -EPROTO); /* nobody has asked for it */
	adma_slot_ask_again(&slot, 1);
	REQUIRE(adma_slot_state(&slot, 1) == ADMA_AGAIN && adma_slot_next_state(&slot, 1) == ADMA_FREE);
	REQUIRE(adma_slot_cancel(&slot, 1, false) == -EBUSY && adma_slot_match(&slot, 1) == -EPROTO);
	adma_slot_post(&slot, 2);
	REQUIRE(adma_slot_next_state(&slot, 1) == ADMA_POSTED && adma_slot_state(&slot, 1) == -EPROTO);
	REQUIRE(!adma_slot_cancel(&slot, 2, false) && adma_slot_next_state(&slot, 1) == ADMA_CANCELLED);
	adma_slot_post(&slot, 3);
	REQUIRE(adma_slot_next_state(&slot, 1) == -EPROTO);
}

int main(void)
{
	for (int round = 0; round < ROUNDS; round++)
		lists_round();
	test_one_slot_is_enough();
	test_the_last_slot();
	test_no_memory();
	test_reach();
	test_news();
	test_all_bits();
	test_reserved();
	test_again();
	printf("slots: %d rounds of %d steps\n", ROUNDS, STEPS);
	return 0;
}
