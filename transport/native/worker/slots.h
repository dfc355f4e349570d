/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slots.h - what this endpoint knows of its own slots. Called with the lock held.
 *
 *            take              slot_matched
 *   FREE ---------> POSTED ------------------> MATCHED
 *     ^                | slot_lingers             | slot_lingers
 *     +-- the reader --+------ LINGERS <----------+
 *         has seen it
 *
 * A matched slot whose copy the kernel refused is posted again, in its next generation, for the same write.
 *
 * The peer can change the words in shared memory, so they cannot tell what a slot is used for. Free
 * slots are a stack, so that few slots are used again and again, and stay in the cache. Posted ones
 * are a list in post order. A slot lingers when its write is complete here, but the reader may still
 * use it. Lingering slots are looked at only when a slot is needed.
 */
#ifndef ADMA_WORKER_SLOTS_H
#define ADMA_WORKER_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

enum adma_slot_use { ADMA_SLOT_FREE, ADMA_SLOT_POSTED, ADMA_SLOT_MATCHED, ADMA_SLOT_LINGERS };

#define ADMA_SLOT_NONE UINT32_MAX

struct adma_req;
struct adma_transfer;

struct adma_own_slot {
	uint32_t use; /* enum adma_slot_use */
	uint32_t gen;
	bool lost;    /* our close took its message back, or broke it off */
	bool exposed; /* the peer was offered a mechanism by which it copies from our buffer itself */
	int64_t posted_at; /* of one that is long: when it was posted; 0: nobody looked at the clock */
	uint32_t next, prev; /* in the list of its use; ADMA_SLOT_NONE: it is the last, or the first */
	union {
		struct adma_req *req;           /* ADMA_SLOT_POSTED */
		struct adma_transfer *transfer; /* ADMA_SLOT_MATCHED */
	} of;
};

/* Slots of one use. */
struct adma_slot_list {
	uint32_t first, last, count;
};

struct adma_slots {
	struct adma_segment *segment; /* ours */
	struct adma_own_slot *own;
	uint32_t capacity; /* slots whose pages are allocated */
	uint32_t limit;    /* as many as there can be: less than ADMA_SLOTS_MAX once growing has failed */
	struct adma_slot_list free, posted, lingering;
};

/* 0 or -ENOMEM. */
int adma_slots_init(struct adma_slots *slots, struct adma_segment *segment);
void adma_slots_free(struct adma_slots *slots);

/* A slot for the next write, or ADMA_SLOT_NONE. It is posted from now on, in its next generation, for this request. */
uint32_t adma_slots_take(struct adma_slots *slots, struct adma_req *req);

/*
 * Fill in the writer's fields of a slot that is about to be posted. `exposed`: by one of the mechanisms that are offered
 * the peer accesses our memory itself. Only then it learns the address.
 */
void adma_slots_describe(struct adma_slots *slots, uint32_t index, const struct adma_req *req, uint32_t offered,
			 bool exposed);

/* A posted slot was matched; the caller sets `of.transfer`. */
void adma_slots_matched(struct adma_slots *slots, uint32_t index);

/* A matched slot, whose transfer is gone: it is posted again, in its next generation, for this request. */
void adma_slots_post_again(struct adma_slots *slots, uint32_t index, struct adma_req *req);

/* A posted or matched slot: its write is complete here. */
void adma_slots_linger(struct adma_slots *slots, uint32_t index);

#endif
