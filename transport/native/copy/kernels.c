/* SPDX-License-Identifier: BSD-3-Clause */
/* kernels.c - the ways to copy, and the choice between them. */
#include "copy/kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#define KERNELS_BUILT ADMA_KERNELS
#else
#define KERNELS_BUILT 1
#endif

int adma_kernels(void)
{
	return KERNELS_BUILT;
}

const char *adma_kernel_name(int kernel)
{
	static const char *const names[ADMA_KERNELS] = {"libc", "movsb", "stream", "prefetch"};

	return kernel >= 0 && kernel < ADMA_KERNELS ? names[kernel] : "none";
}

/* ---- copying ---- */

#if defined(__x86_64__)

#define LINE 64 /* bytes of a cache line */
#define AHEAD (8 * LINE)

static void copy_movsb(void *dst, const void *src, size_t n)
{
	__asm__ __volatile__("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* How many bytes come before the first whole cache line of the destination. */
static size_t kernel_head(const void *dst, size_t n)
{
	size_t head = -(uintptr_t)dst % LINE;

	return head < n ? head : n;
}

typedef void kernel_store(__m128i *to, __m128i sixteen);

static inline void store_stream(__m128i *to, __m128i sixteen)
{
	_mm_stream_si128(to, sixteen);
}

static inline void store_cached(__m128i *to, __m128i sixteen)
{
	_mm_store_si128(to, sixteen);
}

/*
 * Copy cache line by cache line and prefetch the source; libc copies the bytes before the first whole
 * line and after the last. The function is inlined, so that `store` is not called by a pointer.
 */
static inline __attribute__((always_inline)) void copy_lines(uint8_t *dst, const uint8_t *src, size_t n,
							     kernel_store *store)
{
	size_t head = kernel_head(dst, n);

	memcpy(dst, src, head);
	dst += head, src += head, n -= head;
	for (; n >= LINE; dst += LINE, src += LINE, n -= LINE) {
		const __m128i *from = (const __m128i *)src;
		__m128i *to = (__m128i *)dst;

		/* A prefetch is a hint, and is ignored past the end of memory. */
		_mm_prefetch((const char *)src + AHEAD, _MM_HINT_T0);
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
		__m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
		store(to, a);
		store(to + 1, b);
		store(to + 2, c);
		store(to + 3, d);
	}
	memcpy(dst, src, n);
}

static void copy_stream(void *dst, const void *src, size_t n)
{
	copy_lines(dst, src, n, store_stream);
	/*
	 * Nothing else orders these stores before later ones, and a thread that is told that the copy
	 * is complete must see it.
	 */
	_mm_sfence();
}

static void copy_prefetch(void *dst, const void *src, size_t n)
{
	copy_lines(dst, src, n, store_cached);
}

void adma_kernel_copy(enum adma_kernel kernel, void *dst, const void *src, size_t n)
{
	switch (kernel) {
	case ADMA_KERNEL_MOVSB:
		copy_movsb(dst, src, n);
		break;
	case ADMA_KERNEL_STREAM:
		copy_stream(dst, src, n);
		break;
	case ADMA_KERNEL_PREFETCH:
		copy_prefetch(dst, src, n);
		break;
	default:
		memcpy(dst, src, n);
	}
}

#else

void adma_kernel_copy(enum adma_kernel kernel, void *dst, const void *src, size_t n)
{
	(void)kernel;
	memcpy(dst, src, n);
}

#endif

/* ---- choosing ---- */

uint32_t adma_kernel_median(const struct adma_kernel_samples *samples, enum adma_kernel kernel)
{
	uint32_t sorted[ADMA_KERNEL_SAMPLES];
	uint32_t n = samples->taken[kernel] < ADMA_KERNEL_SAMPLES ? samples->taken[kernel] : ADMA_KERNEL_SAMPLES;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = i;

		for (; at && sorted[at - 1] > samples->ns[kernel][i]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = samples->ns[kernel][i];
	}
	return n ? sorted[n / 2] : 0;
}

enum adma_kernel adma_kernel_next(struct adma_kernel_samples *samples)
{
	uint32_t part = samples->parts++;
	uint32_t ways = (uint32_t)adma_kernels();

	if (part < ways * ADMA_KERNEL_SAMPLES)
		return part % ways;
	if (part % ADMA_KERNEL_AGAIN == 0)
		return part / ADMA_KERNEL_AGAIN % ways;
	return samples->best;
}

static void kernel_choose(struct adma_kernel_samples *samples)
{
	uint64_t bar = adma_kernel_median(samples, ADMA_KERNEL_LIBC);

	samples->best = ADMA_KERNEL_LIBC;
	bar = bar * (100 - ADMA_KERNEL_MARGIN) / 100;
	for (int kernel = 1; kernel < adma_kernels(); kernel++) {
		uint32_t median = adma_kernel_median(samples, kernel);

		if (samples->taken[kernel] < ADMA_KERNEL_SAMPLES || median >= bar)
			continue;
		samples->best = (uint8_t)kernel;
		bar = median;
	}
}

void adma_kernel_took(struct adma_kernel_samples *samples, enum adma_kernel kernel, int64_t ns)
{
	uint32_t slot = samples->taken[kernel]++ % ADMA_KERNEL_SAMPLES;

	samples->ns[kernel][slot] = ns > 0 && ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
	/* Choosing sorts samples, so it is not done for every part that is copied in the best way. */
	if (slot == ADMA_KERNEL_SAMPLES - 1 || kernel != samples->best)
		kernel_choose(samples);
}
