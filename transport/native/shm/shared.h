/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared.h - plain words that a peer can write at any time, and the only functions that read and write them.
 *
 * A word that is read twice may have two values: one for the check, and another one for the use. A member of one of
 * these types has no value for a program but by a load, which reads it once, and whose result is private. (The compiler
 * may not read it again: the access is atomic. It is relaxed, since another word of the same life publishes it.)
 * `make lint` checks that nobody else names the members of these types (scripts/shared_words.py).
 */
#ifndef ADMA_SHM_SHARED_H
#define ADMA_SHM_SHARED_H

#include <stdint.h>

struct adma_shared_u64 {
	uint64_t peer_writable;
};

struct adma_shared_u32 {
	uint32_t peer_writable;
};

static inline uint64_t adma_shared_load_u64(const struct adma_shared_u64 *word)
{
	return __atomic_load_n(&word->peer_writable, __ATOMIC_RELAXED);
}

static inline uint32_t adma_shared_load_u32(const struct adma_shared_u32 *word)
{
	return __atomic_load_n(&word->peer_writable, __ATOMIC_RELAXED);
}

static inline void adma_shared_store_u64(struct adma_shared_u64 *word, uint64_t value)
{
	__atomic_store_n(&word->peer_writable, value, __ATOMIC_RELAXED);
}

static inline void adma_shared_store_u32(struct adma_shared_u32 *word, uint32_t value)
{
	__atomic_store_n(&word->peer_writable, value, __ATOMIC_RELAXED);
}

#endif
