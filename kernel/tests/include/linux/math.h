/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ADMA_TESTS_LINUX_MATH_H
#define ADMA_TESTS_LINUX_MATH_H

/* @to is a power of 2. */
#define round_down(n, to) ((n) & ~((__typeof__(n))(to) - 1))

#endif
