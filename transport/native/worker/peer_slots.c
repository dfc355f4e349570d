/* SPDX-License-Identifier: BSD-3-Clause */
/* peer_slots.c - the pages of the peer's slots, and our transfers by slot; see peer_slots.h. */
#include "worker/peer_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/growth.h"

void adma_peer_slots_init(struct adma_peer_slots *slots, struct adma_segment *segment)
{
	*slots = (struct adma_peer_slots){.segment = segment, .reached = ADMA_SLOTS_FIRST};
}

void adma_peer_slots_free(struct adma_peer_slots *slots)
{
	free(slots->of);
	free(slots->arrived);
	slots->of = NULL;
	slots->arrived = NULL;
}

/* The smallest doubling of `slots` that has this index. */
static uint32_t peer_slots_doubled(uint32_t slots, uint32_t index)
{
	while (slots <= index)
		slots *= 2;
	return slots;
}

int adma_peer_slots_reach(struct adma_peer_slots *slots, uint32_t index)
{
	uint32_t to;
	int rc;

	if (index < slots->reached)
		return 0;
	to = peer_slots_doubled(slots->reached, index);
	rc = adma_slots_populate(slots->segment, slots->reached, to);
	if (!rc)
		slots->reached = to;
	return rc;
}

/* Make an array of pointers longer; new ones are NULL. NULL: there is no memory, and the array is as it was. */
static void *peer_slots_grown(void *array, uint32_t from, uint32_t to)
{
	char *grown = realloc(array, to * sizeof(void *));

	if (grown)
		memset(grown + from * sizeof(void *), 0, (to - from) * sizeof(void *));
	return grown;
}

int adma_peer_slots_provide(struct adma_peer_slots *slots, uint32_t index)
{
	uint32_t to = peer_slots_doubled(ADMA_SLOTS_FIRST, index);
	struct adma_transfer **of;
	struct adma_arrived **arrived;

	if (index < slots->capacity)
		return 0;
	of = peer_slots_grown(slots->of, slots->capacity, to);
	if (!of)
		return -ENOMEM;
	slots->of = of;
	arrived = peer_slots_grown(slots->arrived, slots->capacity, to);
	if (!arrived)
		return -ENOMEM;
	slots->arrived = arrived;
	slots->capacity = to;
	return 0;
}
