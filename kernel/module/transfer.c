// SPDX-License-Identifier: GPL-2.0
/* transfer.c - copies a matched pair of buffers; see transfer.h. */
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "buffer.h"
#include "compat.h"
#include "counters.h"
#include "cpu.h"
#include "dma.h"
#include "fetch.h"
#include "transfer.h"
#include "window.h"

static unsigned int inline_max = 16384;
module_param(inline_max, uint, 0644);
MODULE_PARM_DESC(inline_max, "bytes; the CPU copies up to this in the late poster's own call");

/*
 * Works that sleep until an engine is done have a queue of their own: so an engine that hangs
 * delays no copy by the CPU.
 */
static struct workqueue_struct *dma_queue;
static struct workqueue_struct *cpu_queue;

/* What was sent before a close is to arrive, unless the memory does not come for so long. */
#define CLOSING_PATIENCE HZ

static bool transfer_wants_dma(const struct adma_transfer *transfer)
{
	return transfer->policy != ADMA_BY_CPU && transfer->length >= adma_dma_min() &&
	       adma_dma_works();
}

/* ---- a window ---- */

/* What a window is copied from and to, and when that was done. */
struct window_copy {
	struct adma_window to;
	struct adma_window from;
	size_t length;
	ktime_t submitted;
	ktime_t finished;
	struct adma_job *stuck; /* the engine may go on copying */
};

static void transfer_copy_by_cpu(struct adma_transfer *transfer, struct window_copy *copy)
{
	struct adma_place to = { }, from = { };

	copy->submitted = ktime_get();
	adma_cpu_copy(copy->to.extents, &to, copy->from.extents, &from, copy->length);
	copy->finished = ktime_get();
	adma_tally_add(transfer->tally, ADMA_COUNT_BYTES_CPU, copy->length);
}

/* -EIO: stuck, and the windows have to be stranded. */
static int transfer_copy_by_dma(struct adma_transfer *transfer, struct window_copy *copy)
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
		transfer_copy_by_cpu(transfer, copy);
		return 0;
	}
	copy->stuck = dma.stuck;
	copy->submitted = dma.submitted ?: begun;
	copy->finished = dma.finished;
	return error;
}

/* Pins both sides, as far as both reach. What they lack is fetched for both at the same time. */
static int transfer_pin(struct adma_transfer *transfer, struct window_copy *copy)
{
	struct adma_buffer *destination = transfer->destination, *source = transfer->source;
	u64 at = transfer->copied, left = transfer->length - at;
	int to, from;

	to = adma_window_pin(&copy->to, destination, at, left);
	if (to && to != -EAGAIN)
		return to;
	from = adma_window_pin(&copy->from, source, at, to ? left : copy->to.length);
	if (!to && from)
		adma_window_unpin(&copy->to, destination);
	if (to && !from)
		adma_window_unpin(&copy->from, source);
	if (to || from)
		return from ?: to;
	adma_fetch_release(&destination->fetch, &destination->memory);
	adma_fetch_release(&source->fetch, &source->memory);
	copy->length = min(copy->to.length, copy->from.length);
	return 0;
}

static int transfer_unpin(struct adma_transfer *transfer, struct window_copy *copy)
{
	int to = adma_window_unpin(&copy->to, transfer->destination);
	int from = adma_window_unpin(&copy->from, transfer->source);

	return to ?: from;
}

/* The windows of a copy that an engine may go on making. */
struct stranded {
	struct adma_window to;
	struct adma_window from;
};

static void stranded_release(void *argument)
{
	struct stranded *stranded = argument;

	adma_window_put_abandoned(&stranded->to);
	adma_window_put_abandoned(&stranded->from);
	kfree(stranded);
}

/* The pages stay pinned until the job tells that no engine uses them any more. */
static void transfer_strand(struct adma_transfer *transfer, const struct window_copy *copy)
{
	struct stranded *stranded = kmalloc(sizeof(*stranded), GFP_KERNEL | __GFP_NOFAIL);

	stranded->to = copy->to;
	stranded->from = copy->from;
	adma_window_abandon(&stranded->to, transfer->destination);
	adma_window_abandon(&stranded->from, transfer->source);
	adma_job_leave(copy->stuck, stranded_release, stranded);
}

static int transfer_copy_window(struct adma_transfer *transfer, struct window_copy *copy)
{
	int error = transfer_pin(transfer, copy);

	if (error)
		return error;
	if (copy->to.long_term && copy->from.long_term && transfer_wants_dma(transfer))
		error = transfer_copy_by_dma(transfer, copy);
	else
		transfer_copy_by_cpu(transfer, copy);
	if (error) {
		transfer_strand(transfer, copy);
		return error;
	}
	error = transfer_unpin(transfer, copy);
	if (!error)
		WRITE_ONCE(transfer->copied, transfer->copied + copy->length);
	return error;
}

/* ---- the transfer ---- */

static u64 transfer_pin_ns(const struct adma_transfer *transfer)
{
	return transfer->destination->memory.pin_ns + transfer->source->memory.pin_ns;
}

static u64 elapsed_less(ktime_t from, ktime_t to, u64 less)
{
	u64 ns = ktime_to_ns(ktime_sub(to, from));

	return ns - min(ns, less);
}

static void transfer_note_times(struct adma_transfer *transfer, const struct window_copy *copy)
{
	if (!copy->submitted)
		return;
	if (!transfer->submitted) {
		transfer->submitted = copy->submitted;
		transfer->pinned_first = transfer_pin_ns(transfer);
		transfer->start_ns = elapsed_less(transfer->matched, transfer->submitted,
						  transfer->pinned_first - transfer->pinned);
	}
	transfer->finished = copy->finished;
	transfer->copy_ns = elapsed_less(transfer->submitted, transfer->finished,
					 transfer_pin_ns(transfer) - transfer->pinned_first);
}

