/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * estimate.h - which of several ways to move a message is the quickest here, learnt from how long they took.
 *
 * A *way* is anything that can be chosen for a transfer: a mechanism with a size of its chunks, for
 * example. The numbers of ways mean nothing here. One `struct adma_estimates` knows the transfers
 * of one kind, by size. It has no clock, no lock and no memory beyond itself; its random numbers
 * are its own, so that the same calls always give the same answers.
 *
 * Each size class has an *incumbent*: the way that its transfers take. It is the built-in one at
 * first, or that of a class beside it, and follows these until there is a sample of it.
 *
 *   at first     ADMA_PLAIN transfers go by it, and so does a program that has few. Then one in
 *                ADMA_TRY_EACH tries another way, ADMA_TRIES times. So one in four of the first 64 does
 *   later        trying takes 1 % of the time. The same if a try is much quicker than it was,
 *                or the incumbent changes its pace, but then there are as many tries as at first
 *   never        a way is tried that is predicted to take more than twice the time of the incumbent. A
 *                way without samples is predicted from the size classes around it, or else from the prior
 *   a change     needs a gain that is the clearer, the fewer samples there are
 *
 * What a way takes is the median of its last samples. So a stall now and then does not count.
 */
#ifndef ADMA_LEARN_ESTIMATE_H
#define ADMA_LEARN_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	ADMA_WAYS = 8,
	ADMA_WAY_SAMPLES = 15, /* a change in mid-run has come through after half as many */
	/* Size classes: powers of two, and halfway between them. Smaller and larger transfers are not told apart. */
	ADMA_SIZE_CLASS_FIRST = 12, /* the first one begins at 4 KiB */
	ADMA_SIZE_CLASSES = 2 * 20,
	ADMA_PLAIN = 16,
	ADMA_TRY_EACH = 3,
	ADMA_TRIES = 16,
};

#define ADMA_NO_WAY UINT32_MAX

/* What is known of one way in one size class: nanoseconds for each byte. */
struct adma_way_samples {
	float last[ADMA_WAY_SAMPLES]; /* a ring */
	uint16_t count, next;         /* how many of them are filled, and where the next one goes */
	uint32_t total;               /* how many there were */
	uint32_t heard;               /* the number of the transfer that brought the last one */
	float cost;                   /* their median; valid if there are any */
};

struct adma_size_class {
	struct adma_way_samples ways[ADMA_WAYS];
	uint32_t transfers;  /* how many were chosen for */
	uint32_t incumbent;  /* valid if there are samples of it */
	uint32_t trying;     /* so many more transfers one in ADMA_TRY_EACH tries another way */
	uint32_t turn;       /* which of the next ADMA_TRY_EACH does */
	uint32_t again;      /* a way that was quicker than expected, so that it is tried next; or ADMA_NO_WAY */
	uint32_t settled_at; /* the number of the transfer with which `trying` last ended */
	float pace;          /* what the incumbent took then, and lately */
	float allowance;     /* what may go into the next try */
	float spent;         /* what the last try was predicted to take, if it has not been heard of */
};

struct adma_estimates {
	struct adma_size_class classes[ADMA_SIZE_CLASSES];
	uint64_t random;
};

/* What there is to choose from. */
struct adma_ways {
	uint32_t mask;     /* the ways that are possible now; not empty */
	uint32_t built_in; /* the one among them that is taken without experience */
};

/* The size class of so many bytes. */
uint32_t adma_estimates_class(uint64_t bytes);

/* The way that the next transfer of so many bytes is to take. Its time is expected in adma_estimates_note(). */
uint32_t adma_estimates_choose(struct adma_estimates *e, uint64_t bytes, struct adma_ways ways);

/* The way that such a transfer takes, if it is not to try another one and teaches nothing. */
uint32_t adma_estimates_best(const struct adma_estimates *e, uint64_t bytes, struct adma_ways ways);

/* Has the size class of so many bytes finished its first tries? */
bool adma_estimates_settled(const struct adma_estimates *e, uint64_t bytes);

/* An undisturbed transfer of so many bytes took this time. */
void adma_estimates_note(struct adma_estimates *e, uint64_t bytes, uint32_t way, uint64_t nanoseconds);

/* What is known of a way: how many samples there were, and the nanoseconds that so many bytes are predicted to take; 0: unknown. */
struct adma_way_known {
	uint32_t samples;
	uint64_t nanoseconds;
};
struct adma_way_known adma_estimates_known(const struct adma_estimates *e, uint64_t bytes, uint32_t way);

/*
 * What the samples of a way say in a size class, in nanoseconds for each byte: to be stored, and taken up by a later
 * process. 0: there are too few samples.
 */
float adma_estimates_tell(const struct adma_estimates *e, uint32_t class, uint32_t way, bool *incumbent);

/* Take it up, if nothing is known of the class but what was taken up. It counts as a few samples. */
void adma_estimates_take_up(struct adma_estimates *e, uint32_t class, uint32_t way, float cost, bool incumbent);

#endif
