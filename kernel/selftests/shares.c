/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shares.c - what users have to share: waits for page faults, requests, pinned memory. One user
 * takes all that he gets, under many uids of a user namespace of his or as many users, and others
 * have to get on. Needs root.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "device.h"
#include "knob.h"
#include "lazy.h"
#include "tap.h"

#define PIECE       20000ul         /* more than is copied in the later poster's call */
#define STEP        (5 * PAGE)      /* from one piece to the next */
#define FIRST_USER  20000     /* uids that nobody else uses */
#define FIRST_INNER 200000    /* uids of the user namespace */
#define MEMLOCK     (1ul << 20)

/* What the processes of a test count. */
struct counts {
	uint32_t ready;   /* processes that have posted */
	uint32_t faults;  /* that somebody waits for */
	uint32_t charged; /* requests */
};

static struct counts *counts;
static int device;

static void add(uint32_t *count, uint32_t n)
{
	__atomic_add_fetch(count, n, __ATOMIC_SEQ_CST);
}

static void await(const uint32_t *count, uint32_t n)
{
	while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < n)
		usleep(1000);
}

static void prepare(void)
{
	if (getuid())
		tap_skip("not root");
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counts != MAP_FAILED);
	device = device_open();
	if (!(info(device).features & ADMA_FEATURE_DMA))
		tap_skip("no DMA channel");
	CHECK(knob("/proc/sys/vm/unprivileged_userfaultfd", "1"));
}

/* ---- processes of many users ---- */

struct crowd {
	uid_t first;
	int users, processes; /* of each user */
	void (*run)(void);
};

static void crowd_member(void *argument)
{
	const struct crowd *crowd = argument;

	crowd->run();
	pause();
}

static void crowd_start(void *argument)
{
	const struct crowd *crowd = argument;

	for (int i = 0; i < crowd->users * crowd->processes; i++) {
		int child = fork();

		CHECK(child >= 0);
		if (child)
			continue;
		CHECK(!setuid(crowd->first + (uid_t)(i / crowd->processes)));
		crowd_member((void *)crowd);
	}
}

struct inside {
	const struct crowd *crowd;
	int ready[2], mapped[2]; /* pipes */
};

static void crowd_start_inside(void *argument)
{
	struct inside *inside = argument;
	char byte = 0;

	CHECK(!setuid(FIRST_USER - 1));
	if (unshare(CLONE_NEWUSER))
		byte = 1;
	CHECK(write(inside->ready[1], &byte, 1) == 1);
	CHECK(read(inside->mapped[0], &byte, 1) == 1);
	CHECK(!setuid(0));
	crowd_start((void *)inside->crowd);
	pause();
}

static void write_map(int child, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", child, name);
	CHECK(knob(path, text));
}

/* The same in a user namespace that an unprivileged user has made. */
static void crowd_start_in_namespace(const struct crowd *crowd)
{
	struct inside inside = { .crowd = crowd };
	char text[64], byte;
	int child;

	CHECK(!pipe(inside.ready) && !pipe(inside.mapped));
	child = spawn(crowd_start_inside, &inside);
	CHECK(read(inside.ready[0], &byte, 1) == 1);
	if (byte)
		tap_skip("no user namespaces");
	snprintf(text, sizeof(text), "0 %d 60000\n", FIRST_INNER);
	write_map(child, "uid_map", text);
	CHECK(write(inside.mapped[1], &byte, 1) == 1);
}

/* ---- page faults that nobody serves ---- */

#define LAZY_PIECES 4

