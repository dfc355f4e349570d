// SPDX-License-Identifier: GPL-2.0
/* dma_selftest.c - does a DMA channel copy what it is told to; see dma_selftest.h. */
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "dma_channel.h"
#include "dma_descriptor.h"
#include "dma_selftest.h"

#define COPIES    64   /* one for each length modulo as many units */
#define OFFSETS   8    /* of both sides, in units */
#define UNTOUCHED 0x5a

/* References: the tester's, and that of a stuck descriptor. */
struct selftest {
	struct kref refs;
	struct adma_dma_descriptor descriptor;
	struct completion completion;
	enum adma_outcome outcome;
	size_t unit; /* bytes: the alignment */
	size_t size; /* bytes of either side */
	u8 *to;
	u8 *from;
};

static void selftest_free(struct kref *refs)
{
	struct selftest *test = container_of(refs, struct selftest, refs);

	if (test->to)
		free_pages_exact(test->to, test->size);
	if (test->from)
		free_pages_exact(test->from, test->size);
	kfree(test);
}

static void selftest_complete(struct adma_dma_descriptor *descriptor, enum adma_outcome outcome)
{
	struct selftest *test = container_of(descriptor, struct selftest, descriptor);

	if (outcome == ADMA_FREED) {
		kref_put(&test->refs, selftest_free);
		return;
	}
	if (outcome == ADMA_STUCK)
		kref_get(&test->refs);
	test->outcome = outcome;
	complete(&test->completion);
}

/* No two bytes that are near each other are the same, nor what the destination is filled with. */
static void selftest_fill(struct selftest *test)
{
	size_t i;

	for (i = 0; i < test->size; i++) {
		test->from[i] = i % 251;
		if (test->from[i] == UNTOUCHED)
			test->from[i] = 255;
	}
}

static struct selftest *selftest_make(size_t align)
{
	struct selftest *test = kzalloc(sizeof(*test), GFP_KERNEL);

	if (!test)
		return NULL;
	kref_init(&test->refs);
	init_completion(&test->completion);
	test->descriptor.complete = selftest_complete;
	test->unit = align;
	test->size = PAGE_ALIGN(max_t(size_t, 4 * PAGE_SIZE, 5 * COPIES * align));
	test->to = alloc_pages_exact(test->size, GFP_KERNEL);
	test->from = alloc_pages_exact(test->size, GFP_KERNEL);
	if (!test->to || !test->from) {
		kref_put(&test->refs, selftest_free);
		return NULL;
	}
	selftest_fill(test);
	return test;
}

static void selftest_wait(struct selftest *test, unsigned long timeout)
{
	while (!wait_for_completion_timeout(&test->completion, timeout))
		adma_dma_channel_retire(&test->descriptor, timeout);
}

static int selftest_submit(struct selftest *test, struct adma_dma_channel *channel, u8 *to,
			   const u8 *from, size_t length, unsigned long timeout)
{
	struct adma_dma_descriptor *descriptor = &test->descriptor;
	int error;

	descriptor->to = virt_to_page(to);
	descriptor->to_offset = offset_in_page(to);
	descriptor->from = virt_to_page(from);
	descriptor->from_offset = offset_in_page(from);
	descriptor->length = length;
	reinit_completion(&test->completion);
	error = adma_dma_channel_submit(channel, descriptor);
	if (error)
		return error == -ENODEV ? error : -EIO;
	selftest_wait(test, timeout);
	if (READ_ONCE(channel->state) == ADMA_CHANNEL_RETIRED)
		return -ETIMEDOUT;
	if (READ_ONCE(channel->state) == ADMA_CHANNEL_LOST)
		return -ENODEV;
	return test->outcome == ADMA_COPIED ? 0 : -EIO;
}

static bool selftest_is_untouched(const u8 *from, const u8 *to)
{
	return !memchr_inv(from, UNTOUCHED, to - from);
}

/* The @n-th copy. Each other one goes across the end of a page. */
static int selftest_copy(struct selftest *test, struct adma_dma_channel *channel, unsigned int n,
			 unsigned long timeout)
{
	size_t start = (n % 2 ? COPIES : 2 * COPIES) * test->unit;
	size_t length = min_t(size_t, (COPIES + n) * test->unit, channel->most);
	u8 *to, *from;
	int error;

	if (n % 2)
		start = max_t(size_t, start, PAGE_SIZE) - COPIES / 2 * test->unit;
	to = test->to + start + n % OFFSETS * test->unit;
	from = test->from + start + n / OFFSETS % OFFSETS * test->unit;
	memset(test->to, UNTOUCHED, test->size);
	error = selftest_submit(test, channel, to, from, length, timeout);
	if (error)
		return error;
	if (memcmp(to, from, length) || !selftest_is_untouched(test->to, to) ||
	    !selftest_is_untouched(to + length, test->to + test->size))
		return -EIO;
	return 0;
}

int adma_dma_selftest(struct adma_dma_channel *channel, unsigned long timeout)
{
	struct selftest *test = selftest_make(channel->align);
	int error = 0;
	unsigned int n;

	if (!test)
		return -ENOMEM;
	for (n = 0; n < COPIES && !error; n++)
		error = selftest_copy(test, channel, n, timeout);
	kref_put(&test->refs, selftest_free);
	return error;
}
