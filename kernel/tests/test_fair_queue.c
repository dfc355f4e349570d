/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fair_queue.c - whose turn it is: chosen cases, and many random sequences. */
#include <linux/list.h>

#include "fair_queue.h"
#include "require.h"

#define MANY 400

static const struct adma_fair_queue_limits limits = { .most = { 60, 40, 16, 4 } };

struct item {
	struct list_head node;
	struct adma_fair_queue *process;
	enum { IDLE, WAITS, RUNS } state;
};

static void wait_in(struct adma_fair_queue *process, struct item *item)
{
	item->process = process;
	item->state = WAITS;
	adma_fair_queue_wait(process, &item->node);
}

static struct item *next(struct adma_fair_queue *all)
{
	struct list_head *node = adma_fair_queue_next(all, &limits);
	struct item *item;

	if (!node)
		return NULL;
	item = list_entry(node, struct item, node);
	REQUIRE(item->state == WAITS);
	item->state = RUNS;
	return item;
}

static void leave(struct item *item)
{
	REQUIRE(item->state == RUNS);
	item->state = IDLE;
	adma_fair_queue_leave(item->process);
}

/* Lets run what may, and returns how many that were. */
static unsigned int run_all(struct adma_fair_queue *all)
{
	unsigned int count = 0;

	while (next(all))
		count++;
	return count;
}

/* ---- chosen cases ---- */

static void test_one_process(void)
{
	struct adma_fair_queue all, owner, user, process;
	struct item items[8];
	unsigned int i;

	adma_fair_queue_init(&all, NULL);
	adma_fair_queue_init(&owner, &all);
	adma_fair_queue_init(&user, &owner);
	adma_fair_queue_init(&process, &user);
	REQUIRE(!next(&all));
	for (i = 0; i < 8; i++)
		wait_in(&process, &items[i]);
	for (i = 0; i < 4; i++)
		REQUIRE(next(&all) == &items[i]);
	REQUIRE(!next(&all));
	leave(&items[2]);
	adma_fair_queue_withdraw(&process, &items[4].node);
	REQUIRE(next(&all) == &items[5]);
	REQUIRE(!next(&all) && all.running == 4 && process.running == 4);
}

/* Users of one owner, and processes of one user, take turns whatever each of them has waiting. */
static void test_turns(void)
{
	struct adma_fair_queue all, owner, users[2], processes[2];
	struct item many[MANY], few[2];
	unsigned int i;

	adma_fair_queue_init(&all, NULL);
	adma_fair_queue_init(&owner, &all);
	for (i = 0; i < 2; i++) {
		adma_fair_queue_init(&users[i], &owner);
		adma_fair_queue_init(&processes[i], &users[i]);
	}
	for (i = 0; i < MANY; i++)
		wait_in(&processes[0], &many[i]);
	for (i = 0; i < 2; i++)
		wait_in(&processes[1], &few[i]);
	REQUIRE(next(&all) == &many[0]);
	REQUIRE(next(&all) == &few[0]);
	REQUIRE(next(&all) == &many[1]);
	REQUIRE(next(&all) == &few[1]);
	REQUIRE(next(&all) == &many[2]);
}

struct crowd {
	struct adma_fair_queue owner, users[4], processes[4][4];
	struct item items[4][4][5];
};

/* Four users with four processes each, and more waiting in each than may run. */
static void crowd_wait(struct crowd *crowd, struct adma_fair_queue *all)
{
	unsigned int i, j, k;

	adma_fair_queue_init(&crowd->owner, all);
	for (i = 0; i < 4; i++) {
		adma_fair_queue_init(&crowd->users[i], &crowd->owner);
		for (j = 0; j < 4; j++) {
			adma_fair_queue_init(&crowd->processes[i][j], &crowd->users[i]);
			for (k = 0; k < 5; k++)
				wait_in(&crowd->processes[i][j], &crowd->items[i][j][k]);
		}
	}
}

