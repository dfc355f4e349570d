/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dependencies.h - the outstanding copies, and which of them have to wait for which. Pure.
 *
 * Each outstanding copy has a place. A copy that is admitted waits for the copies that were
 * admitted before it and conflict with it. It knows how many those are (`blockers`); they know
 * which copies wait for them (`followers`, one bit for each place). So completing a copy costs
 * a walk over one set of bits, and memory is bounded.
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
	struct adma_copy *copies[ADMA_OUTSTANDING]; /* by place */
	struct adma_set followers[ADMA_OUTSTANDING];
	struct adma_set taken;
};

/* Does the plan conflict with an outstanding copy? */
bool adma_dependencies_conflict(const struct adma_dependencies *outstanding, const struct adma_plan *plan);

/* Is a place free? */
bool adma_dependencies_room(const struct adma_dependencies *outstanding);

/* Give the copy a place and count its blockers. False: all places are taken. */
bool adma_dependencies_admit(struct adma_dependencies *outstanding, struct adma_copy *copy);

/*
 * The copy is complete: free its place. Copies that waited for nothing else are stored in
 * `freed`, in the order of their places. Returns how many they are.
 */
uint32_t adma_dependencies_release(struct adma_dependencies *outstanding, struct adma_copy *copy,
				   struct adma_copy *freed[ADMA_OUTSTANDING]);

#endif
