/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.c - random commands. Processes share pairs, and do random things to them and to the
 * memory that they posted. Allocations fail meanwhile, if the kernel has fault injection, and
 * some processes are killed. In the end nothing may be left pending. ADMA_SECONDS (10) is the
 * duration, and ADMA_SEED the seed of the random numbers, which is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "tap.h"

#define PROCESSES   4
#define PAIRS       2 /* that all processes share */
#define OWN         (1 + 2 * PAIRS)
#define DESCRIPTORS (OWN + 2) /* of a process: the device, the shared pairs, and a pair of its own */
#define PAST        8  /* own pairs whose requests may still be pending */
#define ENTRIES     8  /* few, so that requests match */
#define PIECES      4  /* of a post */
#define PIECE       (64 << 10)
#define MEMORY      ((size_t)(OWN + 2 * PAST) * ENTRIES * PIECES * PIECE)
#define FAIL        3  /* percent of the allocations */

static uint64_t state; /* of the random numbers of this process */
static int fds[DESCRIPTORS];
static unsigned own; /* pairs so far */
static char *memory;
static void *entries;
static bool failing;

static uint32_t any(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static bool rarely(void)
{
	return !any(16);
}

static int any_fd(void)
{
	return fds[any(DESCRIPTORS)];
}

/*
 * The memory that a request may write to. Each request has memory of its own while it can be
 * pending. To write to the same memory twice at a time is allowed, but the DMA debugging of a debug
 * kernel reports it.
 */
static char *piece(uint32_t descriptor, uint64_t cookie, uint32_t number)
{
	uint32_t place = descriptor < OWN ? descriptor : descriptor + own % PAST * 2;
	uint32_t request = place * ENTRIES + (uint32_t)cookie % ENTRIES;

	return memory + ((size_t)request * PIECES + number) * PIECE;
}

static char *any_piece(void)
{
	return piece(any(DESCRIPTORS), any(ENTRIES), any(PIECES));
}

/* ---- arguments, most of them valid ---- */

static uint64_t any_cookie(void)
{
	return ADMA_COOKIE(rarely() ? any(3) : 1 + any(1 << 30), rarely() ? 1024 + any(1000) : any(ENTRIES));
}

/* A part of that piece; sometimes memory that is not mapped. */
static struct adma_iovec any_part(const char *whole)
{
	static const uint32_t lengths[] = { 1, 64, 5000, 20000, PIECE };
	struct adma_iovec part;

	part.length = any(lengths[any(5)]);
	part.base = (uintptr_t)whole + (any(2) ? any(PIECE - (uint32_t)part.length) : 0);
	if (!any(40))
		part.base = any(2) ? any(4096) : -(uint64_t)any(1 << 20);
	if (!any(40))
		part.length += 1ull << (30 + any(34));
	return part;
}

static void do_post(void)
{
	struct adma_iovec iov[PIECES];
	struct adma_post post = {
		.size = sizeof(post),
		.flags = any(2),
		.op = 1 + any(2),
		.kind = !any(8),
		.cookie = any_cookie(),
		.key = any(3) ? 0 : any(4),
		.iov = (uintptr_t)iov,
		.iovcnt = any(PIECES + 1),
	};
	uint32_t at = any(DESCRIPTORS);

	for (uint32_t i = 0; i < PIECES; i++)
		iov[i] = any_part(post.op == ADMA_READ ? piece(at, post.cookie, i) : any_piece());
	if (post.op == ADMA_WRITE)
		post.note[0] = any(100);
	command(fds[at], ADMA_IOC_POST, &post);
}

static void do_copy(void)
{
	struct adma_copy copy = { .size = sizeof(copy), .cookie = any_cookie(), .policy = any(3) };
	uint32_t at = any(DESCRIPTORS);
	struct adma_iovec to = any_part(piece(at, copy.cookie, 0));

	copy.destination = to.base;
	copy.length = to.length;
	copy.source = any_part(any_piece()).base;
	command(fds[at], ADMA_IOC_COPY, &copy);
}

static void do_look(void)
{
	static const unsigned long commands[] = { ADMA_IOC_CHECK, ADMA_IOC_WAIT, ADMA_IOC_CANCEL };
	struct adma_check check = { .size = sizeof(check), .cookie = any_cookie() };
	unsigned long which = commands[any(3)];

	if (which == ADMA_IOC_CANCEL)
		check.size = sizeof(struct adma_cancel);
	if (which == ADMA_IOC_WAIT)
		check.timeout_ns = any(1000000);
	command(any_fd(), which, &check);
}

/* A random command, with random bytes. */
static void do_garbage(void)
{
	unsigned char bytes[256];
	uint32_t number = any(24), size = any(sizeof(bytes));

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = any(3) ? 0 : (unsigned char)any(256);
	if (any(4))
		memcpy(bytes, &size, sizeof(size));
	if (number != _IOC_NR(ADMA_IOC_WAIT)) /* it might wait forever */
		command(any_fd(), _IOC(any(4), ADMA_IOC_MAGIC, number, size), bytes);
}

/* ---- memory ---- */

static void *map_at(void *where, size_t length)
{
	return mmap(where, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0), -1, 0);
}

