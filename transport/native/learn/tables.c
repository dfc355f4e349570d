/* SPDX-License-Identifier: BSD-3-Clause */
/* tables.c - see tables.h. */
#include "learn/tables.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct table {
	uint32_t uid;
	struct adma_estimates *of[ADMA_TABLE_KINDS]; /* made when first used */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table tables[ADMA_TABLES];
static uint32_t count;

static struct table *table_find(uint32_t uid)
{
	for (uint32_t i = 0; i < count; i++)
		if (tables[i].uid == uid)
			return &tables[i];
	return NULL;
}

static struct adma_estimates *table_look(struct adma_table_key key)
{
	struct table *table = table_find(key.uid);

	return table ? table->of[key.kind] : NULL;
}

/* The same, and made if it is not there. NULL: there is no memory, or there are too many users. */
static struct adma_estimates *table_provide(struct adma_table_key key)
{
	struct table *table = table_find(key.uid);

	if (!table && count == ADMA_TABLES)
		return NULL;
	if (!table) {
		table = &tables[count++];
		table->uid = key.uid;
	}
	if (!table->of[key.kind])
		table->of[key.kind] = calloc(1, sizeof(*table->of[key.kind]));
	return table->of[key.kind];
}

uint32_t adma_tables_choose(struct adma_table_key key, uint64_t bytes, struct adma_ways ways, bool tries)
{
	struct adma_estimates *e;
	uint32_t way = ways.built_in;

	pthread_mutex_lock(&lock);
	e = tries ? table_provide(key) : table_look(key);
	if (e)
		way = tries ? adma_estimates_choose(e, bytes, ways) : adma_estimates_best(e, bytes, ways);
	pthread_mutex_unlock(&lock);
	return way;
}

bool adma_tables_settled(struct adma_table_key key, uint64_t bytes)
{
	const struct adma_estimates *e;
	bool settled;

	pthread_mutex_lock(&lock);
	e = table_look(key);
	settled = e && adma_estimates_settled(e, bytes);
	pthread_mutex_unlock(&lock);
	return settled;
}

void adma_tables_note(struct adma_table_key key, uint64_t bytes, uint32_t way, uint64_t nanoseconds)
{
	struct adma_estimates *e;

	pthread_mutex_lock(&lock);
	e = table_look(key);
	if (e)
		adma_estimates_note(e, bytes, way, nanoseconds);
	pthread_mutex_unlock(&lock);
}

uint32_t adma_tables_known(struct adma_table_key key, uint64_t bytes, struct adma_ways ways,
			   struct adma_way_known known[ADMA_WAYS])
{
	const struct adma_estimates *e;
	uint32_t best = ways.built_in;

	memset(known, 0, ADMA_WAYS * sizeof(*known));
	pthread_mutex_lock(&lock);
	e = table_look(key);
	if (e) {
		best = adma_estimates_best(e, bytes, ways);
		for (uint32_t way = 0; way < ADMA_WAYS; way++)
			known[way] = adma_estimates_known(e, bytes, way);
	}
	pthread_mutex_unlock(&lock);
	return best;
}

void adma_tables_tell(struct adma_table_key key, uint32_t class, float costs[ADMA_WAYS], bool incumbents[ADMA_WAYS])
{
	const struct adma_estimates *e;

	pthread_mutex_lock(&lock);
	e = table_look(key);
	for (uint32_t way = 0; way < ADMA_WAYS; way++) {
		costs[way] = 0;
		if (e)
			costs[way] = adma_estimates_tell(e, class, way, &incumbents[way]);
	}
	pthread_mutex_unlock(&lock);
}

int adma_tables_take_up(struct adma_table_key key, uint32_t class, uint32_t way, float cost, bool incumbent)
{
	struct adma_estimates *e;

	pthread_mutex_lock(&lock);
	e = table_provide(key);
	if (e)
		adma_estimates_take_up(e, class, way, cost, incumbent);
	pthread_mutex_unlock(&lock);
	return e ? 0 : -ENOMEM;
}

void adma_tables_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void adma_tables_after_fork(void)
{
	pthread_mutex_unlock(&lock);
}
