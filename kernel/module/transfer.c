// SPDX-License-Identifier: GPL-2.0
/* transfer.c - a matched pair on its way; see transfer.h. */
#include <linux/errno.h>
#include <linux/jiffies.h>
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

/* What was sent before a close is to arrive, unless somebody makes it wait. */
#define CLOSING_PATIENCE HZ

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

/* Both sides, as far as both reach; what either lacks is fetched at the same time. */
static int pin(struct adma_transfer *transfer, struct window_copy *copy)
{
	u64 at = transfer->copied, left = transfer->length - at;
	int to, from;

	to = adma_window_pin(&copy->to, transfer->destination, at, left);
	if (to && to != -EAGAIN)
		return to;
	from = adma_window_pin(&copy->from, transfer->source, at, to ? left : copy->to.length);
	if (!to && from)
		adma_window_unpin(&copy->to, transfer->destination);
	if (to && !from)
		adma_window_unpin(&copy->from, transfer->source);
	if (to || from)
		return from ?: to;
	adma_fetch_end(transfer->destination);
	adma_fetch_end(transfer->source);
	copy->length = min(copy->to.length, copy->from.length);
	return 0;
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

static void end(struct adma_transfer *transfer, int error)
{
	del_timer_sync(&transfer->timer);
	/* Who queued this work did so with the lock, and may not have let go of it yet. */
	spin_lock_bh(&transfer->lock);
	spin_unlock_bh(&transfer->lock);
	transfer->done(transfer, error);
}

/* It lacks something. Is that to be waited for? */
static bool may_stall(struct adma_transfer *transfer)
{
	if (!transfer->stalls) {
		transfer->stalls = true;
		transfer->stalled = jiffies;
	}
	return !READ_ONCE(transfer->closing) ||
	       time_before(jiffies, transfer->stalled + CLOSING_PATIENCE);
}

enum step {
	STEP_ON,    /* a window was copied */
	STEP_STALL, /* none was: it is to be parked */
	STEP_LAST,  /* the transfer is gone */
};

static enum step go_on(struct adma_transfer *transfer)
{
	struct window_copy copy = { };
	int error = copy_window(transfer, &copy);

	if (error == -EAGAIN) {
		if (may_stall(transfer))
			return STEP_STALL;
		error = -EPIPE;
	}
	transfer->stalls = false;
	note_times(transfer, &copy);
	if (!error && transfer->copied < transfer->length)
		return STEP_ON;
	end(transfer, error);
	return STEP_LAST;
}

/* ---- stalls ---- */

/* It may be someone else's doing at any time that the transfer goes on, and is gone. */
static void unpark(struct adma_transfer *transfer)
{
	if (!transfer->parked) {
		transfer->woken = true;
		return;
	}
	transfer->parked = false;
	queue_work(transfer->queue, &transfer->work);
}

static void wake(struct adma_waiter *waiter)
{
	struct adma_transfer *transfer = container_of(waiter, struct adma_transfer, waiter);

	spin_lock_bh(&transfer->lock);
	unpark(transfer);
	spin_unlock_bh(&transfer->lock);
}

/* In a softirq. */
static void tick(struct timer_list *timer)
{
	struct adma_transfer *transfer = container_of(timer, struct adma_transfer, timer);

	spin_lock(&transfer->lock);
	if (transfer->parked)
		unpark(transfer);
	spin_unlock(&transfer->lock);
}

/*
 * The fetch tells when it is over, but it may stand behind others that last, while what it is for
 * has come by itself. So it is tried again now and then, less often the longer it lasts.
 */
static void park(struct adma_transfer *transfer)
{
	unsigned long wait = (jiffies - transfer->stalled) / 2;

	spin_lock_bh(&transfer->lock);
	transfer->parked = true;
	if (transfer->woken)
		unpark(transfer);
	else
		mod_timer(&transfer->timer, jiffies + clamp(wait, 1UL, (unsigned long)HZ));
	transfer->woken = false;
	spin_unlock_bh(&transfer->lock);
}

void adma_transfer_close(struct adma_transfer *transfer)
{
	spin_lock_bh(&transfer->lock);
	WRITE_ONCE(transfer->closing, true);
	unpark(transfer);
	spin_unlock_bh(&transfer->lock);
}

/* ---- beginnings ---- */

/* Transfers take turns, window by window, however long they are. */
static void work(struct work_struct *work)
{
	struct adma_transfer *transfer = container_of(work, struct adma_transfer, work);
	enum step step = go_on(transfer);

	if (step == STEP_ON)
		queue_work(transfer->queue, work);
	else if (step == STEP_STALL)
		park(transfer);
}

/* In the late poster's call: it waits for nobody there either. */
static void copy_here(struct adma_transfer *transfer)
{
	enum step step = go_on(transfer);

	while (step == STEP_ON) {
		cond_resched();
		step = go_on(transfer);
	}
	if (step == STEP_STALL)
		park(transfer);
}

void adma_transfer_init(struct adma_transfer *transfer)
{
	INIT_WORK(&transfer->work, work);
	transfer->waiter.wake = wake;
	timer_setup(&transfer->timer, tick, 0);
	spin_lock_init(&transfer->lock);
}

void adma_transfer_start(struct adma_transfer *transfer, bool here)
{
	bool dma = wants_dma(transfer);

	transfer->copied = 0;
	transfer->submitted = 0;
	transfer->pinned = pinning(transfer);
	transfer->destination->waiter = &transfer->waiter;
	transfer->source->waiter = &transfer->waiter;
	transfer->queue = dma ? dma_queue : cpu_queue;
	if (here && !dma && transfer->length <= READ_ONCE(inline_max))
		copy_here(transfer);
	else
		queue_work(transfer->queue, &transfer->work);
}

/* ---- module ---- */

/*
 * Freezable: no engine is given work while the machine goes to sleep, nor is memory
 * written that is being saved. Nothing here waits for a process, which would be frozen before.
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
