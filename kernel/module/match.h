/* SPDX-License-Identifier: GPL-2.0 */
/*
 * match.h - which read meets which write, in one direction of a connection.
 *
 * Pure list code: no locks, no allocation, no sleeping. The caller holds the
 * connection's lock. It compiles in user space too, where it is tested
 * (kernel/tests/test_match.c, fuzz_match.c).
 *
 * Two pending requests that could meet have met: so what is pending in the
 * line, or on one key, is either of reads or of writes, never of both.
 */
#ifndef ADMA_MATCH_H
#define ADMA_MATCH_H

#include <linux/list.h>
#include <linux/types.h>

#define ADMA_MATCH_BITS 6

/* One direction. A key's chain is as long as a descriptor has entries, at most. */
struct adma_match {
	struct list_head line; /* key 0, oldest first */
	struct list_head keyed[1 << ADMA_MATCH_BITS];
};

/* What matching needs to know of a request, and what it finds out. */
struct adma_party {
	struct list_head node; /* in a line, on a key, or where the caller wants it */
	u64 key;
	u64 length;            /* bytes. A read that met or was refused: those of the write */
	u64 note[2];           /* the same */
	u32 kind;
	bool write;
	int error;             /* of a read that was refused: -EMSGSIZE or -EPROTOTYPE */
};

void adma_match_init(struct adma_match *match);

/*
 * Add @party. 0, and *@met is the one that it met, or NULL: then it is pending, or it
 * was refused. Reads that were refused, @party itself perhaps, are moved to the
 * end of @refused. -EEXIST: its key is not 0 and one of its like is pending on it;
 * then nothing happened.
 */
int adma_match_post(struct adma_match *match, struct adma_party *party, struct adma_party **met,
		    struct list_head *refused);

/* The first write in line that no read has met, or NULL. */
struct adma_party *adma_match_peek(const struct adma_match *match);

/* Move all that is pending to the end of @list. */
void adma_match_drain(struct adma_match *match, struct list_head *list);

#endif
