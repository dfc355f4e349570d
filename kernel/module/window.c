// SPDX-License-Identifier: GPL-2.0
/* window.c - what of a memory is pinned right now, as runs of pages; see memory.h. */
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "fetch.h"
#include "memory.h"
#include "pin.h"

static unsigned long window = 4 << 20;
module_param(window, ulong, 0644);
MODULE_PARM_DESC(window, "bytes pinned at a time for one side of a transfer");

#define WINDOW_MAX BIT(30)
#define BRIEF_MAX  ((size_t)256 << 10) /* what is not charged to anybody is little */

u64 adma_window_bytes(void)
{
	return clamp(READ_ONCE(window) & PAGE_MASK, PAGE_SIZE, WINDOW_MAX);
}

/* ---- pins ---- */

static int pin_range(struct adma_pin *pin, struct adma_memory *memory, u32 index,
		     unsigned long start, unsigned long end, bool lasting)
{
	struct adma_pin *held;
	int error;

	if (!lasting)
		return adma_pin_brief(pin, memory, start, end);
	if (index < memory->holds && memory->held[index].entry) {
		held = &memory->held[index];
		error = adma_pin_share(pin, held, start, end);
		if (error != -EAGAIN)
			return error;
		adma_pin_put(held, memory);
	}
	error = adma_fetch_pin(pin, memory, start, end, true);
	if (error != -EAGAIN)
		return error;
	return adma_pin_get(pin, memory, start, end);
}

/* What a transfer cannot have at once is fetched. If that fails, its error is the pin's. */
static int pin_or_fetch(struct adma_pin *pin, struct adma_memory *memory, u32 index,
			unsigned long start, unsigned long end, bool lasting)
{
	int error = pin_range(pin, memory, index, start, end, lasting);

	if (error != -EAGAIN || memory->patience != ADMA_PIN_AT_ONCE)
		return error;
	if (!lasting)
		error = adma_fetch_pin(pin, memory, start, end, false);
	if (error == -EAGAIN)
		adma_fetch_begin(memory, start, end, lasting);
	return error;
}

/*
 * Pin the ranges from byte @offset of range @index on, until one is not pinned to its
 * end. Within a range, pins begin and end at multiples of the window: so two buffers
 * of different alignment go in step, and are found in the cache the next time, whoever
 * the other one is then. An error is one of the first pin's.
 */
static int pin_ranges(struct adma_pin *pins, u32 *pinned, struct adma_memory *memory, u32 index,
		      size_t offset, size_t most, bool lasting)
{
	const size_t step = adma_window_bytes();
	const struct adma_range *range;
	struct adma_pin *pin;
	unsigned long base;
	size_t stop;
	int error;

	for (; most && index < memory->count; index++) {
		range = &memory->ranges[index];
		stop = min3(range->length, offset + most, offset - offset % step + step);
		pin = &pins[*pinned];
		base = range->address;
		if (*pinned) /* what cannot be had at once is the next window's */
			error = pin_range(pin, memory, index, base + offset, base + stop, lasting);
		else
			error = pin_or_fetch(pin, memory, index, base + offset, base + stop,
					     lasting);
		if (error)
			return *pinned ? 0 : error;
		++*pinned;
		if (pin->end != base + range->length)
			break;
		most -= pin->end - pin->start;
		offset = 0;
	}
	return 0;
}

int adma_memory_hold(struct adma_memory *memory)
{
	ktime_t begun = ktime_get();
	struct adma_pin *pins;
	u32 pinned = 0;
	int error;

	pins = kcalloc(memory->count, sizeof(*pins), GFP_KERNEL_ACCOUNT);
	if (!pins)
		return -ENOMEM;
	memory->patience = ADMA_PIN_OWN;
	error = pin_ranges(pins, &pinned, memory, 0, 0, adma_window_bytes(), true);
	memory->patience = ADMA_PIN_AT_ONCE;
	memory->held = pins;
	memory->holds = pinned;
	memory->pin_ns += ktime_to_ns(ktime_sub(ktime_get(), begun));
	return error;
}

/* What lies before the window is copied. */
static void let_go_before(struct adma_memory *memory, u32 index, size_t offset)
{
	struct adma_pin *held;
	u32 i;

	for (i = 0; i < memory->holds && i <= index; i++) {
		held = &memory->held[i];
		if (held->entry && (i < index || held->end <= memory->ranges[i].address + offset))
			adma_pin_put(held, memory);
	}
}

/* ---- extents ---- */

/*
 * How many of these pages follow each other, in physical memory and in the
 * map of it too, which has gaps on some machines: users of an extent add to its page.
 */