/* Posts messages from memory that never comes, and counts the page faults that are waited for. */
static void wait_for_faults(void)
{
	struct lazy lazy = lazy_make(LAZY_PIECES * STEP);
	struct pollfd item = { .fd = lazy.fd, .events = POLLIN };
	struct uffd_msg message;
	char *to = map(lazy.length);
	int fds[2];

	pair_of(device, fds, ADMA_BY_CPU);
	for (uint32_t i = 0; i < LAZY_PIECES; i++) {
		SAME(post_write(.fd = fds[0], .entry = i, .buffer = lazy.at + i * STEP, .length = PIECE), 0);
		SAME(post_read(.fd = fds[1], .entry = i, .buffer = to + i * STEP, .length = PIECE), 0);
	}
	add(&counts->ready, 1);
	while (poll(&item, 1, -1) == 1)
		if (read(lazy.fd, &message, sizeof(message)) == sizeof(message))
			add(&counts->faults, 1);
}

static void get_on(void *argument)
{
	int fds[2];

	if (argument)
		CHECK(!setuid(*(const uid_t *)argument));
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_DMA; policy++) {
		pair_of(device, fds, policy);
		exchange(fds, 1, PIECE);
		exchange(fds, 2, LARGE); /* memory has to be fetched for it */
	}
}

static void others_get_on(void)
{
	uid_t newcomer = FIRST_USER + 1000;

	join(spawn(get_on, NULL));
	join(spawn(get_on, &newcomer));
}

/* More users than a work queue has room for, if each had all waits that one user may have. */
static void test_faults_of_users(void)
{
	const struct crowd crowd = { FIRST_USER, 36, 4, wait_for_faults };

	prepare();
	crowd_start((void *)&crowd);
	await(&counts->ready, 36 * 4);
	await(&counts->faults, 36);
	others_get_on();
}

static void test_faults_of_namespace(void)
{
	const struct crowd crowd = { 1, 36, 4, wait_for_faults };

	prepare();
	crowd_start_in_namespace(&crowd);
	await(&counts->ready, 36 * 4);
	await(&counts->faults, 64); /* of four users, which is also a quarter of what may wait in all */
	others_get_on();
	SAME(counts->faults, 64);
}

/* ---- requests ---- */

static void post_reads(void)
{
	char *to = map(PAGE);
	int fds[2];

	pair_of(device, fds, ADMA_BY_CPU);
	for (uint32_t i = 0; i < 20; i++) {
		int error = post_read(.fd = fds[0], .entry = i, .buffer = to, .length = 1);

		if (error) {
			SAME(error, -EDQUOT);
			break;
		}
		add(&counts->charged, 1);
	}
	add(&counts->ready, 1);
}

static void test_requests_of_namespace(void)
{
	const struct crowd crowd = { 1, 8, 1, post_reads };
	unsigned long limit;

	prepare();
	limit = parameter_set("requests_max", 10);
	crowd_start_in_namespace(&crowd);
	await(&counts->ready, 8);
	parameter_set("requests_max", limit);
	SAME(counts->charged, 40); /* of four users */
}

/* ---- pinned memory ---- */

static void keep_pinned(void)
{
	const struct rlimit limit = { MEMLOCK, MEMLOCK };
	char *from = filled_pages(MEMLOCK / 2 - 2 * PAGE, 1), *to = map(MEMLOCK / 2);
	int fds[2];

	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
	pair_of(device, fds, ADMA_BY_DMA);
	SAME(post_write(.fd = fds[0], .buffer = from, .length = MEMLOCK / 2 - 2 * PAGE), 0);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = MEMLOCK / 2), 0);
	SAME(wait_for(fds[1], 0, 1).status, 0);
	add(&counts->ready, 1);
}

static void test_pins_of_namespace(void)
{
	const struct crowd crowd = { 1, 6, 1, keep_pinned };

	prepare();
	crowd_start_in_namespace(&crowd);
	await(&counts->ready, 6);
	/* Pins of former tests go when the last work of their processes is done. */
	while (pins_cached() > MEMLOCK)
		usleep(1000);
}

static const struct test tests[] = {
	{ "page faults of many users", test_faults_of_users, 120 },
	{ "page faults of one namespace", test_faults_of_namespace, 120 },
	{ "requests of one namespace", test_requests_of_namespace, 0 },
	{ "pins of one namespace", test_pins_of_namespace, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
