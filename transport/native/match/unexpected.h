/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unexpected.h - the unexpected queue: messages without a receive, in the order of their arrival.
 *
 * A receive or a probe gets the oldest message that it accepts. If it names a source and the whole
 * tag, the message is found by its key without walking. If it names a source and a part of the tag,
 * only messages of that source are looked at, and otherwise all.
 *
 * Whoever owns a queue guards it.
 */
#ifndef ADMA_MATCH_UNEXPECTED_H
#define ADMA_MATCH_UNEXPECTED_H

#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "match/keys.h"

/* An endpoint has one of these for its messages in the queue of its worker. */
struct adma_unexpected_source {
	struct adma_list messages; /* by arrival: see adma_unexpected_of() */
	uint32_t number;           /* of the endpoint */
	uint32_t count;
};

/* A member of the queue, inside whatever holds the message. */
struct adma_unexpected_entry {
	struct adma_list all;
	struct adma_list of_source;
	struct adma_key key;
	struct adma_unexpected_source *source;
};

struct adma_unexpected {
	struct adma_list all;
	struct adma_keys keys;
	uint32_t count;
};

/* For `secret` see keys.h. The structure must stay where it is from now on. */
void adma_unexpected_init(struct adma_unexpected *unexpected, uint64_t secret);

/* Release memory. Entries are forgotten. */
void adma_unexpected_free(struct adma_unexpected *unexpected);

void adma_unexpected_source_init(struct adma_unexpected_source *source, uint32_t number);

/* Add the message that arrived last. */
void adma_unexpected_add(struct adma_unexpected *unexpected, struct adma_unexpected_entry *entry,
			 struct adma_unexpected_source *source, uint64_t tag);

void adma_unexpected_remove(struct adma_unexpected *unexpected, struct adma_unexpected_entry *entry);

/* The oldest message of this source (NULL: of any) with this tag under this mask, or NULL. */
struct adma_unexpected_entry *adma_unexpected_find(const struct adma_unexpected *unexpected,
						   const struct adma_unexpected_source *source, uint64_t tag,
						   uint64_t mask);

/* The entry of a member of `messages`. */
static inline struct adma_unexpected_entry *adma_unexpected_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_unexpected_entry, of_source);
}

#endif
