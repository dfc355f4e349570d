/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keys.h - finds the oldest of all members that have one key, (source, tag), without walking.
 *
 * The first member of each key stands in a chain of a hash table: *place points to it. The later ones
 * follow it in the ring `same`, in the order in which they were added, and their `place` is NULL. So
 * a chain is as long as there are keys in it, however many members each of them has.
 *
 * The table begins inside the structure and doubles when it has more keys than chains. If there is
 * no memory for that, chains grow longer, and nothing fails. Peers choose the tags of their
 * messages. What they cannot know is `secret`, so they cannot choose tags that share a chain.
 *
 * Whoever owns a table guards it.
 */
#ifndef ADMA_MATCH_KEYS_H
#define ADMA_MATCH_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "adma.h"
#include "base/list.h"

enum { ADMA_KEYS_FIRST_BITS = 3 };

struct adma_keys {
	struct adma_key **chains;
	uint32_t bits;  /* there are 1 << bits chains */
	uint32_t count; /* of keys, not of members */
	uint64_t factor[2];
	struct adma_key *few[1 << ADMA_KEYS_FIRST_BITS];
};

/* The structure must stay where it is from now on. */
void adma_keys_init(struct adma_keys *keys, uint64_t secret);

/* Release memory. Members are forgotten. */
void adma_keys_free(struct adma_keys *keys);

/* Add a member whose source and tag are filled in; it is the youngest of its key. */
void adma_keys_add(struct adma_keys *keys, struct adma_key *member);

/* The same for a member whose predecessor, the youngest of its key, is known: this takes no search. */
static inline void adma_keys_add_after(struct adma_key *member, struct adma_key *youngest)
{
	member->place = NULL;
	adma_list_push_front(&youngest->same, &member->same);
}

void adma_keys_remove(struct adma_keys *keys, struct adma_key *member);

/* The oldest member with this key, or NULL. */
struct adma_key *adma_keys_find(const struct adma_keys *keys, uint32_t source, uint64_t tag);

#endif
