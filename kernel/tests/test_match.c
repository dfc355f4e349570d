/* SPDX-License-Identifier: BSD-3-Clause */
/* test_match.c - which read matches which write: chosen cases, and many random sequences. */
#include <errno.h>

#include "match_rules.h"
#include "require.h"

static struct adma_envelope envelope(bool write, u64 key, u32 kind, u64 length)
{
	return (struct adma_envelope){
		.key = key,
		.length = length,
		.note = { write ? length + 1 : 0, write ? length + 2 : 0 },
		.kind = kind,
		.write = write,
	};
}

static void test_order(void)
{
	struct adma_envelope first = envelope(true, 0, 1, 10), second = envelope(true, 0, 1, 20);
	struct adma_envelope read = envelope(false, 0, 1, 100), other = envelope(false, 0, 1, 100);
	struct adma_envelope *matched;
	struct adma_match match;
	struct list_head refused;

	adma_match_init(&match);
	INIT_LIST_HEAD(&refused);
	REQUIRE(!adma_match_post(&match, &first, &matched, &refused) && !matched);
	REQUIRE(!adma_match_post(&match, &second, &matched, &refused) && !matched);
	REQUIRE(adma_match_peek(&match) == &first);
	REQUIRE(!adma_match_post(&match, &read, &matched, &refused) && matched == &first);
	REQUIRE(read.length == 10 && read.note[0] == 11 && read.note[1] == 12);
	REQUIRE(!adma_match_post(&match, &other, &matched, &refused) && matched == &second);
	REQUIRE(!adma_match_peek(&match) && list_empty(&refused));
}

/* A write refuses reads, in their order, until it matches one. */
static void test_refusals(void)
{
	struct adma_envelope kind = envelope(false, 0, 2, 100), tight = envelope(false, 0, 1, 49);
	struct adma_envelope fits = envelope(false, 0, 1, 50), write = envelope(true, 0, 1, 50);
	struct adma_envelope *matched;
	struct adma_match match;
	struct list_head refused;

	adma_match_init(&match);
	INIT_LIST_HEAD(&refused);
	REQUIRE(!adma_match_post(&match, &kind, &matched, &refused));
	REQUIRE(!adma_match_post(&match, &tight, &matched, &refused));
	REQUIRE(!adma_match_post(&match, &fits, &matched, &refused));
	REQUIRE(!adma_match_post(&match, &write, &matched, &refused) && matched == &fits);
	REQUIRE(refused.next == &kind.node && refused.next->next == &tight.node);
	REQUIRE(kind.error == -EPROTOTYPE && tight.error == -EMSGSIZE && !fits.error);
	REQUIRE(tight.length == 50);
}

static void test_keys(void)
{
	struct adma_envelope write = envelope(true, 7, 1, 50), twin = envelope(true, 7, 1, 50);
	struct adma_envelope tight = envelope(false, 7, 1, 10), fits = envelope(false, 7, 1, 50);
	struct adma_envelope keyless = envelope(false, 0, 1, 50);
	struct adma_envelope *matched;
	struct adma_match match;
	struct list_head refused;

	adma_match_init(&match);
	INIT_LIST_HEAD(&refused);
	REQUIRE(!adma_match_post(&match, &write, &matched, &refused) && !matched);
	REQUIRE(adma_match_post(&match, &twin, &matched, &refused) == -EEXIST);
	REQUIRE(!adma_match_peek(&match));
	REQUIRE(!adma_match_post(&match, &keyless, &matched, &refused) && !matched);
	REQUIRE(!adma_match_post(&match, &tight, &matched, &refused) && !matched);
	REQUIRE(tight.error == -EMSGSIZE && refused.next == &tight.node);
	REQUIRE(!adma_match_post(&match, &fits, &matched, &refused) && matched == &write);
}

/* There are few keys, kinds and lengths, so that matches and refusals are frequent. */
static void test_random(void)
{
	unsigned long long seed = 20231109;
	struct world *world;
	struct step step;
	unsigned int i, j;

	for (i = 0; i < 3000; i++) {
		world = world_make();
		for (j = 0; j < 250; j++) {
			step.write = draw(&seed) % 2;
			step.key = draw(&seed) % 3 ? 0 : draw(&seed) % 200;
			step.kind = !(draw(&seed) % 8);
			step.length = draw(&seed) % 4;
			world_post(world, &step);
			if (!(draw(&seed) % 6))
				world_cancel(world, draw(&seed));
			if (!(draw(&seed) % 200))
				world_drain(world);
		}
		world_drain(world);
		world_free(world);
	}
}

int main(void)
{
	test_order();
	test_refusals();
	test_keys();
	test_random();
	puts("match: all checks passed");
	return 0;
}
