/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tables.h - what this process has learnt: one table for each user that it has peers of.
 *
 * All channels with peers of one user share its table, and what was learnt outlives them. A peer can
 * spoil what is measured with it, by being slow on purpose. So another user's peers spoil the table
 * of that user, and no other one.
 *
 * One lock guards all tables. It is a leaf, held for a few hundred nanoseconds and for no system call, twice in
 * a transfer, which takes some microseconds at least. A lock for each table would be no better: the
 * peers of a process usually belong to one user. Nor would a copy for each channel, since each would
 * have to learn by itself.
 */
#ifndef ADMA_LEARN_TABLES_H
#define ADMA_LEARN_TABLES_H

#include "learn/estimate.h"

enum {
	ADMA_TABLES = 16,     /* users; peers of more are served without experience */
	ADMA_TABLE_KINDS = 9, /* kinds of transfers in a table, which are not compared with each other */
};

/* Bytes of a MiB: a table has the cost of each byte, and struct adma_learnt_cost that of each MiB. */
#define ADMA_TABLE_MIB ((float)(1 << 20))

/* Transfers that can be compared. */
struct adma_table_key {
	uint32_t uid;
	uint32_t kind; /* less than ADMA_TABLE_KINDS */
};

/* The way for the next transfer of so many bytes. `tries`: it may try another way, and its time is to be noted. */
uint32_t adma_tables_choose(struct adma_table_key key, uint64_t bytes, struct adma_ways ways, bool tries);

/* Have all ways been tried for so many bytes? */
bool adma_tables_settled(struct adma_table_key key, uint64_t bytes);

void adma_tables_note(struct adma_table_key key, uint64_t bytes, uint32_t way, uint64_t nanoseconds);

/* What is known of each way, in `known`; the way that would be chosen without a try is returned. */
uint32_t adma_tables_known(struct adma_table_key key, uint64_t bytes, struct adma_ways ways,
			   struct adma_way_known known[ADMA_WAYS]);

/* The costs of a class that was learnt: see adma_estimates_tell(). 0 for a way of which nothing can be told. */
void adma_tables_tell(struct adma_table_key key, uint32_t class, float costs[ADMA_WAYS], bool incumbents[ADMA_WAYS]);

/* Take up what an earlier process learnt. 0 or -ENOMEM. */
int adma_tables_take_up(struct adma_table_key key, uint32_t class, uint32_t way, float cost, bool incumbent);

/* A fork must not find the lock held. A child begins with what its parent has learnt. */
void adma_tables_before_fork(void);
void adma_tables_after_fork(void);

#endif
