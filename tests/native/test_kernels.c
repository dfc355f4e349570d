/* SPDX-License-Identifier: BSD-3-Clause */
/* test_kernels.c - each way copies every byte and no other, and the choice follows the measurements. */
#include <string.h>

#include "copy/kernels.h"
#include "require.h"

#define ROOM 4096
#define GUARD 128

static unsigned long long seed = 7081945;

/* At odd lengths and alignments; the bytes around the destination stay as they were. */
static void copies_exactly(enum adma_kernel kernel)
{
	static uint8_t src[ROOM + 2 * GUARD], dst[ROOM + 2 * GUARD];

	for (int round = 0; round < 4000; round++) {
		size_t n = draw(&seed) % (round % 2 ? 300 : ROOM), from = draw(&seed) % GUARD, to = draw(&seed) % GUARD;

		for (size_t i = 0; i < sizeof(src); i++)
			src[i] = (uint8_t)draw(&seed);
		memset(dst, 0xa5, sizeof(dst));
		adma_kernel_copy(kernel, dst + GUARD / 2 + to, src + from, n);
		REQUIRE(!memcmp(dst + GUARD / 2 + to, src + from, n));
		for (size_t i = 0; i < sizeof(dst); i++)
			if (i < GUARD / 2 + to || i >= GUARD / 2 + to + n)
				REQUIRE(dst[i] == 0xa5);
	}
}

/* Let a way take the same time for every part, except for one part in fifty that is slow. */
static void feed(struct adma_kernel_samples *samples, const int64_t *ns, int parts, int *used)
{
	for (int i = 0; i < parts; i++) {
		enum adma_kernel kernel = adma_kernel_next(samples);

		REQUIRE((int)kernel < adma_kernels());
		used[kernel]++;
		adma_kernel_took(samples, kernel, draw(&seed) % 50 ? ns[kernel] : 50 * ns[kernel]);
	}
}

static void chooses(const int64_t *ns, enum adma_kernel expected)
{
	struct adma_kernel_samples samples = {0};
	int used[ADMA_KERNELS] = {0}, parts = 20000;

	feed(&samples, ns, parts, used);
	REQUIRE(samples.best == expected);
	REQUIRE(used[expected] > parts * 9 / 10);
	for (int kernel = 0; kernel < adma_kernels(); kernel++)
		REQUIRE(used[kernel] >= ADMA_KERNEL_SAMPLES); /* no way is given up for good */
}

static void follows_a_change(void)
{
	static const int64_t before[] = {1000, 500, 2000, 2000}, after[] = {1000, 3000, 2000, 400};
	struct adma_kernel_samples samples = {0};
	int used[ADMA_KERNELS] = {0};

	feed(&samples, before, 5000, used);
	REQUIRE(samples.best == ADMA_KERNEL_MOVSB);
	feed(&samples, after, 100, used);
	REQUIRE(samples.best == ADMA_KERNEL_LIBC); /* the way in use is measured all the time */
	feed(&samples, after, ADMA_KERNEL_AGAIN * ADMA_KERNELS * ADMA_KERNEL_SAMPLES, used);
	REQUIRE(samples.best == ADMA_KERNEL_PREFETCH);
}

int main(void)
{
	static const int64_t libc_best[] = {1000, 1200, 1300, 1100}, hardly_better[] = {1000, 950, 1300, 910};
	static const int64_t stream_best[] = {1000, 1200, 600, 899}, movsb_best[] = {1000, 300, 600, 899};

	for (int kernel = 0; kernel < ADMA_KERNELS; kernel++)
		copies_exactly(kernel);
	chooses(libc_best, ADMA_KERNEL_LIBC);
	if (adma_kernels() == ADMA_KERNELS) {
		chooses(hardly_better, ADMA_KERNEL_LIBC);
		chooses(stream_best, ADMA_KERNEL_STREAM);
		chooses(movsb_best, ADMA_KERNEL_MOVSB);
		follows_a_change();
	}
	printf("kernels: %d ways copy exactly, and the choice follows the samples\n", adma_kernels());
	return 0;
}
