/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_eager_limit.c - what worker/eager_limit.h promises: a reader learns which sizes are better eager, from messages
 * that it was waiting for. The machine, its clock and the writer are made up; the tables are the real ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "require.h"
#include "worker/eager_limit.h"

#define KIB 1024ull

/* ---- the world ---- */

static int64_t now = 1000000;

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	*ts = (struct timespec){.tv_sec = now / 1000000000, .tv_nsec = now % 1000000000};
	return 0;
}

bool adma_ring_wants_buffered(struct adma_ring_out *ring, uint32_t sizes)
{
	return atomic_load(&ring->segment->buffered) & sizes;
}

static bool reaches_buffers = true; /* can the reader have their pages? */

bool adma_ring_reaches_buffers(struct adma_ring_in *ring)
{
	(void)ring;
	return reaches_buffers;
}

/* What messages take on a machine, in nanoseconds: to begin with, and for each KiB. */
struct machine {
	int64_t eager, eager_kib, rendezvous, rendezvous_kib;
};

/* Two that were measured, as far as it matters: see docs/benchmarks.md. On the second one a rendezvous is better at 32 KiB. */
static const struct machine quick_lines = {.eager = 500, .eager_kib = 110, .rendezvous = 3000, .rendezvous_kib = 110};
static const struct machine slow_lines = {.eager = 500, .eager_kib = 400, .rendezvous = 2900, .rendezvous_kib = 250};

static const struct adma_endpoint_ops ring_ops = {.ring = true};
static struct adma_worker worker;

struct world {
	struct adma_endpoint ep;
	struct adma_segment *segment; /* of the writer, which is made up */
	const struct machine *machine;
	struct adma_table_key mechanisms;
};

/* The mechanisms of a size class were tried, and one was learnt to be the best: here, that there is one. */
static void settle(const struct world *world, uint64_t n)
{
	REQUIRE(!adma_tables_take_up(world->mechanisms, adma_estimates_class(n), 0, 1, true));
	REQUIRE(adma_tables_settled(world->mechanisms, n));
}

/* Each test has a peer of a user of its own, and so a table that knows nothing. */
static void world_begin(struct world *world, const struct machine *machine)
{
	static uint32_t uid = 1000;

	memset(world, 0, sizeof(*world));
	world->machine = machine;
	world->segment = calloc(1, offsetof(struct adma_segment, cells));
	REQUIRE(world->segment);
	world->ep.worker = &worker;
	world->ep.ops = &ring_ops;
	world->ep.connection.config.learns = true;
	world->ep.connection.config.uid = uid++;
	world->ep.connection.config.remote = world->ep.send.ring.segment = world->segment;
	world->mechanisms = (struct adma_table_key){.uid = world->ep.connection.config.uid, .kind = 1};
	for (uint64_t n = 8 * KIB; n <= 32 * KIB; n += 4 * KIB)
		settle(world, n);
	worker.watched_since = 0;
}

static void world_end(struct world *world)
{
	free(world->segment);
}

/* A bit of noise, and a stall now and then. */
static int64_t disturbed(int64_t took)
{
	static uint32_t state = 1;

	state = state * 1103515245u + 12345u;
	took += took * (int64_t)(state >> 16 & 15) / 200;
	return (state >> 20) % 50 ? took : 20 * took;
}

/* One message, as its writer sends it and our read takes it. True: it was eager. */
static bool carry(struct world *world, uint64_t n, bool watched)
{
	const struct machine *machine = world->machine;
	struct adma_desc desc = {.kind = ADMA_BYTES, .length = n, .total = n};
	bool eager = adma_eager_limit_asks(&world->ep, n);
	int64_t each = eager ? machine->eager_kib : machine->rendezvous_kib;
	int64_t took = disturbed((eager ? machine->eager : machine->rendezvous) + each * (int64_t)(n / KIB));

	worker.watched_since = watched ? now : 0;
	now += 300;
	desc.carry = eager ? ADMA_BUFFERED : ADMA_SLOT;
	if (eager) {
		desc.u.buffer.posted_at = now;
		now += took;
		adma_eager_limit_took(&world->ep, &desc);
	} else {
		desc.u.slot.posted_at = now;
		int64_t since = adma_eager_limit_matched(&world->ep, &desc);

		now += took;
		adma_eager_limit_came(&world->ep, world->mechanisms, n, since);
	}
	worker.watched_since = 0;
	return eager;
}

static uint32_t carry_many(struct world *world, uint64_t n, uint32_t times, bool watched)
{
	uint32_t eager = 0;

	for (uint32_t i = 0; i < times; i++)
		eager += carry(world, n, watched);
	return eager;
}

/* ---- tests ---- */

static void test_each_size_is_learnt(void)
{
	struct world world;

	world_begin(&world, &quick_lines);
	for (uint64_t n = 9 * KIB; n <= 32 * KIB; n += 7 * KIB + 512) {
		/* A program that lives for ten messages does as without learning. */
		REQUIRE(carry_many(&world, n, 10, true) == 0 || n > 9 * KIB);
		carry_many(&world, n, 200, true);
		REQUIRE(carry_many(&world, n, 1000, true) > 900);
	}
	world_end(&world);
	world_begin(&world, &slow_lines);
	carry_many(&world, 9 * KIB, 200, true);
	carry_many(&world, 32 * KIB, 200, true);
	REQUIRE(carry_many(&world, 9 * KIB, 1000, true) > 900);
	REQUIRE(carry_many(&world, 32 * KIB, 1000, true) < 50);
	world_end(&world);
}

