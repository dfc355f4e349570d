/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * match_rules.h - one direction of a connection, kept by match.c and a second time by a
 * model so simple that it is read rather than tested. Each step is done by both, and
 * what they say is compared.
 */
#ifndef MATCH_RULES_H
#define MATCH_RULES_H

#include "match.h"

#define PARTIES 256 /* steps that post, at most */

struct world;

struct world *world_make(void);
void world_free(struct world *world);

struct step {
	bool write;
	u64 key;
	u32 kind;
	u64 length;
};

/* Each aborts when the two differ. */
void world_post(struct world *world, const struct step *step);
void world_cancel(struct world *world, unsigned int which); /* of what is pending */
void world_drain(struct world *world);

#endif
