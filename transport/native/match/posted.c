/* SPDX-License-Identifier: BSD-3-Clause */
/* posted.c - the posted queue; see posted.h. */
#include "match/posted.h"

#include <stdbool.h>

void adma_posted_init(struct adma_posted *posted, uint64_t secret)
{
	adma_list_init(&posted->all);
	adma_list_init(&posted->wild);
	adma_keys_init(&posted->exact, secret);
	posted->orders = 0;
	posted->count = 0;
}

void adma_posted_free(struct adma_posted *posted)
{
	adma_keys_free(&posted->exact);
	adma_list_init(&posted->all);
	adma_list_init(&posted->wild);
	posted->count = 0;
}

static bool posted_is_exact(const struct adma_posted_entry *entry)
{
	return entry->key.source != ADMA_ANY_SOURCE && entry->mask == ADMA_WHOLE_TAG;
}

static bool posted_accepts(const struct adma_posted_entry *entry, uint32_t source, uint64_t tag)
{
	return (entry->key.source == ADMA_ANY_SOURCE || entry->key.source == source) &&
	       !((entry->key.tag ^ tag) & entry->mask);
}

/* A window of receives with one key needs no search: each follows the one before it. */
static void posted_add_exact(struct adma_posted *posted, struct adma_posted_entry *entry)
{
	struct adma_posted_entry *last = adma_container_of(posted->all.prev, struct adma_posted_entry, all);

	if (posted->count && last->key.tag == entry->key.tag && last->key.source == entry->key.source &&
	    posted_is_exact(last))
		adma_keys_add_after(&entry->key, &last->key);
	else
		adma_keys_add(&posted->exact, &entry->key);
}

void adma_posted_add(struct adma_posted *posted, struct adma_posted_entry *entry, uint32_t source, uint64_t tag,
		     uint64_t mask)
{
	entry->key.source = source;
	entry->key.tag = tag;
	entry->mask = mask;
	entry->order = posted->orders++;
	if (posted_is_exact(entry))
		posted_add_exact(posted, entry);
	else
		adma_list_push_back(&posted->wild, &entry->key.same);
	adma_list_push_back(&posted->all, &entry->all);
	posted->count++;
}

void adma_posted_remove(struct adma_posted *posted, struct adma_posted_entry *entry)
{
	posted->count--;
	adma_list_remove(&entry->all);
	if (posted_is_exact(entry))
		adma_keys_remove(&posted->exact, &entry->key);
	else
		adma_list_remove(&entry->key.same);
}

static struct adma_posted_entry *posted_search(const struct adma_posted *posted, uint32_t source, uint64_t tag)
{
	struct adma_key *key = adma_keys_find(&posted->exact, source, tag);
	struct adma_posted_entry *exact = key ? adma_container_of(key, struct adma_posted_entry, key) : NULL;

	adma_list_for_each(at, &posted->wild) {
		struct adma_posted_entry *wild = adma_container_of(at, struct adma_posted_entry, key.same);

		if (exact && exact->order < wild->order)
			break;
		if (posted_accepts(wild, source, tag))
			return wild;
	}
	return exact;
}

struct adma_posted_entry *adma_posted_find(const struct adma_posted *posted, uint32_t source, uint64_t tag)
{
	struct adma_list *first = adma_list_first(&posted->all);
	struct adma_posted_entry *oldest;

	if (!first)
		return NULL;
	/* Messages often come in post order; those of a channel do so nearly always. */
	oldest = adma_container_of(first, struct adma_posted_entry, all);
	return posted_accepts(oldest, source, tag) ? oldest : posted_search(posted, source, tag);
}
