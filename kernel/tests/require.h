/* SPDX-License-Identifier: BSD-3-Clause */
/* require.h - aborts a test when a condition does not hold; and random numbers for tests. */
#ifndef REQUIRE_H
#define REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
				#condition); \
			abort(); \
		} \
	} while (0)

/* A small generator, which gives the same numbers everywhere. The seed must not be 0. */
static inline unsigned int draw(unsigned long long *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 32;
}

#endif
