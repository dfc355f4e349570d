/* SPDX-License-Identifier: BSD-3-Clause */
/* minmax.h - like the kernel's macros, these insist on operands of one type. */
#ifndef ADMA_TESTS_LINUX_MINMAX_H
#define ADMA_TESTS_LINUX_MINMAX_H

#define ADMA_PICK(a, b, operator) \
	({ \
		__typeof__(a) pick_a = (a); \
		__typeof__(b) pick_b = (b); \
		_Static_assert( \
			__builtin_types_compatible_p(__typeof__(pick_a), __typeof__(pick_b)), \
			"two types"); \
		pick_a operator pick_b ? pick_a : pick_b; \
	})

#define min(a, b) ADMA_PICK(a, b, <)
#define max(a, b) ADMA_PICK(a, b, >)

static inline __SIZE_TYPE__ min3(__SIZE_TYPE__ a, __SIZE_TYPE__ b, __SIZE_TYPE__ c)
{
	return min(min(a, b), c);
}

#endif
