/* SPDX-License-Identifier: BSD-3-Clause */
/* part.c - parts of copies, and which way to copy them has been the fastest. */
#include "copy/part.h"

#include "adma.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/trace.h"
#include "copy/engine.h"
#include "copy/plan.h"

/* What was measured of each class of size: it stays true when queues stop and start. */
static struct adma_kernel_samples measured[ADMA_CLASSES];

static enum adma_kernel choose(const struct adma_copy *copy, uint64_t part)
{
	uint32_t forced = adma_offload.config.kernel;

	if (forced)
		return forced - 1;
	if (!adma_plan_has_choice(&copy->plan, part))
		return ADMA_KERNEL_LIBC;
	return adma_kernel_next(&measured[adma_class_of(copy->plan.bytes)]);
}

bool adma_part_claim(struct adma_copy *copy, struct adma_part *part)
{
	if (copy->claimed == copy->plan.parts || (copy->plan.in_order && copy->claimed != copy->copied))
		return false;
	if (!copy->claimed) {
		copy->times.started = adma_now();
		__atomic_store_n(&copy->state, ADMA_COPY_RUNNING, __ATOMIC_RELAXED);
	}
	part->number = copy->claimed++;
	part->kernel = choose(copy, part->number);
	return true;
}

bool adma_part_more(const struct adma_copy *copy)
{
	return copy->claimed < copy->plan.parts && !copy->plan.in_order;
}

void adma_part_run(const struct adma_copy *copy, struct adma_part *part)
{
	int64_t begin = adma_now();

	(void)ADMA_FAULT(ADMA_FAULT_CHUNK);
	adma_plan_run(&copy->plan, part->number, part->kernel);
	part->ns = adma_now() - begin;
	(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	adma_trace_span(ADMA_TRACE_COPY_PART, begin, copy, part->number, copy->plan.parts, 0);
}

bool adma_part_retire(struct adma_copy *copy, const struct adma_part *part)
{
	if (adma_plan_has_choice(&copy->plan, part->number))
		adma_kernel_took(&measured[adma_class_of(copy->plan.bytes)], part->kernel, part->ns);
	__atomic_store_n(&copy->copied, copy->copied + 1, __ATOMIC_RELAXED);
	if (copy->copied < copy->plan.parts)
		return copy->plan.in_order;
	copy->times.copied = adma_now();
	adma_copy_ended(copy, 0);
	return false;
}

void adma_engine_kernels(uint32_t class, struct adma_engine_kernels *found)
{
	adma_engine_lock();
	const struct adma_kernel_samples *samples = &measured[class < ADMA_CLASSES ? class : 0];

	found->ways = (uint32_t)adma_kernels();
	found->best = samples->best;
	for (int kernel = 0; kernel < ADMA_KERNELS; kernel++) {
		found->taken[kernel] = samples->taken[kernel];
		found->median_ns[kernel] = adma_kernel_median(samples, kernel);
	}
	adma_engine_unlock();
}
