/* SPDX-License-Identifier: GPL-2.0 */
/*
 * match.h - which read matches which write, in one direction of a connection.
 *
 * This is pure list code: it takes no locks, allocates nothing and never sleeps. The caller
 * holds the connection's lock. It compiles in user space too, where it is tested
 * (kernel/tests/test_match.c, fuzz_match.c).
 *
 * Two pending requests that can match have matched already. So the pending requests of the
 * FIFO, or those of one key, are either all reads or all writes.
 */
#ifndef ADMA_MATCH_H
#define ADMA_MATCH_H

#include <linux/list.h>
#include <linux/types.h>

#define ADMA_MATCH_BITS 6

/*
 * What is pending in one direction. A key's hash chain is never longer than a file
 * descriptor has completion entries.
 */
struct adma_match {
	struct list_head fifo; /* key 0, oldest first */
	struct list_head keyed[1 << ADMA_MATCH_BITS];
};

/* What matching needs to know of a request, and what it finds out. */
struct adma_envelope {
	struct list_head node; /* in the FIFO, on a key's chain, or in a list of the caller's */
	u64 key;
	u64 length;            /* bytes. Of a read that matched or was refused: the write's */
	u64 note[2];           /* the same */
	u32 kind;
	bool write;
	int error;             /* of a read that was refused: -EMSGSIZE or -EPROTOTYPE */
};

void adma_match_init(struct adma_match *match);

/*
 * Add @envelope. On 0, *@matched is the envelope that it matched. If that is NULL, @envelope
 * is pending, or it was refused. Reads that were refused, perhaps @envelope itself, are moved
 * to the end of @refused. On -EEXIST nothing has changed: the key is not 0, and another
 * read (if this is one), or another write, is pending on it.
 */
int adma_match_post(struct adma_match *match, struct adma_envelope *envelope,
		    struct adma_envelope **matched, struct list_head *refused);

/* The write at the head of the FIFO, or NULL if no write is pending there. */
struct adma_envelope *adma_match_peek(const struct adma_match *match);

/* Move all that is pending to the end of @list. */
void adma_match_drain(struct adma_match *match, struct list_head *list);

#endif
