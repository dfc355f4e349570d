// SPDX-License-Identifier: GPL-2.0
/* transfer.c - a matched pair on its way; see transfer.h. */
#include <linux/cred.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "counters.h"
#include "cpu.h"
#include "dma.h"
#include "transfer.h"

static unsigned int inline_max = 16384;
module_param(inline_max, uint, 0644);
MODULE_PARM_DESC(inline_max, "bytes; the CPU copies up to this in the late poster's own call");

/*
 * What sleeps until an engine is done has a queue of its own: so engines that hang hold up
 * no copy by the CPU.
 */
static struct workqueue_struct *dma_queue;
static struct workqueue_struct *cpu_queue;

static bool wants_dma(const struct adma_transfer *transfer)
{
	return transfer->policy != ADMA_BY_CPU && transfer->length >= adma_dma_min() &&
	       adma_dma_works();
}

/* ---- a window ---- */

/* What a window is copied from and to, and when that was. */
struct window_copy {
	struct adma_window to;
	struct adma_window from;
	size_t length;
	ktime_t submitted;
	ktime_t ended;
};

static void copy_by_cpu(struct adma_transfer *transfer, struct window_copy *copy)
{
	struct adma_place to = { }, from = { };

	copy->submitted = ktime_get();
	adma_cpu_copy(copy->to.extents, &to, copy->from.extents, &from, copy->length);
	copy->ended = ktime_get();
	adma_tally_add(transfer->tally, ADMA_COUNT_BYTES_CPU, copy->length);
}

/* -EIO: stuck. */
static int copy_by_dma(struct adma_transfer *transfer, struct window_copy *copy)
{
	struct adma_dma_copy dma = {
		.to = copy->to.extents,
		.from = copy->from.extents,
		.length = copy->length,
		.tally = transfer->tally,
	};
	ktime_t begun = ktime_get();
	int error = adma_dma_copy(&dma);

	if (error == -ENOMEM) {
		copy_by_cpu(transfer, copy);
		return 0;
	}
	copy->submitted = dma.submitted ?: begun;
	copy->ended = dma.ended;
	return error;
}

/* Both sides, as far as both reach. */
static int pin(struct adma_transfer *transfer, struct window_copy *copy)
{
	u64 at = transfer->copied;
	int error;

	error = adma_window_pin(&copy->to, transfer->destination, at, transfer->length - at);
	if (error)
		return error;
	error = adma_window_pin(&copy->from, transfer->source, at, copy->to.length);
	if (error)
		adma_window_unpin(&copy->to, transfer->destination);
	copy->length = min(copy->to.length, copy->from.length);
	return error;
}

static int unpin(struct adma_transfer *transfer, struct window_copy *copy)
{
	int to = adma_window_unpin(&copy->to, transfer->destination);
	int from = adma_window_unpin(&copy->from, transfer->source);

	return to ?: from;
}

static int copy_window(struct adma_transfer *transfer, struct window_copy *copy)
{
	int error = pin(transfer, copy);

	if (error)
		return error;
	if (copy->to.lasting && copy->from.lasting && wants_dma(transfer))
		error = copy_by_dma(transfer, copy);
	else
		copy_by_cpu(transfer, copy);
	if (error) {
		adma_window_abandon(&copy->to, transfer->destination);
		adma_window_abandon(&copy->from, transfer->source);
		return error;
	}
	error = unpin(transfer, copy);
	if (!error)
		WRITE_ONCE(transfer->copied, transfer->copied + copy->length);
	return error;
}

/* ---- the transfer ---- */

static u64 pinning(const struct adma_transfer *transfer)
{
	return transfer->destination->pin_ns + transfer->source->pin_ns;
}

static u64 elapsed(ktime_t from, ktime_t to, u64 less)
{
	u64 ns = ktime_to_ns(ktime_sub(to, from));

	return ns - min(ns, less);
}

static void note_times(struct adma_transfer *transfer, const struct window_copy *copy)
{
	if (!copy->submitted)
		return;
	if (!transfer->submitted) {
		transfer->submitted = copy->submitted;
		transfer->pinned_first = pinning(transfer);
		transfer->start_ns = elapsed(transfer->matched, transfer->submitted,
					     transfer->pinned_first - transfer->pinned);
	}
	transfer->ended = copy->ended;
	transfer->copy_ns = elapsed(transfer->submitted, transfer->ended,
				    pinning(transfer) - transfer->pinned_first);
}

/* One window. True: that was the last one, or it failed, and the transfer is gone. */
static bool go_on(struct adma_transfer *transfer)
{
	struct window_copy copy = { };
	int error = copy_window(transfer, &copy);

	note_times(transfer, &copy);
	if (!error && transfer->copied < transfer->length)
		return false;
	transfer->done(transfer, error);
	return true;
}

/* Transfers take turns, window by window, however long they are. */
static void work(struct work_struct *work)
{
	struct adma_transfer *transfer = container_of(work, struct adma_transfer, work);

	if (!go_on(transfer))
		queue_work(transfer->queue, work);
}

/*
 * The late poster pins its own memory, and that of a peer of its own user, as it could by
 * process_vm_readv(). Another user's page faults could last for ever: a worker waits for those.
 */
static bool may_wait_for(const struct adma_memory *memory)
{
	return memory->mm == current->mm || memory->user == current_user();
}

void adma_transfer_start(struct adma_transfer *transfer, bool here)
{
	bool dma = wants_dma(transfer);

	transfer->copied = 0;
	transfer->submitted = 0;
	transfer->pinned = pinning(transfer);
	if (here && !dma && transfer->length <= READ_ONCE(inline_max) &&
	    may_wait_for(transfer->destination) && may_wait_for(transfer->source)) {
		while (!go_on(transfer))
			cond_resched();
		return;
	}
	transfer->queue = dma ? dma_queue : cpu_queue;
	INIT_WORK(&transfer->work, work);
	queue_work(transfer->queue, &transfer->work);
}

/* ---- module ---- */

/* As many at a time as there may be: each may have to wait for somebody's page faults. */
int adma_transfers_init(void)
{
	dma_queue = alloc_workqueue("adma_dma", WQ_UNBOUND | WQ_SYSFS, WQ_MAX_ACTIVE);
	if (!dma_queue)
		return -ENOMEM;
	cpu_queue = alloc_workqueue("adma_cpu", WQ_UNBOUND | WQ_SYSFS, WQ_MAX_ACTIVE);
	if (!cpu_queue) {
		destroy_workqueue(dma_queue);
		return -ENOMEM;
	}
	return 0;
}

void adma_transfers_exit(void)
{
	destroy_workqueue(cpu_queue);
	destroy_workqueue(dma_queue);
}
