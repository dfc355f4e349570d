// SPDX-License-Identifier: GPL-2.0
/* window.c - the part of a buffer that is pinned right now; see window.h. */
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "buffer.h"
#include "fetch.h"
#include "leaving.h"
#include "memory.h"
#include "pin.h"
#include "window.h"

/* Short-term pins are charged to nobody, so they are few. */
#define SHORT_TERM_MAX ((size_t)256 << 10)

/* ---- extents ---- */

/*
 * How many of these pages follow each other. They have to do so in physical memory, and in the
 * array of struct page, too, which has gaps on some machines: users of an extent add to its page.
 */
static unsigned long extent_pages(struct page *const *pages, unsigned long count)
{
	unsigned long n = 1;

	while (n < count && pages[n] == pages[0] + n &&
	       page_to_pfn(pages[n]) == page_to_pfn(pages[0]) + n)
		n++;
	return n;
}

/* Writes @pin's extents to @out, unless that is NULL; returns their number. */
static u32 extents_of_pin(const struct adma_pin *pin, struct adma_extent *out)
{
	unsigned long count = adma_pin_pages(pin), at, n;
	size_t left = pin->end - pin->start;
	u32 offset = offset_in_page(pin->start), extents = 0;
	size_t length;

	for (at = 0; at < count; at += n) {
		n = extent_pages(pin->pages + at, count - at);
		length = min(left, (n << PAGE_SHIFT) - offset);
		if (out)
			out[extents] = (struct adma_extent){ pin->pages[at], offset, length };
		extents++;
		left -= length;
		offset = 0;
	}
	return extents;
}

static int window_make_extents(struct adma_window *window)
{
	u32 count = 0, i;

	for (i = 0; i < window->pinned; i++)
		count += extents_of_pin(&window->pins[i], NULL);
	window->extents = kvmalloc_array(count, sizeof(*window->extents), GFP_KERNEL);
	if (!window->extents)
		return -ENOMEM;
	for (i = 0; i < window->pinned; i++) {
		window->count += extents_of_pin(&window->pins[i], window->extents + window->count);
		window->length += window->pins[i].end - window->pins[i].start;
	}
	return 0;
}

/* ---- windows ---- */

static void window_free_arrays(struct adma_window *window)
{
	kfree(window->pins);
	kvfree(window->extents);
}

int adma_window_unpin(struct adma_window *window, struct adma_buffer *buffer)
{
	int error = 0, pin_error;
	u32 i;

	for (i = 0; i < window->pinned; i++) {
		pin_error = adma_pin_put(&window->pins[i], &buffer->memory);
		error = error ?: pin_error;
	}
	window_free_arrays(window);
	return error;
}

void adma_window_abandon(struct adma_window *window, struct adma_buffer *buffer)
{
	u32 i;

	for (i = 0; i < window->pinned; i++)
		adma_pin_abandon(&window->pins[i], &buffer->memory);
}

void adma_window_put_abandoned(struct adma_window *window)
{
	u32 i;

	for (i = 0; i < window->pinned; i++)
		adma_pin_put_abandoned(&window->pins[i]);
	window_free_arrays(window);
}

/* May the CPU copy with a short-term pin, where a long-term one failed with @error? */
static bool window_may_be_short(const struct adma_buffer *buffer, int error)
{
	const struct adma_memory *memory = &buffer->memory;

	/* There is no memory for either. */
	if (error == -EFAULT || error == -ESRCH)
		return false;
	/* The fetch will bring the memory, unless others' page faults delay it for long. */
	if (error == -EAGAIN)
		return memory->policy != ADMA_BY_DMA && adma_fetch_is_delayed(&buffer->fetch);
	/* Under ADMA_BY_DMA the CPU copies only while RLIMIT_MEMLOCK is used up. */
	return memory->policy != ADMA_BY_DMA || error == -ENOMEM;
}

static int window_pin_from(struct adma_window *window, struct adma_buffer *buffer, u32 index,
			   size_t offset, size_t most)
{
	struct adma_memory *memory = &buffer->memory;
	int error = -EOPNOTSUPP;

	window->long_term = memory->long_term;
	if (window->long_term)
		error = adma_buffer_pin(buffer, window->pins, &window->pinned, index, offset, most,
					true);
	if (!error || !window_may_be_short(buffer, error))
		return error;
	if (error == -EOPNOTSUPP)
		memory->long_term = false; /* so that nothing is fetched to find this out again */
	window->long_term = false;
	return adma_buffer_pin(buffer, window->pins, &window->pinned, index, offset,
			       min(most, SHORT_TERM_MAX), false);
}

static int window_fill(struct adma_window *window, struct adma_buffer *buffer, u64 at, size_t most)
{
	const struct adma_memory *memory = &buffer->memory;
	u32 index;
	int error;

	for (index = 0; at >= memory->ranges[index].length; index++)
		at -= memory->ranges[index].length;
	adma_buffer_put_before(buffer, index, at);
	window->pins = kcalloc(memory->count - index, sizeof(*window->pins), GFP_KERNEL);
	if (!window->pins)
		return -ENOMEM;
	error = window_pin_from(window, buffer, index, at, most);
	if (!error)
		error = window_make_extents(window);
	if (error)
		adma_window_unpin(window, buffer);
	return error;
}

int adma_window_pin(struct adma_window *window, struct adma_buffer *buffer, u64 at, u64 most)
{
	struct mm_struct *mm = buffer->memory.mm;
	ktime_t begun = ktime_get();
	int error = -ESRCH;

	memset(window, 0, sizeof(*window));
	if (mmget_not_zero(mm)) {
		error = window_fill(window, buffer, at, min(most, adma_buffer_window()));
		adma_leave(mm);
	}
	buffer->memory.pin_ns += ktime_to_ns(ktime_sub(ktime_get(), begun));
	/* A fatal signal came: then one endpoint's process is about to exit. */
	return error == -EINTR ? -ESRCH : error;
}
