/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.c - the hash table of keys; see keys.h. */
#include "match/keys.h"

#include <stdlib.h>
#include <string.h>

enum { KEYS_MOST_BITS = 30 };

/* The finaliser of splitmix64, by which one secret becomes two factors. */
static uint64_t keys_scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

void adma_keys_init(struct adma_keys *keys, uint64_t secret)
{
	memset(keys, 0, sizeof(*keys));
	keys->chains = keys->few;
	keys->bits = ADMA_KEYS_FIRST_BITS;
	keys->factor[0] = keys_scramble(secret) | 1;
	keys->factor[1] = keys_scramble(~secret) | 1;
}

void adma_keys_free(struct adma_keys *keys)
{
	if (keys->chains != keys->few)
		free(keys->chains);
	keys->chains = keys->few;
	keys->bits = ADMA_KEYS_FIRST_BITS;
	keys->count = 0;
	memset(keys->few, 0, sizeof(keys->few));
}

/* The upper bits of a product with a secret odd factor are hard to foresee, and cheap. */
static struct adma_key **keys_chain(const struct adma_keys *keys, uint32_t source, uint64_t tag)
{
	return &keys->chains[(tag * keys->factor[0] + source * keys->factor[1]) >> (64 - keys->bits)];
}

static struct adma_key *keys_first(struct adma_key *const *chain, uint32_t source, uint64_t tag)
{
	struct adma_key *at = *chain;

	while (at && (at->tag != tag || at->source != source))
		at = at->next;
	return at;
}

/* Let a member stand at this place of a chain, before those that stand there. */
static void keys_stand(struct adma_key *member, struct adma_key **place)
{
	member->place = place;
	member->next = *place;
	if (member->next)
		member->next->place = &member->next;
	*place = member;
}

static void keys_grow(struct adma_keys *keys)
{
	struct adma_keys grown = *keys;

	if (keys->bits == KEYS_MOST_BITS)
		return;
	grown.bits++;
	grown.chains = calloc((size_t)1 << grown.bits, sizeof(*grown.chains));
	if (!grown.chains)
		return;
	for (size_t i = 0; i < (size_t)1 << keys->bits; i++) {
		for (struct adma_key *at = keys->chains[i], *next; at; at = next) {
			next = at->next;
			keys_stand(at, keys_chain(&grown, at->source, at->tag));
		}
	}
	if (keys->chains != keys->few)
		free(keys->chains);
	keys->chains = grown.chains;
	keys->bits = grown.bits;
}

void adma_keys_add(struct adma_keys *keys, struct adma_key *member)
{
	struct adma_key **chain = keys_chain(keys, member->source, member->tag);
	struct adma_key *first = keys_first(chain, member->source, member->tag);

	if (first) {
		member->place = NULL;
		adma_list_push_back(&first->same, &member->same);
		return;
	}
	adma_list_init(&member->same);
	keys_stand(member, chain);
	if (++keys->count > (uint32_t)1 << keys->bits)
		keys_grow(keys);
}

void adma_keys_remove(struct adma_keys *keys, struct adma_key *member)
{
	struct adma_key *heir = adma_container_of(member->same.next, struct adma_key, same);

	adma_list_remove(&member->same);
	if (!member->place)
		return;
	*member->place = member->next;
	if (member->next)
		member->next->place = member->place;
	if (heir == member)
		keys->count--;
	else
		keys_stand(heir, member->place);
}

struct adma_key *adma_keys_find(const struct adma_keys *keys, uint32_t source, uint64_t tag)
{
	return keys_first(keys_chain(keys, source, tag), source, tag);
}
