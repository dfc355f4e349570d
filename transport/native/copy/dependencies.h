/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outstanding.h - copies that were begun or may begin, and which of them touch the same bytes. Pure.
 *
 * Each copy has a place. It is admitted behind those that were admitted before it and
 * conflict with it: it remembers how many (`blockers`), they remember it (`followers`, a bit a
 * place). So what an end costs is a walk over one set of bits, and memory is bounded.
 */
#ifndef ADMA_COPY_DEPENDENCIES_H
#define ADMA_COPY_DEPENDENCIES_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"

enum { ADMA_SET_WORDS = ADMA_OUTSTANDING / 64 };

/* A set of places. */
struct adma_set {
	uint64_t words[ADMA_SET_WORDS];
};

struct adma_dependencies {
	struct adma_copy *copies[ADMA_OUTSTANDING];
	struct adma_set followers[ADMA_OUTSTANDING];
	struct adma_set taken;
};

/* Does the plan conflict with any of them? */
bool adma_dependencies_conflict(const struct adma_dependencies *outstanding, const struct adma_plan *plan);

/* Is there a place? */
bool adma_dependencies_room(const struct adma_dependencies *outstanding);

/* Take a place and count the blockers. False: all places are taken. */
bool adma_dependencies_admit(struct adma_dependencies *outstanding, struct adma_copy *copy);

/*
 * It is through: its place is free. Those that waited for nothing else are put into `freed`
 * in the order of places; how many.
 */
uint32_t adma_dependencies_release(struct adma_dependencies *outstanding, struct adma_copy *copy,
				  struct adma_copy *freed[ADMA_OUTSTANDING]);

#endif
