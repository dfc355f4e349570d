/* SPDX-License-Identifier: BSD-3-Clause */
/* race.h - what the stress programs share: threads, time, drawn numbers. */
#ifndef RACE_H
#define RACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "require.h"

#define HANG_NS 30000000000ll /* what takes longer hangs */

static inline uint64_t below(unsigned long long *seed, uint64_t n)
{
	return draw(seed) % n;
}

static inline void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
	REQUIRE(!pthread_create(thread, NULL, run, argument));
}

static inline void join(pthread_t thread)
{
	REQUIRE(!pthread_join(thread, NULL));
}

/* How many seconds to go on for: the program's argument, or a few. */
static inline int64_t end_of_run(int argc, char **argv)
{
	return adma_now() + 1000000000ll * (argc > 1 ? atoi(argv[1]) : 5);
}

#endif