static void do_memory(void)
{
	char *whole = any_piece(), *page = whole + any(PIECE / 4096) * 4096;
	size_t length = any(2) ? 4096 : (size_t)(whole + PIECE - page);

	switch (any(7)) {
	case 0: munmap(page, length); break;
	case 1: mprotect(page, length, PROT_READ); break;
	case 2: mprotect(page, length, PROT_READ | PROT_WRITE); break;
	case 3: madvise(page, length, MADV_DONTNEED); break;
	case 4: mremap(whole, PIECE, (size_t)(page - whole) + 4096, 0); break;
	default: map_at(whole, PIECE); break; /* if it fails there is a hole */
	}
}

static void do_entries(void)
{
	if (entries && entries != MAP_FAILED)
		munmap(entries, 32768);
	entries = mmap(NULL, 32768, PROT_READ, MAP_SHARED, any_fd(), 0);
}

/* ---- descriptors and processes ---- */

static void do_descriptors(void)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = any(3) };
	int *at = &fds[OWN];
	uint32_t one = any(2);

	if (any(2)) {
		close(at[one]);
		at[one] = -1;
	} else if (!command(fds[0], ADMA_IOC_PAIR, &pair)) {
		for (int i = 0; i < 2; i++) {
			close(at[i]);
			at[i] = pair.fd[i];
		}
		own++;
	}
}

static void do_poll(void)
{
	struct pollfd item = { .fd = any_fd(), .events = POLLIN | POLLPRI };
	uint64_t count;

	if (poll(&item, 1, 0) > 0 && (item.revents & POLLIN) && read(item.fd, &count, 8) == 8)
		return;
	command(item.fd, ADMA_IOC_PEEK, &(struct adma_peek){ .size = sizeof(struct adma_peek) });
}

static void do_anything(void);

static void do_fork(void)
{
	pid_t child = fork();

	if (!child) {
		for (uint32_t n = any(20); n; n--)
			do_anything();
		_exit(0);
	}
	if (child > 0 && any(2))
		kill(child, SIGKILL);
	if (child > 0)
		waitpid(child, NULL, 0);
}

static void do_anything(void)
{
	uint32_t what = any(100);

	if (what < 50)
		do_post();
	else if (what < 58)
		do_copy();
	else if (what < 70)
		do_look();
	else if (what < 76)
		do_garbage();
	else if (what < 88)
		do_memory();
	else if (what < 90)
		do_entries();
	else if (what < 94)
		do_descriptors();
	else if (what < 99)
		do_poll();
	else
		do_fork();
}

/* What one process does until it is killed. Some change to a user who may pin little. */
static void process_run(uint64_t seed)
{
	const struct rlimit little = { 64 << 10, 64 << 10 };

	state = seed;
	memory = map_at(NULL, MEMORY);
	if (failing)
		faults_own();
	if (any(2)) {
		setrlimit(RLIMIT_MEMLOCK, &little);
		if (setuid(65534))
			_exit(1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* in case the test exceeds its time limit */
	for (;;)
		do_anything();
}

/* ---- the test ---- */

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static pid_t process_start(uint64_t seed)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child) {
		setpgid(0, 0); /* with its children */
		process_run(seed);
	}
	setpgid(child, child);
	return child;
}

static void process_kill(pid_t child)
{
	kill(-child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void open_all(void)
{
	for (int i = 0; i < DESCRIPTORS; i++)
		fds[i] = -1;
	fds[0] = device_open();
	for (int i = 0; i < PAIRS; i++)
		pair_open(&fds[1 + 2 * i], i % 2 ? ADMA_BY_CPU : ADMA_BY_ANY);
}

static void close_all(void)
{
	for (int i = 0; i < DESCRIPTORS; i++)
		close(fds[i]);
}

/* Waits until all that was posted is completed, and prints counters. */
static void wait_until_all_completed(void)
{
	int fd = device_open();
	struct adma_counters c;

	do {
		c = counters(fd, ADMA_COUNTERS_MODULE);
	} while (c.posts != c.done + c.failed);
	SAME(c.pages_stuck, 0);
	printf("# %llu posts, %llu matched, %llu succeeded; %llu bytes by DMA, %llu by the CPU\n",
	       (unsigned long long)c.posts, (unsigned long long)c.matches, (unsigned long long)c.done,
	       (unsigned long long)c.bytes_dma, (unsigned long long)c.bytes_cpu);
	CHECK(c.matches > 0 && c.failed > 0);
}

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value ? strtoul(value, NULL, 0) : otherwise;
}

static unsigned long random_seed(void)
{
	uint32_t seed;

	SAME(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	return seed;
}

static void test_fuzz(void)
{
	unsigned long seed = number("ADMA_SEED", random_seed());
	long end = now_ms() + 1000 * (long)number("ADMA_SECONDS", 10);
	pid_t children[PROCESSES];

	failing = faults_prepare();
	if (failing)
		faults_at_random(FAIL);
	printf("# ADMA_SEED=%lu, allocations %s\n", seed, failing ? "fail" : "do not fail");
	fflush(stdout);
	state = seed;
	while (now_ms() < end) {
		open_all();
		for (int i = 0; i < PROCESSES; i++)
			children[i] = process_start(((uint64_t)any(1u << 31) << 31) | any(1u << 31));
		close_all();
		poll(NULL, 0, 100 + (int)any(2000));
		for (int i = 0; i < PROCESSES; i++)
			process_kill(children[i]);
	}
	if (failing)
		faults_at_random(0);
	wait_until_all_completed();
}

static const struct test tests[] = {
	{ "fuzz", test_fuzz, 600 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, tests, 1);
}
