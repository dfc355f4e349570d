// SPDX-License-Identifier: GPL-2.0
/* buffer.c - memory that was posted, and the pins held of it; see buffer.h. */
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "buffer.h"
#include "dma.h"
#include "fetch.h"
#include "memory.h"
#include "pin.h"

static unsigned long window = 4 << 20;
module_param(window, ulong, 0644);
MODULE_PARM_DESC(window, "bytes pinned at a time for one side of a transfer");

#define WINDOW_MAX BIT(30)

u64 adma_buffer_window(void)
{
	return clamp(READ_ONCE(window) & PAGE_MASK, PAGE_SIZE, WINDOW_MAX);
}

/* ---- pins ---- */

static int buffer_pin_range(struct adma_buffer *buffer, struct adma_pin *pin, u32 index,
			    unsigned long start, unsigned long end, bool long_term)
{
	struct adma_memory *memory = &buffer->memory;
	struct adma_pin *held;
	int error;

	if (!long_term)
		return adma_pin_get_short(pin, memory, start, end);
	if (index < buffer->held_count && buffer->held[index].entry) {
		held = &buffer->held[index];
		error = adma_pin_share(pin, held, start, end);
		if (error != -EAGAIN)
			return error;
		adma_pin_put(held, memory);
	}
	error = adma_fetch_pin(&buffer->fetch, pin, memory, start, end, true);
	if (error != -EAGAIN)
		return error;
	return adma_pin_get(pin, memory, start, end);
}

/* A transfer has fetched what it cannot have at once. If that failed, the error is the pin's. */
static int buffer_pin_or_fetch(struct adma_buffer *buffer, struct adma_pin *pin, u32 index,
			       unsigned long start, unsigned long end, bool long_term)
{
	struct adma_memory *memory = &buffer->memory;
	int error = buffer_pin_range(buffer, pin, index, start, end, long_term);

	if (error != -EAGAIN || memory->wait != ADMA_PIN_NOWAIT)
		return error;
	if (!long_term)
		error = adma_fetch_pin(&buffer->fetch, pin, memory, start, end, false);
	if (error == -EAGAIN)
		adma_fetch_begin(&buffer->fetch, memory, start, end, long_term);
	return error;
}

/*
 * Within a range, pins begin and end at multiples of the window. So the pins of two buffers of
 * different alignment break at the same bytes of the message, and the next transfer finds them
 * in the cache, whatever its other buffer is.
 */
int adma_buffer_pin(struct adma_buffer *buffer, struct adma_pin *pins, u32 *pinned, u32 index,
		    size_t offset, size_t most, bool long_term)
{
	const struct adma_memory *memory = &buffer->memory;
	const size_t step = adma_buffer_window();
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
		if (*pinned) /* what cannot be had at once is left to the next window */
			error = buffer_pin_range(buffer, pin, index, base + offset, base + stop,
						 long_term);
		else
			error = buffer_pin_or_fetch(buffer, pin, index, base + offset, base + stop,
						    long_term);
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

void adma_buffer_put_before(struct adma_buffer *buffer, u32 index, size_t offset)
{
	const struct adma_range *ranges = buffer->memory.ranges;
	struct adma_pin *held;
	u32 i;

	for (i = 0; i < buffer->held_count && i <= index; i++) {
		held = &buffer->held[i];
		if (held->entry && (i < index || held->end <= ranges[i].address + offset))
			adma_pin_put(held, &buffer->memory);
	}
}

/* ---- take and drop ---- */

/* Pins the first window, and holds it. */
static int buffer_hold(struct adma_buffer *buffer)
{
	struct adma_memory *memory = &buffer->memory;
	ktime_t begun = ktime_get();
	struct adma_pin *pins;
	u32 pinned = 0;
	int error;

	pins = kcalloc(memory->count, sizeof(*pins), GFP_KERNEL_ACCOUNT);
	if (!pins)
		return -ENOMEM;
	memory->wait = ADMA_PIN_WAIT_OWN;
	error = adma_buffer_pin(buffer, pins, &pinned, 0, 0, adma_buffer_window(), true);
	memory->wait = ADMA_PIN_NOWAIT;
	buffer->held = pins;
	buffer->held_count = pinned;
	memory->pin_ns += ktime_to_ns(ktime_sub(ktime_get(), begun));
	return error;
}

static bool buffer_wants_long_term(const struct adma_memory *memory)
{
	if (memory->policy == ADMA_BY_ANY)
		return memory->length >= adma_dma_min() && adma_dma_works();
	return memory->policy == ADMA_BY_DMA;
}

/* Called when all ranges have been added. */
static int buffer_check_and_hold(struct adma_buffer *buffer)
{
	struct adma_memory *memory = &buffer->memory;
	bool must = memory->policy == ADMA_BY_DMA;
	int error;

	if (!memory->length)
		return 0;
	memory->long_term = buffer_wants_long_term(memory);
	error = adma_memory_check(memory);
	if (error)
		return error;
	if (!memory->long_term)
		return must ? -EOPNOTSUPP : 0;
	error = buffer_hold(buffer);
	/*
	 * If others have used up the limit for now, or if a page fault has to bring the page,
	 * then it may still be pinned when it is copied.
	 */
	if (!error || error == -EAGAIN || (error == -ENOMEM && memory->memlock))
		return 0;
	if (must || error == -EFAULT || error == -EINTR)
		return error;
	memory->long_term = false;
	return 0;
}

static int buffer_init(struct adma_buffer *buffer, u32 count, bool write, u32 policy,
		       const struct adma_poster *poster)
{
	*buffer = (struct adma_buffer){ };
	return adma_memory_init(&buffer->memory, count, write, policy, poster);
}

int adma_buffer_take(struct adma_buffer *buffer, const struct adma_iovec __user *iov, u32 count,
		     bool write, u32 policy, const struct adma_poster *poster)
{
	int error = buffer_init(buffer, count, write, policy, poster);

	if (error)
		return error;
	error = adma_memory_add_all(&buffer->memory, iov, count);
	if (!error)
		error = buffer_check_and_hold(buffer);
	if (error)
		adma_buffer_drop(buffer);
	return error;
}

int adma_buffer_take_range(struct adma_buffer *buffer, u64 address, u64 length, bool write,
			   u32 policy, const struct adma_poster *poster)
{
	int error = buffer_init(buffer, 1, write, policy, poster);

	if (error)
		return error;
	error = adma_memory_add(&buffer->memory, address, length);
	if (!error)
		error = buffer_check_and_hold(buffer);
	if (error)
		adma_buffer_drop(buffer);
	return error;
}

void adma_buffer_drop(struct adma_buffer *buffer)
{
	u32 i;

	if (!buffer->memory.mm)
		return;
	adma_fetch_release(&buffer->fetch, &buffer->memory);
	for (i = 0; i < buffer->held_count; i++) {
		if (buffer->held[i].entry)
			adma_pin_put(&buffer->held[i], &buffer->memory);
	}
	kfree(buffer->held);
	adma_memory_free(&buffer->memory);
	*buffer = (struct adma_buffer){ };
}