static void test_a_change_is_noticed(void)
{
	struct world world;

	world_begin(&world, &quick_lines);
	carry_many(&world, 32 * KIB, 500, true);
	REQUIRE(carry_many(&world, 32 * KIB, 100, true) > 90);
	world.machine = &slow_lines;
	carry_many(&world, 32 * KIB, 10000, true);
	REQUIRE(carry_many(&world, 32 * KIB, 1000, true) < 50);
	world_end(&world);
}

static void test_only_what_was_waited_for_is_a_sample(void)
{
	struct adma_learnt_way found[ADMA_EAGER_LIMIT_WAYS];
	struct world world;

	world_begin(&world, &quick_lines);
	REQUIRE(!carry_many(&world, 16 * KIB, 300, false));
	REQUIRE(adma_eager_limit_tell(&world.ep, 16 * KIB, found) == 2);
	REQUIRE(!found[0].samples && !found[1].samples && found[0].chosen && !found[1].chosen);
	/* A time that is before the look, or still to come, is not of our clock. */
	for (int64_t offset = -1000000000; offset <= 1000000000; offset += 2000000000) {
		struct adma_desc desc = {.kind = ADMA_BYTES, .carry = ADMA_BUFFERED, .length = 16 * KIB};

		worker.watched_since = now - 100;
		desc.u.buffer.posted_at = now + offset;
		adma_eager_limit_took(&world.ep, &desc);
		desc.carry = ADMA_SLOT;
		desc.u.slot.posted_at = now + offset;
		REQUIRE(!adma_eager_limit_matched(&world.ep, &desc));
	}
	REQUIRE(adma_eager_limit_tell(&world.ep, 16 * KIB, found) == 2);
	REQUIRE(!found[0].samples && !found[1].samples);
	world_end(&world);
}

/* What one channel has learnt, another one of the same user begins with, also if its reader never waits. */
static void test_a_new_channel_is_told_at_once(void)
{
	struct world world, other;

	world_begin(&world, &quick_lines);
	carry_many(&world, 16 * KIB, 300, true);
	world_begin(&other, &quick_lines);
	other.ep.connection.config.uid = world.ep.connection.config.uid;
	REQUIRE(!carry(&other, 16 * KIB, false));
	REQUIRE(carry_many(&other, 16 * KIB, 100, false) == 100);
	world_end(&other);
	world_end(&world);
}

/* A try does not go on when the program stops to wait. */
static void test_a_try_is_taken_back(void)
{
	struct world world;

	world_begin(&world, &slow_lines);
	do
		carry(&world, 32 * KIB, true);
	while (!adma_eager_limit_asks(&world.ep, 32 * KIB));
	REQUIRE(carry(&world, 32 * KIB, false));
	REQUIRE(!carry_many(&world, 32 * KIB, 100, false));
	world_end(&world);
}

/* What a rendezvous takes by a mechanism that is not the best one is not compared. */
static void test_mechanisms_come_first(void)
{
	struct adma_learnt_way found[ADMA_EAGER_LIMIT_WAYS];
	struct world world;

	world_begin(&world, &quick_lines);
	world.mechanisms.kind = 2; /* nothing is known of these */
	settle(&world, 9 * KIB);
	carry_many(&world, 9 * KIB, 300, true);
	REQUIRE(carry_many(&world, 9 * KIB, 100, true) > 90); /* what a class beside it has learnt is not enough */
	REQUIRE(!carry_many(&world, 16 * KIB, 300, true));
	REQUIRE(adma_eager_limit_tell(&world.ep, 16 * KIB, found) == 2 && !found[0].samples);
	settle(&world, 16 * KIB);
	carry_many(&world, 16 * KIB, 900, true);
	REQUIRE(carry_many(&world, 16 * KIB, 100, true) > 90);
	world_end(&world);
}

static void test_what_cannot_be_read_is_not_asked_for(void)
{
	struct world world;

	world_begin(&world, &quick_lines);
	reaches_buffers = false;
	REQUIRE(!carry_many(&world, 9 * KIB, 300, true));
	REQUIRE(!atomic_load(&world.segment->buffered));
	reaches_buffers = true;
	world_end(&world);
}

static void test_what_is_not_learnt(void)
{
	struct world world;

	world_begin(&world, &quick_lines);
	atomic_store(&world.segment->buffered, UINT32_MAX); /* the peer lies */
	REQUIRE(adma_eager_limit_asks(&world.ep, ADMA_EAGER_MAX + 1));
	REQUIRE(adma_eager_limit_asks(&world.ep, ADMA_BUFFER_SIZE));
	REQUIRE(!adma_eager_limit_asks(&world.ep, ADMA_EAGER_MAX));
	REQUIRE(!adma_eager_limit_asks(&world.ep, ADMA_BUFFER_SIZE + 1));
	REQUIRE(!adma_eager_limit_asks(&world.ep, UINT64_MAX));
	world.ep.connection.config.forced = ADMA_MECH_SHARED;
	REQUIRE(!adma_eager_limit_asks(&world.ep, 16 * KIB));
	world.ep.connection.config.forced = ADMA_MECH_NONE;
	world.ep.connection.config.learns = false;
	REQUIRE(!adma_eager_limit_asks(&world.ep, 16 * KIB));
	world_end(&world);
}

int main(void)
{
	test_each_size_is_learnt();
	test_a_change_is_noticed();
	test_only_what_was_waited_for_is_a_sample();
	test_a_new_channel_is_told_at_once();
	test_a_try_is_taken_back();
	test_mechanisms_come_first();
	test_what_cannot_be_read_is_not_asked_for();
	test_what_is_not_learnt();
	puts("eager_limit: each size is learnt, changes are noticed, and only what was waited for counts");
	return 0;
}
