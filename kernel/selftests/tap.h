/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap.h - a small test harness. Each test runs in a process group of its own, with a
 * time limit (multiplied by ADMA_TEST_SLOWNESS); processes that it leaves behind are killed.
 * The output is TAP, and the exit status is 1 when a test failed.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stddef.h>

struct test {
	const char *name;
	void (*run)(void);
	unsigned seconds; /* 0: 30 */
};

/* The arguments name the tests to run; without arguments all are run. */
int tap_main(int argc, char **argv, const struct test *tests, size_t count);

/* End the test; any of its processes may call these. */
void tap_fail(const char *file, int line, const char *what, ...) __attribute__((format(printf, 3, 4), noreturn));
void tap_skip(const char *why) __attribute__((noreturn));

#define CHECK(what) \
	do { \
		if (!(what)) \
			tap_fail(__FILE__, __LINE__, "%s", #what); \
	} while (0)

/* Compares two integers, and prints both if they differ. */
#define SAME(a, b) \
	do { \
		long long same_a = (long long)(a), same_b = (long long)(b); \
		if (same_a != same_b) \
			tap_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld)", #a, same_a, #b, same_b); \
	} while (0)

/* Runs in a child process. */
int spawn(void (*run)(void *), void *argument);
/* Wait for it, and check that it exited with status 0, or was killed by SIGKILL. */
void join(int pid);
void join_killed(int pid);

#endif
