/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * entries.h - which completion entries of a descriptor of the kernel helper are in use.
 *
 * A post names an entry and a generation of it; the kernel stores the result of the request
 * there. An entry may be named again, with its next generation, once its request is complete.
 * Pure: no lock, no system call.
 */
#ifndef ADMA_KDEV_ENTRIES_H
#define ADMA_KDEV_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "kdev/device.h"

/* The entries [base, base + capacity). */
struct adma_entries {
	uint32_t base, capacity;
	uint32_t first, count;                /* unused entries: a ring */
	uint16_t unused[ADMA_DEVICE_ENTRIES];
	uint32_t generation[ADMA_DEVICE_ENTRIES];
};

/* All are unused. `generation`: the last one that was used up already, by a handshake; 0: none was. */
void adma_entries_init(struct adma_entries *entries, uint32_t base, uint32_t capacity, uint32_t generation);

static inline bool adma_entries_full(const struct adma_entries *entries)
{
	return !entries->count;
}

/* Is none in use? */
static inline bool adma_entries_idle(const struct adma_entries *entries)
{
	return entries->count == entries->capacity;
}

/* An unused entry, whose generation is the next one now; -1: none is left. */
int adma_entries_take(struct adma_entries *entries);

/* The generation that an entry was taken with last. */
static inline uint32_t adma_entries_generation(const struct adma_entries *entries, uint32_t entry)
{
	return entries->generation[entry - entries->base];
}

/*
 * It is unused again. `last`: it is taken again after all others, so that the kernel can still
 * be asked about its request for a while; else next, since it is in the caches.
 */
void adma_entries_return(struct adma_entries *entries, uint32_t entry, bool last);

#endif