/*
 * Of 60 that may run, 29 owners take what they can get, and nothing ever ends. Whoever comes next
 * gets something at once.
 */
static void test_newcomer(void)
{
	static struct crowd crowds[29];
	struct adma_fair_queue all, owner, user, process;
	struct item item;
	unsigned int i;

	adma_fair_queue_init(&all, NULL);
	for (i = 0; i < 29; i++) {
		crowd_wait(&crowds[i], &all);
		run_all(&all);
		if (!i)
			REQUIRE(all.running == 15); /* a quarter of what may run in all */
		adma_fair_queue_init(&owner, &all);
		adma_fair_queue_init(&user, &owner);
		adma_fair_queue_init(&process, &user);
		wait_in(&process, &item);
		REQUIRE(next(&all) == &item);
		leave(&item);
	}
}

/* ---- random sequences ---- */

#define OWNERS    3
#define USERS     9
#define PROCESSES 27

struct world {
	struct adma_fair_queue all, owners[OWNERS], users[USERS], processes[PROCESSES];
	struct item items[MANY];
	unsigned int waiting, running;
};

static void world_check(const struct world *world)
{
	unsigned int i;

	REQUIRE(world->all.running == world->running);
	REQUIRE(world->running <= limits.most[ADMA_FAIR_QUEUE_ALL]);
	for (i = 0; i < OWNERS; i++)
		REQUIRE(world->owners[i].running <= limits.most[ADMA_FAIR_QUEUE_OWNER]);
	for (i = 0; i < USERS; i++)
		REQUIRE(world->users[i].running <= limits.most[ADMA_FAIR_QUEUE_USER]);
	for (i = 0; i < PROCESSES; i++)
		REQUIRE(world->processes[i].running <= limits.most[ADMA_FAIR_QUEUE_PROCESS]);
}

static void world_step(struct world *world, unsigned long long *seed)
{
	struct item *item = &world->items[draw(seed) % MANY];

	switch (item->state) {
	case IDLE:
		wait_in(&world->processes[draw(seed) % PROCESSES], item);
		world->waiting++;
		break;
	case WAITS:
		if (draw(seed) % 4)
			break;
		adma_fair_queue_withdraw(item->process, &item->node);
		item->state = IDLE;
		world->waiting--;
		break;
	case RUNS:
		leave(item);
		world->running--;
		break;
	}
	if (draw(seed) % 2 && next(&world->all)) {
		world->waiting--;
		world->running++;
	}
}

/* When nothing runs any more, all that waits gets its turn. */
static void world_end(struct world *world)
{
	struct item *item;
	unsigned int i;

	for (i = 0; i < MANY; i++)
		if (world->items[i].state == RUNS)
			leave(&world->items[i]);
	for (; world->waiting; world->waiting--) {
		item = next(&world->all);
		REQUIRE(item);
		leave(item);
	}
	REQUIRE(!next(&world->all) && !world->all.running);
}

static void test_random(unsigned long long seed)
{
	static struct world world;
	unsigned int i;

	world = (struct world){ 0 };
	adma_fair_queue_init(&world.all, NULL);
	for (i = 0; i < OWNERS; i++)
		adma_fair_queue_init(&world.owners[i], &world.all);
	for (i = 0; i < USERS; i++)
		adma_fair_queue_init(&world.users[i], &world.owners[i % OWNERS]);
	for (i = 0; i < PROCESSES; i++)
		adma_fair_queue_init(&world.processes[i], &world.users[i % USERS]);
	for (i = 0; i < 5000; i++) {
		world_step(&world, &seed);
		world_check(&world);
	}
	world_end(&world);
}

int main(void)
{
	unsigned long long seed;

	test_one_process();
	test_turns();
	test_newcomer();
	for (seed = 1; seed <= 100; seed++)
		test_random(seed);
	puts("fair_queue: all checks passed");
	return 0;
}
