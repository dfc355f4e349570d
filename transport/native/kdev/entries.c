/* SPDX-License-Identifier: BSD-3-Clause */
/* entries.c - a ring of unused completion entries. */
#include "kdev/entries.h"

static uint16_t *entries_unused(struct adma_entries *entries, uint32_t index)
{
	return &entries->unused[(entries->first + index) % entries->capacity];
}

void adma_entries_init(struct adma_entries *entries, uint32_t base, uint32_t capacity, uint32_t generation)
{
	entries->base = base;
	entries->capacity = entries->count = capacity;
	entries->first = 0;
	for (uint32_t i = 0; i < capacity; i++) {
		entries->unused[i] = (uint16_t)(base + i);
		entries->generation[i] = generation;
	}
}

int adma_entries_take(struct adma_entries *entries)
{
	uint32_t *generation;
	int entry;

	if (!entries->count)
		return -1;
	entry = *entries_unused(entries, 0);
	entries->first = (entries->first + 1) % entries->capacity;
	entries->count--;
	generation = &entries->generation[(uint32_t)entry - entries->base];
	if (!++*generation)
		*generation = 1; /* 0 is no generation */
	return entry;
}

void adma_entries_return(struct adma_entries *entries, uint32_t entry, bool last)
{
	if (!last)
		entries->first = (entries->first + entries->capacity - 1) % entries->capacity;
	*entries_unused(entries, last ? entries->count : 0) = (uint16_t)entry;
	entries->count++;
}
