/* SPDX-License-Identifier: BSD-3-Clause */
/* relax.h - the instruction by which a spinning loop yields resources of its core. */
#ifndef ADMA_RELAX_H
#define ADMA_RELAX_H

static inline void adma_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif
