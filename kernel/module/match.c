// SPDX-License-Identifier: GPL-2.0
/* match.c - which read meets which write; see match.h. */
#include <linux/errno.h>
#include <linux/hash.h>

#include "match.h"

void adma_match_init(struct adma_match *match)
{
	unsigned int i;

	INIT_LIST_HEAD(&match->line);
	for (i = 0; i < 1 << ADMA_MATCH_BITS; i++)
		INIT_LIST_HEAD(&match->keyed[i]);
}

/* 0 when the two can meet. Otherwise the read is refused with the write's length and note. */
static int meet(struct adma_party *read, const struct adma_party *write)
{
	if (read->kind != write->kind)
		read->error = -EPROTOTYPE;
	else if (read->length < write->length)
		read->error = -EMSGSIZE;
	read->length = write->length;
	read->note[0] = write->note[0];
	read->note[1] = write->note[1];
	return read->error;
}

/* A read finds @first, the oldest write; that stays where it is unless they meet. */
static void post_read(struct adma_party *read, struct adma_party *first, struct adma_party **met,
		      struct list_head *refused)
{
	if (meet(read, first)) {
		list_add_tail(&read->node, refused);
		return;
	}
	list_del_init(&first->node);
	*met = first;
}

static struct list_head *bucket(struct adma_match *match, u64 key)
{
	return &match->keyed[hash_64(key, ADMA_MATCH_BITS)];
}

static struct adma_party *find(struct list_head *chain, u64 key)
{
	struct adma_party *party;

	list_for_each_entry(party, chain, node) {
		if (party->key == key)
			return party;
	}
	return NULL;
}

static int post_keyed(struct adma_match *match, struct adma_party *party, struct adma_party **met,
		      struct list_head *refused)
{
	struct list_head *chain = bucket(match, party->key);
	struct adma_party *pending = find(chain, party->key);

	if (pending && pending->write == party->write)
		return -EEXIST;
	if (pending && pending->write) {
		post_read(party, pending, met, refused);
		return 0;
	}
	if (pending) {
		list_del_init(&pending->node);
		if (!meet(pending, party)) {
			*met = pending;
			return 0;
		}
		list_add_tail(&pending->node, refused);
	}
	list_add_tail(&party->node, chain);
	return 0;
}

static void post_line(struct adma_match *match, struct adma_party *party, struct adma_party **met,
		      struct list_head *refused)
{
	struct adma_party *first, *next;

	list_for_each_entry_safe(first, next, &match->line, node) {
		if (first->write == party->write)
			break;
		if (first->write) {
			post_read(party, first, met, refused);
			return;
		}
		list_del_init(&first->node);
		if (!meet(first, party)) {
			*met = first;
			return;
		}
		list_add_tail(&first->node, refused);
	}
	list_add_tail(&party->node, &match->line);
}

int adma_match_post(struct adma_match *match, struct adma_party *party, struct adma_party **met,
		    struct list_head *refused)
{
	*met = NULL;
	if (party->key)
		return post_keyed(match, party, met, refused);
	post_line(match, party, met, refused);
	return 0;
}

struct adma_party *adma_match_peek(const struct adma_match *match)
{
	struct adma_party *first;

	if (list_empty(&match->line))
		return NULL;
	first = list_first_entry(&match->line, struct adma_party, node);
	return first->write ? first : NULL;
}

void adma_match_drain(struct adma_match *match, struct list_head *list)
{
	unsigned int i;

	list_splice_tail_init(&match->line, list);
	for (i = 0; i < 1 << ADMA_MATCH_BITS; i++)
		list_splice_tail_init(&match->keyed[i], list);
}
