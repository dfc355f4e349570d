/* SPDX-License-Identifier: BSD-3-Clause */
/* races.h - what the parts of the races program share. */
#ifndef RACES_H
#define RACES_H

#include <stdbool.h>
#include <stddef.h>

#include "tap.h"

#define LARGE (1 << 20)

extern char source[LARGE], sink[LARGE], second_sink[LARGE], third_sink[LARGE];
extern int rounds;

bool among(int result, const int *allowed, size_t count);

#define AMONG(what, ...) \
	do { \
		const int allowed[] = { __VA_ARGS__ }; \
		int among_what = (what); \
		if (!among(among_what, allowed, sizeof(allowed) / sizeof(int))) \
			tap_fail(__FILE__, __LINE__, "%s is %d", #what, among_what); \
	} while (0)

bool hung_up(int fd); /* poll() tells POLLHUP */
void leave_at_once(void *unused); /* for a child process */

/* races_process.c */
void test_fork_while_pending(void);
void test_killed_at_every_step(void);
void test_killed_at_any_time(void);
void test_nothing_left_charged(void);

/* races_memory.c */
void test_memory_goes_away(void);
void test_failing_allocations(void);

#endif