static void transfer_complete(struct adma_transfer *transfer, int error)
{
	adma_timer_delete_sync(&transfer->timer);
	/* Whoever queued this work did so under the lock, and may not have dropped it yet. */
	spin_lock_bh(&transfer->lock);
	spin_unlock_bh(&transfer->lock);
	transfer->done(transfer, error);
}

/* The transfer lacks memory. Should it wait for that? */
static bool transfer_may_stall(struct adma_transfer *transfer)
{
	if (!transfer->stalls) {
		transfer->stalls = true;
		transfer->stalled = jiffies;
	}
	return !READ_ONCE(transfer->closing) ||
	       time_before(jiffies, transfer->stalled + CLOSING_PATIENCE);
}

enum transfer_step {
	STEP_COPIED, /* a window was copied, and more are left */
	STEP_STALL,  /* none was copied: the transfer is to be parked */
	STEP_DONE,   /* the transfer is gone */
};

static enum transfer_step transfer_step(struct adma_transfer *transfer)
{
	struct window_copy copy = { };
	int error = transfer_copy_window(transfer, &copy);

	if (error == -EAGAIN) {
		if (transfer_may_stall(transfer))
			return STEP_STALL;
		error = -EPIPE;
	}
	transfer->stalls = false;
	transfer_note_times(transfer, &copy);
	if (!error && transfer->copied < transfer->length)
		return STEP_COPIED;
	transfer_complete(transfer, error);
	return STEP_DONE;
}

/* ---- stalls ---- */

/*
 * Called with the lock. As soon as the lock is dropped the transfer may go on in its work, and be
 * gone.
 */
static void transfer_unpark(struct adma_transfer *transfer)
{
	if (!transfer->parked) {
		transfer->woken = true;
		return;
	}
	transfer->parked = false;
	queue_work(transfer->queue, &transfer->work);
}

static void transfer_wake(struct adma_waiter *waiter)
{
	struct adma_transfer *transfer = container_of(waiter, struct adma_transfer, waiter);

	spin_lock_bh(&transfer->lock);
	transfer_unpark(transfer);
	spin_unlock_bh(&transfer->lock);
}

/* Called in a softirq. */
static void transfer_retry(struct timer_list *timer)
{
	struct adma_transfer *transfer = container_of(timer, struct adma_transfer, timer);

	spin_lock(&transfer->lock);
	if (transfer->parked)
		transfer_unpark(transfer);
	spin_unlock(&transfer->lock);
}

/*
 * The fetch wakes the transfer when it is completed. But it may be queued behind others
 * that take long, while the memory becomes present without it. So the transfer is also tried again
 * by a timer, less often the longer it stalls.
 */
static void transfer_park(struct adma_transfer *transfer)
{
	unsigned long wait = (jiffies - transfer->stalled) / 2;

	spin_lock_bh(&transfer->lock);
	transfer->parked = true;
	if (transfer->woken)
		transfer_unpark(transfer);
	else
		mod_timer(&transfer->timer, jiffies + clamp(wait, 1UL, (unsigned long)HZ));
	transfer->woken = false;
	spin_unlock_bh(&transfer->lock);
}

void adma_transfer_close(struct adma_transfer *transfer)
{
	spin_lock_bh(&transfer->lock);
	WRITE_ONCE(transfer->closing, true);
	transfer_unpark(transfer);
	spin_unlock_bh(&transfer->lock);
}

/* ---- start ---- */

/* It copies one window and queues itself again, so that long transfers do not delay others. */
static void transfer_work(struct work_struct *work)
{
	struct adma_transfer *transfer = container_of(work, struct adma_transfer, work);
	enum transfer_step step = transfer_step(transfer);

	if (step == STEP_COPIED)
		queue_work(transfer->queue, work);
	else if (step == STEP_STALL)
		transfer_park(transfer);
}

/* Copies in the late poster's call, which waits for nobody either. */
static void transfer_copy_here(struct adma_transfer *transfer)
{
	enum transfer_step step = transfer_step(transfer);

	while (step == STEP_COPIED) {
		cond_resched();
		step = transfer_step(transfer);
	}
	if (step == STEP_STALL)
		transfer_park(transfer);
}

void adma_transfer_init(struct adma_transfer *transfer)
{
	INIT_WORK(&transfer->work, transfer_work);
	transfer->waiter.wake = transfer_wake;
	timer_setup(&transfer->timer, transfer_retry, 0);
	spin_lock_init(&transfer->lock);
}

void adma_transfer_start(struct adma_transfer *transfer, bool here)
{
	bool dma = transfer_wants_dma(transfer);

	transfer->copied = 0;
	transfer->submitted = 0;
	transfer->pinned = transfer_pin_ns(transfer);
	transfer->destination->fetch.waiter = &transfer->waiter;
	transfer->source->fetch.waiter = &transfer->waiter;
	transfer->queue = dma ? dma_queue : cpu_queue;
	if (here && !dma && transfer->length <= READ_ONCE(inline_max))
		transfer_copy_here(transfer);
	else
		queue_work(transfer->queue, &transfer->work);
}

/* ---- module ---- */

/*
 * The queues are freezable: no engine is given work while the machine goes to sleep, nor is
 * memory written that is being saved. A work waits for no process, which would be frozen before.
 */
int adma_transfers_init(void)
{
	const unsigned int flags = WQ_UNBOUND | WQ_SYSFS | WQ_FREEZABLE;

	dma_queue = alloc_workqueue("adma_dma", flags, WQ_MAX_ACTIVE);
	if (!dma_queue)
		return -ENOMEM;
	cpu_queue = alloc_workqueue("adma_cpu", flags, WQ_MAX_ACTIVE);
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
