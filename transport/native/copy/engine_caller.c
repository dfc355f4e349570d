/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_caller.c - the engine without threads. It serves where a process has one core, where no
 * other engine could be started, and after the others were ended for good: then it finds in the
 * schedule what they left there.
 */
#include "copy/engine_caller.h"

#include "copy/part.h"
#include "copy/state.h"

static int caller_probe(void)
{
	return 0;
}

static int caller_start(uint32_t workers, enum adma_policy policy)
{
	(void)workers;
	adma_schedule_init(&adma_copies.schedule, policy, 1);
	return 0;
}

static bool caller_help(struct adma_copy *copy)
{
	copy = copy ? copy : adma_part_any_copy();
	if (!copy || adma_part_make(copy, ADMA_PART_BY_CALLER) == ADMA_PART_NONE)
		return false;
	adma_copies.stats.parts_callers++;
	return true;
}

const struct adma_engine adma_engine_caller = {
	.name = "caller",
	.leaves_to_callers = true,
	.probe = caller_probe,
	.start = caller_start,
	.submit = adma_part_enqueue,
	.cancel = adma_part_dequeue,
	.help = caller_help,
};
