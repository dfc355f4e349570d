/* SPDX-License-Identifier: BSD-3-Clause */
/* test_match.c - which read meets which write: cases, and many sequences that were drawn. */
#include <errno.h>

#include "match_rules.h"
#include "require.h"

static struct adma_party party(bool write, u64 key, u32 kind, u64 length)
{
	return (struct adma_party){
		.key = key,
		.length = length,
		.note = { write ? length + 1 : 0, write ? length + 2 : 0 },
		.kind = kind,
		.write = write,
	};
}

static void test_order(void)
{
	struct adma_party first = party(true, 0, 1, 10), second = party(true, 0, 1, 20);
	struct adma_party read = party(false, 0, 1, 100), other = party(false, 0, 1, 100);
	struct adma_party *met;
	struct adma_match match;
	struct list_head refused;

	adma_match_init(&match);
	INIT_LIST_HEAD(&refused);
	REQUIRE(!adma_match_post(&match, &first, &met, &refused) && !met);
	REQUIRE(!adma_match_post(&match, &second, &met, &refused) && !met);
	REQUIRE(adma_match_peek(&match) == &first);
	REQUIRE(!adma_match_post(&match, &read, &met, &refused) && met == &first);
	REQUIRE(read.length == 10 && read.note[0] == 11 && read.note[1] == 12);
	REQUIRE(!adma_match_post(&match, &other, &met, &refused) && met == &second);
	REQUIRE(!adma_match_peek(&match) && list_empty(&refused));
}

/* Reads that do not fit leave, in their order; the write goes on to the one that does. */
static void test_refusals(void)
{
	struct adma_party kind = party(false, 0, 2, 100), tight = party(false, 0, 1, 49);
	struct adma_party fits = party(false, 0, 1, 50), write = party(true, 0, 1, 50);
	struct adma_party *met;
	struct adma_match match;
	struct list_head refused;

	adma_match_init(&match);
	INIT_LIST_HEAD(&refused);
	REQUIRE(!adma_match_post(&match, &kind, &met, &refused));
	REQUIRE(!adma_match_post(&match, &tight, &met, &refused));
	REQUIRE(!adma_match_post(&match, &fits, &met, &refused));
	REQUIRE(!adma_match_post(&match, &write, &met, &refused) && met == &fits);
	REQUIRE(refused.next == &kind.node && refused.next->next == &tight.node);
	REQUIRE(kind.error == -EPROTOTYPE && tight.error == -EMSGSIZE && !fits.error);
	REQUIRE(tight.length == 50);
}

static void test_keys(void)
{
	struct adma_party write = party(true, 7, 1, 50), twin = party(true, 7, 1, 50);
	struct adma_party tight = party(false, 7, 1, 10), fits = party(false, 7, 1, 50);
	struct adma_party line = party(false, 0, 1, 50);
	struct adma_party *met;
	struct adma_match match;
	struct list_head refused;

	adma_match_init(&match);
	INIT_LIST_HEAD(&refused);
	REQUIRE(!adma_match_post(&match, &write, &met, &refused) && !met);
	REQUIRE(adma_match_post(&match, &twin, &met, &refused) == -EEXIST);
	REQUIRE(!adma_match_peek(&match));
	REQUIRE(!adma_match_post(&match, &line, &met, &refused) && !met);
	REQUIRE(!adma_match_post(&match, &tight, &met, &refused) && !met);
	REQUIRE(tight.error == -EMSGSIZE && refused.next == &tight.node);
	REQUIRE(!adma_match_post(&match, &fits, &met, &refused) && met == &write);
}

/* Few keys, kinds and lengths, so that they meet, and refuse, all the time. */
static void test_drawn(void)
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
	test_drawn();
	puts("match: all is as it should be");
	return 0;
}
