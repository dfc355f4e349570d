// SPDX-License-Identifier: BSD-3-Clause
/*
 * engine_copies.c CYCLES: threads post, check, cancel and await copies within memory of their own, on
 * the engine `dmaengine` over a test double of the device. Each thread makes the same copies in a
 * second memory, one after the other. Exit status 0: the two never differed, and nothing hung.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adma_copy.h"
#include "base/clock.h"
#include "device_double.h"

enum { MEMORY = 1 << 20, COPIES = 400, ROUNDS = 10, USERS = 3 };

#define HANG_NS 60000000000ll
#define SLICE_NS 5000000

static void require(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "not so: %s\n", what);
	abort();
}

struct user {
	unsigned int dice;
	uint8_t *memory, *model;
	struct adma_copy copies[COPIES];
	struct adma_copy *all[COPIES];
};

static unsigned int roll(struct user *user, unsigned int sides)
{
	return (unsigned int)rand_r(&user->dice) % sides;
}

static void post(struct user *user, struct adma_copy *copy)
{
	static const uint32_t sizes[] = {100, 5000, 17000, 40000, 150000};
	uint32_t n = sizes[roll(user, 5)], to = roll(user, MEMORY - n), from = roll(user, MEMORY - n);
	int rc;

	adma_plan_bytes(&copy->plan, user->memory + to, user->memory + from, n);
	while ((rc = adma_copy_post(copy)) == -EAGAIN)
		adma_copy_wait_room(SLICE_NS);
	require(rc >= 0, "a post succeeds");
	if (roll(user, 16) || !adma_copy_cancel(copy))
		memmove(user->model + to, user->model + from, n);
	else
		require(copy->error == ECANCELED, "what was cancelled says so");
}

static void await(struct user *user)
{
	int64_t end = adma_now() + HANG_NS;

	if (roll(user, 2)) {
		while (!adma_copy_wait(user->all, COPIES, COPIES, SLICE_NS))
			require(adma_now() < end, "waiting comes to an end");
		return;
	}
	for (int i = 0; i < COPIES; i++)
		while (!adma_copy_check(&user->copies[i])) {
			require(adma_now() < end, "checking comes to an end");
			if (!roll(user, 4))
				usleep(50);
		}
}

static void *use(void *argument)
{
	struct user *user = argument;

	for (int i = 0; i < MEMORY; i++)
		user->memory[i] = user->model[i] = (uint8_t)roll(user, 256);
	for (int round = 0; round < ROUNDS; round++) {
		memset(user->copies, 0, sizeof(user->copies));
		for (int i = 0; i < COPIES; i++) {
			post(user, user->all[i] = &user->copies[i]);
			if (!roll(user, 8))
				(void)adma_copy_check(&user->copies[roll(user, (unsigned int)i + 1)]);
		}
		await(user);
		for (int i = 0; i < COPIES; i++)
			require(!user->copies[i].error || user->copies[i].error == ECANCELED, "no copy fails");
		require(!memcmp(user->memory, user->model, MEMORY), "the order is that of the posts");
	}
	return NULL;
}

static void cycle(unsigned int number)
{
	const struct adma_engine_config config = {
		.engine = ADMA_ENGINE_DMA,
		.queues = 1 + number % 2,
		.policy = number / 2 % 2,
		.callers_help = number % 3 != 0,
		.at_once = number % 2 ? 16384 : 0,
	};
	struct user *users = calloc(USERS, sizeof(*users));
	pthread_t threads[USERS];

	test_device_trouble(number % 4 == 3 ? 0 : 4);
	require(!adma_engine_configure(&config), "nothing is outstanding");
	for (unsigned int i = 0; i < USERS; i++) {
		users[i].dice = number * USERS + i;
		users[i].memory = malloc(MEMORY);
		users[i].model = malloc(MEMORY);
		require(!pthread_create(&threads[i], NULL, use, &users[i]), "there are threads");
	}
	for (unsigned int i = 0; i < USERS; i++) {
		pthread_join(threads[i], NULL);
		free(users[i].memory);
		free(users[i].model);
	}
	free(users);
}

static int slept_on(unsigned int us)
{
	struct adma_engine_stats before, after;

	adma_engine_get_stats(&before);
	usleep(us);
	adma_engine_get_stats(&after);
	return before.wakes == after.wakes && before.sleeps == after.sleeps;
}

/* The submitter does not wake again and again while there is nothing to do. */
static void rest(void)
{
	int64_t end = adma_now() + HANG_NS;

	while (!slept_on(300000))
		require(adma_now() < end, "idle, it sleeps");
}

int main(int argc, char **argv)
{
	struct adma_engine_stats stats;

	for (int i = 0; i < (argc > 1 ? atoi(argv[1]) : 6); i++) {
		cycle((unsigned int)i);
		rest();
	}
	adma_engine_get_stats(&stats);
	require(!stats.outstanding && stats.copies_device && stats.refused_device && !stats.failed, "the counts");
	require(!adma_engine_stop(), "it stops");
	printf("%lu copies, %lu by the device, %lu refused\n", (unsigned long)stats.copies,
	       (unsigned long)stats.copies_device, (unsigned long)stats.refused_device);
	return 0;
}
