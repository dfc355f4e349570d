// SPDX-License-Identifier: GPL-2.0
/* match.c - which read matches which write; see match.h. */
#include <linux/errno.h>
#include <linux/hash.h>

#include "match.h"

void adma_match_init(struct adma_match *match)
{
	unsigned int i;

	INIT_LIST_HEAD(&match->fifo);
	for (i = 0; i < 1 << ADMA_MATCH_BITS; i++)
		INIT_LIST_HEAD(&match->keyed[i]);
}

/*
 * 0 when the two match. Otherwise the read is refused. Either way the read learns the
 * write's length and note.
 */
static int match_pair(struct adma_envelope *read, const struct adma_envelope *write)
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

/* A read finds @first, the oldest write, which stays where it is unless the two match. */
static void match_read(struct adma_envelope *read, struct adma_envelope *first,
		       struct adma_envelope **matched, struct list_head *refused)
{
	if (match_pair(read, first)) {
		list_add_tail(&read->node, refused);
		return;
	}
	list_del_init(&first->node);
	*matched = first;
}

static struct list_head *match_bucket(struct adma_match *match, u64 key)
{
	return &match->keyed[hash_64(key, ADMA_MATCH_BITS)];
}

static struct adma_envelope *match_find(struct list_head *chain, u64 key)
{
	struct adma_envelope *envelope;

	list_for_each_entry(envelope, chain, node) {
		if (envelope->key == key)
			return envelope;
	}
	return NULL;
}

static int match_post_keyed(struct adma_match *match, struct adma_envelope *envelope,
			    struct adma_envelope **matched, struct list_head *refused)
{
	struct list_head *chain = match_bucket(match, envelope->key);
	struct adma_envelope *pending = match_find(chain, envelope->key);

	if (pending && pending->write == envelope->write)
		return -EEXIST;
	if (pending && pending->write) {
		match_read(envelope, pending, matched, refused);
		return 0;
	}
	if (pending) {
		list_del_init(&pending->node);
		if (!match_pair(pending, envelope)) {
			*matched = pending;
			return 0;
		}
		list_add_tail(&pending->node, refused);
	}
	list_add_tail(&envelope->node, chain);
	return 0;
}

static void match_post_fifo(struct adma_match *match, struct adma_envelope *envelope,
			    struct adma_envelope **matched, struct list_head *refused)
{
	struct adma_envelope *first, *next;

	list_for_each_entry_safe(first, next, &match->fifo, node) {
		if (first->write == envelope->write)
			break;
		if (first->write) {
			match_read(envelope, first, matched, refused);
			return;
		}
		list_del_init(&first->node);
		if (!match_pair(first, envelope)) {
			*matched = first;
			return;
		}
		list_add_tail(&first->node, refused);
	}
	list_add_tail(&envelope->node, &match->fifo);
}

int adma_match_post(struct adma_match *match, struct adma_envelope *envelope,
		    struct adma_envelope **matched, struct list_head *refused)
{
	*matched = NULL;
	if (envelope->key)
		return match_post_keyed(match, envelope, matched, refused);
	match_post_fifo(match, envelope, matched, refused);
	return 0;
}

struct adma_envelope *adma_match_peek(const struct adma_match *match)
{
	struct adma_envelope *first;

	if (list_empty(&match->fifo))
		return NULL;
	first = list_first_entry(&match->fifo, struct adma_envelope, node);
	return first->write ? first : NULL;
}

void adma_match_drain(struct adma_match *match, struct list_head *list)
{
	unsigned int i;

	list_splice_tail_init(&match->fifo, list);
	for (i = 0; i < 1 << ADMA_MATCH_BITS; i++)
		list_splice_tail_init(&match->keyed[i], list);
}
