/* SPDX-License-Identifier: BSD-3-Clause */
/* kernels.c - the ways, and the choice between them. */
#include "copy/kernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#define HAVE_WAYS ADMA_KERNELS
#else
#define HAVE_WAYS 1
#endif

int adma_kernels(void)
{
	return HAVE_WAYS;
}

const char *adma_kernel_name(int kernel)
{
	static const char *const names[ADMA_KERNELS] = {"libc", "movsb", "stream", "prefetch"};

	return kernel >= 0 && kernel < ADMA_KERNELS ? names[kernel] : "none";
}

/* ---- copying ---- */

#if defined(__x86_64__)

#define LINE 64
#define AHEAD (8 * LINE)

static void copy_movsb(void *dst, const void *src, size_t n)
{
	__asm__ __volatile__("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* Bytes before the first whole line of the destination. */
static size_t head_of(const void *dst, size_t n)
{
	size_t head = -(uintptr_t)dst % LINE;

	return head < n ? head : n;
}

typedef void store(__m128i *to, __m128i sixteen);

static inline void stream(__m128i *to, __m128i sixteen)
{
	_mm_stream_si128(to, sixteen);
}

static inline void keep(__m128i *to, __m128i sixteen)
{
	_mm_store_si128(to, sixteen);
}

/* Line by line, the source fetched ahead, heads and tails by libc. Inlined, so that `put` is no call. */
static inline __attribute__((always_inline)) void copy_lines(uint8_t *dst, const uint8_t *src, size_t n,
							     store *put)
{
	size_t head = head_of(dst, n);

	memcpy(dst, src, head);
	dst += head, src += head, n -= head;
	for (; n >= LINE; dst += LINE, src += LINE, n -= LINE) {
		const __m128i *from = (const __m128i *)src;
		__m128i *to = (__m128i *)dst;

		_mm_prefetch((const char *)src + AHEAD, _MM_HINT_T0); /* past the end: a hint that is ignored */
		__m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
		__m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
		put(to, a);
		put(to + 1, b);
		put(to + 2, c);
		put(to + 3, d);
	}
	memcpy(dst, src, n);
}

static void copy_stream(void *dst, const void *src, size_t n)
{
	copy_lines(dst, src, n, stream);
	/* Such stores are ordered by nothing else: who is told that it is copied must find it so. */
	_mm_sfence();
}

static void copy_prefetch(void *dst, const void *src, size_t n)
{
	copy_lines(dst, src, n, keep);
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

static void choose(struct adma_kernel_samples *samples)
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
	/* Not for each part of the one that serves: it would sort for ever. */
	if (slot == ADMA_KERNEL_SAMPLES - 1 || kernel != samples->best)
		choose(samples);
}
