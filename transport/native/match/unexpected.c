/* SPDX-License-Identifier: BSD-3-Clause */
/* unexpected.c - the unexpected queue; see unexpected.h. */
#include "match/unexpected.h"

#include <stdbool.h>

void adma_unexpected_init(struct adma_unexpected *unexpected, uint64_t secret)
{
	adma_list_init(&unexpected->all);
	adma_keys_init(&unexpected->keys, secret);
	unexpected->count = 0;
}

void adma_unexpected_free(struct adma_unexpected *unexpected)
{
	adma_keys_free(&unexpected->keys);
	adma_list_init(&unexpected->all);
	unexpected->count = 0;
}

void adma_unexpected_source_init(struct adma_unexpected_source *source, uint32_t number)
{
	adma_list_init(&source->messages);
	source->number = number;
	source->count = 0;
}

void adma_unexpected_add(struct adma_unexpected *unexpected, struct adma_unexpected_entry *entry,
			 struct adma_unexpected_source *source, uint64_t tag)
{
	entry->source = source;
	entry->key.source = source->number;
	entry->key.tag = tag;
	adma_list_push_back(&unexpected->all, &entry->all);
	adma_list_push_back(&source->messages, &entry->of_source);
	adma_keys_add(&unexpected->keys, &entry->key);
	unexpected->count++;
	source->count++;
}

void adma_unexpected_remove(struct adma_unexpected *unexpected, struct adma_unexpected_entry *entry)
{
	adma_list_remove(&entry->all);
	adma_list_remove(&entry->of_source);
	adma_keys_remove(&unexpected->keys, &entry->key);
	unexpected->count--;
	entry->source->count--;
}

static bool unexpected_has_tag(const struct adma_unexpected_entry *entry, uint64_t tag, uint64_t mask)
{
	return !((entry->key.tag ^ tag) & mask);
}

static struct adma_unexpected_entry *unexpected_find_from(const struct adma_unexpected_source *source, uint64_t tag,
							  uint64_t mask)
{
	adma_list_for_each(at, &source->messages)
		if (unexpected_has_tag(adma_unexpected_of(at), tag, mask))
			return adma_unexpected_of(at);
	return NULL;
}

static struct adma_unexpected_entry *unexpected_find_any(const struct adma_unexpected *unexpected, uint64_t tag,
							 uint64_t mask)
{
	adma_list_for_each(at, &unexpected->all) {
		struct adma_unexpected_entry *entry = adma_container_of(at, struct adma_unexpected_entry, all);

		if (unexpected_has_tag(entry, tag, mask))
			return entry;
	}
	return NULL;
}

struct adma_unexpected_entry *adma_unexpected_find(const struct adma_unexpected *unexpected,
						   const struct adma_unexpected_source *source, uint64_t tag,
						   uint64_t mask)
{
	struct adma_key *key;

	if (!source)
		return unexpected_find_any(unexpected, tag, mask);
	if (mask != ADMA_WHOLE_TAG)
		return unexpected_find_from(source, tag, mask);
	key = adma_keys_find(&unexpected->keys, source->number, tag);
	return key ? adma_container_of(key, struct adma_unexpected_entry, key) : NULL;
}
