/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * posted.h - the posted queue: receives without a message, in post order.
 *
 * A receive accepts a message if it names the message's source or any, and if the bits of the tag
 * that its mask selects are equal. Of all posted receives that accept a message, the oldest one
 * gets it.
 *
 * Receives that name a source and the whole tag are *exact*, and are found by their key without
 * walking. The others are *wild*. They are in a list of their own, of which find() looks only at
 * those that are older than the exact receive it found.
 *
 * Whoever owns a queue guards it.
 */
#ifndef ADMA_MATCH_POSTED_H
#define ADMA_MATCH_POSTED_H

#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "match/keys.h"

struct adma_posted {
	struct adma_list all; /* entries in post order, by their member `all` */
	struct adma_list wild;
	struct adma_keys exact;
	uint64_t orders; /* as many entries were added so far */
	uint32_t count;
};

/* For `secret` see keys.h. The structure must stay where it is from now on. */
void adma_posted_init(struct adma_posted *posted, uint64_t secret);

/* Release memory. Entries are forgotten. */
void adma_posted_free(struct adma_posted *posted);

/* Add an entry that wants a message from `source`, or ADMA_ANY_SOURCE, with this tag under this mask. */
void adma_posted_add(struct adma_posted *posted, struct adma_posted_entry *entry, uint32_t source, uint64_t tag,
		     uint64_t mask);

void adma_posted_remove(struct adma_posted *posted, struct adma_posted_entry *entry);

/* The oldest entry that accepts a message with this source and tag, or NULL. */
struct adma_posted_entry *adma_posted_find(const struct adma_posted *posted, uint32_t source, uint64_t tag);

#endif