static unsigned long run(struct page *const *pages, unsigned long count)
{
	unsigned long n = 1;

	while (n < count && pages[n] == pages[0] + n &&
	       page_to_pfn(pages[n]) == page_to_pfn(pages[0]) + n)
		n++;
	return n;
}

/* Appends @pin's extents to @out, unless that is NULL; returns their number. */
static u32 pin_extents(const struct adma_pin *pin, struct adma_extent *out)
{
	unsigned long count = adma_pin_pages(pin), at, n;
	size_t left = pin->end - pin->start;
	u32 offset = offset_in_page(pin->start), extents = 0;
	size_t length;

	for (at = 0; at < count; at += n) {
		n = run(pin->pages + at, count - at);
		length = min(left, (n << PAGE_SHIFT) - offset);
		if (out)
			out[extents] = (struct adma_extent){ pin->pages[at], offset, length };
		extents++;
		left -= length;
		offset = 0;
	}
	return extents;
}

static int make_extents(struct adma_window *window)
{
	u32 count = 0, i;

	for (i = 0; i < window->pinned; i++)
		count += pin_extents(&window->pins[i], NULL);
	window->extents = kvmalloc_array(count, sizeof(*window->extents), GFP_KERNEL);
	if (!window->extents)
		return -ENOMEM;
	for (i = 0; i < window->pinned; i++) {
		window->count += pin_extents(&window->pins[i], window->extents + window->count);
		window->length += window->pins[i].end - window->pins[i].start;
	}
	return 0;
}

/* ---- windows ---- */

static void free_arrays(struct adma_window *window)
{
	kfree(window->pins);
	kvfree(window->extents);
}

int adma_window_unpin(struct adma_window *window, struct adma_memory *memory)
{
	int error = 0, pin_error;
	u32 i;

	for (i = 0; i < window->pinned; i++) {
		pin_error = adma_pin_put(&window->pins[i], memory);
		error = error ?: pin_error;
	}
	free_arrays(window);
	return error;
}

void adma_window_abandon(struct adma_window *window, struct adma_memory *memory)
{
	u32 i;

	for (i = 0; i < window->pinned; i++)
		adma_pin_abandon(&window->pins[i], memory);
	free_arrays(window);
}

/* May a brief pin, and the CPU, do where a lasting one failed? */
static bool may_be_brief(const struct adma_memory *memory, int error)
{
	if (error == -EFAULT || error == -ESRCH) /* not there for either */
		return false;
	if (error == -EAGAIN) /* it will be; unless others' faults are in the way for long */
		return memory->policy != ADMA_BY_DMA && adma_fetch_stands(memory);
	/* Of what is the engine's only where RLIMIT_MEMLOCK is used up for now. */
	return memory->policy != ADMA_BY_DMA || error == -ENOMEM;
}

static int pin_window(struct adma_window *window, struct adma_memory *memory, u32 index,
		      size_t offset, size_t most)
{
	int error = -EOPNOTSUPP;

	window->lasting = memory->lasting;
	if (window->lasting)
		error = pin_ranges(window->pins, &window->pinned, memory, index, offset, most,
				   true);
	if (!error || !may_be_brief(memory, error))
		return error;
	if (error == -EOPNOTSUPP)
		memory->lasting = false; /* nothing is fetched to learn it again */
	window->lasting = false;
	return pin_ranges(window->pins, &window->pinned, memory, index, offset,
			  min(most, BRIEF_MAX), false);
}

static int fill(struct adma_window *window, struct adma_memory *memory, u64 at, size_t most)
{
	u32 index;
	int error;

	for (index = 0; at >= memory->ranges[index].length; index++)
		at -= memory->ranges[index].length;
	let_go_before(memory, index, at);
	window->pins = kcalloc(memory->count - index, sizeof(*window->pins), GFP_KERNEL);
	if (!window->pins)
		return -ENOMEM;
	error = pin_window(window, memory, index, at, most);
	if (!error)
		error = make_extents(window);
	if (error)
		adma_window_unpin(window, memory);
	return error;
}

int adma_window_pin(struct adma_window *window, struct adma_memory *memory, u64 at, u64 most)
{
	ktime_t begun = ktime_get();
	int error = -ESRCH;

	memset(window, 0, sizeof(*window));
	if (mmget_not_zero(memory->mm)) {
		error = fill(window, memory, at, min(most, adma_window_bytes()));
		mmput_async(memory->mm); /* its end is not ours to wait for */
	}
	memory->pin_ns += ktime_to_ns(ktime_sub(ktime_get(), begun));
	/* Killed: then one end's process is going. */
	return error == -EINTR ? -ESRCH : error;
}
