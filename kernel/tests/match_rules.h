/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * match_rules.h - compares match.c with a model of one direction of a connection. The model
 * is so simple that reading it is enough to trust it. Both execute each step, and their results
 * are compared.
 */
#ifndef MATCH_RULES_H
#define MATCH_RULES_H

#include "match.h"

#define POSTS_MAX 256 /* of one world */

struct world;

struct world *world_make(void);
void world_free(struct world *world);

struct step {
	bool write;
	u64 key;
	u32 kind;
	u64 length;
};

/* Each of these executes a step, and aborts when the results differ. */
void world_post(struct world *world, const struct step *step);
void world_cancel(struct world *world, unsigned int which); /* of the pending posts */
void world_drain(struct world *world);

#endif
