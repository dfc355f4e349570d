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

/* Manages the entries [base, base + capacity). */
struct adma_entries {
	uint32_t base, capacity;
	uint32_t first, count; /* the unused entries in the ring: the first one, and how many there are */
	uint16_t unused[ADMA_DEVICE_ENTRIES];
	uint32_t generation[ADMA_DEVICE_ENTRIES];
};

/*
 * All entries are unused at first. `generation` is the last one that was used already, by a
 * handshake; 0 when none was.
 */
void adma_entries_init(struct adma_entries *entries, uint32_t base, uint32_t capacity, uint32_t generation);

/* Are all in use? */
static inline bool adma_entries_full(const struct adma_entries *entries)
{
	return !entries->count;
}

/* Is none in use? */
static inline bool adma_entries_idle(const struct adma_entries *entries)
{
	return entries->count == entries->capacity;
}

/* Take an unused entry, and advance its generation. Returns -1 when all are in use. */
int adma_entries_take(struct adma_entries *entries);

/* The generation that an entry was taken with last. */
static inline uint32_t adma_entries_generation(const struct adma_entries *entries, uint32_t entry)
{
	return entries->generation[entry - entries->base];
}

/*
 * The entry is unused again. `last`: it will be taken after all others, so that the kernel can
 * still be asked about its request for a while. Otherwise it will be taken next, because it is in
 * the caches.
 */
void adma_entries_return(struct adma_entries *entries, uint32_t entry, bool last);

#endif
