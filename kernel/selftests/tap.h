/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap.h - a small harness: each test runs in a process group of its own, with a
 * time limit (times ADMA_TEST_SLOWNESS), and what it leaves behind is killed.
 * Prints TAP; exit status 1 when a test failed.
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

/* Arguments name the tests to run; none: all. */
int tap_main(int argc, char **argv, const struct test *tests, size_t count);

/* Ends the test, from whichever process of it. */
void tap_fail(const char *file, int line, const char *what, ...)
	__attribute__((format(printf, 3, 4), noreturn));
void tap_skip(const char *why) __attribute__((noreturn));

#define CHECK(what)                                                  \
	do {                                                         \
		if (!(what))                                         \
			tap_fail(__FILE__, __LINE__, "%s", #what);   \
	} while (0)

/* Both are integers; says what they were. */
#define SAME(a, b)                                                                         \
	do {                                                                               \
		long long same_a = (long long)(a), same_b = (long long)(b);                \
		if (same_a != same_b)                                                      \
			tap_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld)", #a, same_a, #b, \
				 same_b);                                                  \
	} while (0)

/* Runs in a child; join() waits for it to end well. */
int spawn(void (*run)(void *), void *argument);
void join(int pid);
void join_killed(int pid);

#endif
