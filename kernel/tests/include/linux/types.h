/* SPDX-License-Identifier: BSD-3-Clause */
/* types.h - the kernel's types, as far as the module's pure code needs them. */
#ifndef ADMA_TESTS_LINUX_TYPES_H
#define ADMA_TESTS_LINUX_TYPES_H

#include_next <linux/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define __user

struct list_head {
	struct list_head *next, *prev;
};

#endif
