/* SPDX-License-Identifier: BSD-3-Clause */
/* hash.h - any hash will do: the code under test must not rely on a particular one. */
#ifndef ADMA_TESTS_LINUX_HASH_H
#define ADMA_TESTS_LINUX_HASH_H

#include <linux/types.h>

static inline u32 hash_64(u64 value, unsigned int bits)
{
	return (value ^ value >> bits) & ((1u << bits) - 1);
}

#endif
