// SPDX-License-Identifier: GPL-2.0
/* job.c - the copy of one window, spread over the DMA channels; see job.h. */
#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/dma-mapping.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "counters.h"
#include "cpu.h"
#include "dma_channel.h"
#include "dma_descriptor.h"
#include "job.h"
#include "split.h"

/*
 * A driver that has no room may refuse a piece. After so many refusals the CPU copies the piece,
 * because the reason may be the piece itself.
 */
#define REFUSALS 3

/* Room for a piece in flight, with its descriptor. */
struct job_slot {
	struct adma_dma_descriptor descriptor;
	struct adma_piece piece;
	struct adma_job *job;
	bool in_flight;          /* submitted, and its completion not handled yet */
	enum adma_outcome outcome;
	struct list_head node;   /* in free, in completed, or nowhere */
};

struct adma_job {
	struct kref refs;
	struct adma_dma_copy *copy; /* the submitter's: callbacks must not use it */
	struct adma_dma_channel *const *channels;
	u32 count;
	unsigned long timeout;
	bool stuck;

	struct adma_split for_dma;
	struct adma_split for_cpu;
	struct adma_piece next;  /* for DMA, not submitted yet */
	bool has_next;
	u32 refusals;            /* of it */

	struct list_head free;
	u32 in_flight;
	spinlock_t lock;         /* taken under any DMA channel's */
	struct list_head completed; /* lock */
	wait_queue_head_t waiter;
	struct work_struct freeing;
	void (*release)(void *argument); /* of the pages, when stuck descriptors are done with */
	void *argument;
	u32 slot_count;
	struct job_slot slots[];
};

/* Pages are released, and memory is freed, in process context only. */
static struct workqueue_struct *frees;

/* ---- life ---- */

/* What every working DMA channel can take; and so short that each of them gets a share. */
static struct adma_split_limits job_limits(const struct adma_job *job, size_t length)
{
	struct adma_split_limits limits = {
		.align = 1,
		.line = max_t(size_t, dma_get_cache_alignment(), cache_line_size()),
		.least = ADMA_PIECE_LEAST,
		.most = ADMA_DMA_CHANNEL_BULK_BYTES,
	};
	const struct adma_dma_channel *channel;
	u32 i, working = 0;

	for (i = 0; i < job->count; i++) {
		channel = job->channels[i];
		if (READ_ONCE(channel->state) != ADMA_CHANNEL_WORKS)
			continue;
		working++;
		limits.align = max(limits.align, channel->align);
		limits.most = min(limits.most, channel->most);
	}
	if (working > 1) {
		size_t each = max_t(size_t, DIV_ROUND_UP(length, working), ADMA_SPREAD_LEAST);

		limits.most = min_t(size_t, limits.most, each);
	}
	return limits;
}

static void job_free_later(struct work_struct *work)
{
	struct adma_job *job = container_of(work, struct adma_job, freeing);

	if (job->release)
		job->release(job->argument);
	kvfree(job);
}

static void job_free(struct kref *refs)
{
	struct adma_job *job = container_of(refs, struct adma_job, refs);

	if (job->stuck)
		queue_work(frees, &job->freeing);
	else
		kvfree(job);
}

/*
 * Called in any context. The submitter frees the job only after it has taken the job's lock
 * once more and found all slots completed: so the unlock is the last access here.
 */
static void job_slot_complete(struct adma_dma_descriptor *descriptor, enum adma_outcome outcome)
{
	struct job_slot *slot = container_of(descriptor, struct job_slot, descriptor);
	struct adma_job *job = slot->job;
	unsigned long flags;

	if (outcome == ADMA_FREED) {
		kref_put(&job->refs, job_free);
		return;
	}
	spin_lock_irqsave(&job->lock, flags);
	if (outcome == ADMA_STUCK)
		kref_get(&job->refs);
	slot->outcome = outcome;
	list_add_tail(&slot->node, &job->completed);
	wake_up(&job->waiter);
	spin_unlock_irqrestore(&job->lock, flags);
}

static void job_init_slots(struct adma_job *job, bool bulk)
{
	struct job_slot *slot;
	u32 i;

	for (i = 0; i < job->slot_count; i++) {
		slot = &job->slots[i];
		slot->job = job;
		slot->descriptor.complete = job_slot_complete;
		slot->descriptor.bulk = bulk;
		list_add_tail(&slot->node, &job->free);
	}
}

static struct adma_job *job_make(struct adma_dma_copy *copy,
				 struct adma_dma_channel *const *channels, u32 count,
				 unsigned long timeout)
{
	size_t most = max(count, 1U) * ADMA_JOB_SHARE;
	u32 slot_count = clamp(copy->length / ADMA_PIECE_LEAST, (size_t)1, most);
	struct adma_split_limits limits;
	struct adma_job *job;

	job = kvzalloc(struct_size(job, slots, slot_count), GFP_KERNEL);
	if (!job)
		return NULL;
	kref_init(&job->refs);
	job->copy = copy;
	job->channels = channels;
	job->count = count;
	job->timeout = timeout;
	spin_lock_init(&job->lock);
	init_waitqueue_head(&job->waiter);
	INIT_LIST_HEAD(&job->completed);
	INIT_LIST_HEAD(&job->free);
	job->slot_count = slot_count;
	INIT_WORK(&job->freeing, job_free_later);
	job_init_slots(job, copy->length > ADMA_JOB_SMALL);
	limits = job_limits(job, copy->length);
	adma_split_begin(&job->for_dma, copy->to, copy->from, copy->length, &limits);
	job->for_cpu = job->for_dma;
	return job;
}

/* ---- the CPU's part ---- */

static void job_copy_by_cpu(struct adma_job *job, const struct adma_piece *piece)
{
	struct adma_place to = piece->to, from = piece->from;

	adma_cpu_copy(job->copy->to, &to, job->copy->from, &from, piece->length);
	adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_CPU, piece->length);
	if (piece->kind == ADMA_PIECE_EDGE)
		adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_EDGE, piece->length);
}

/* Copies the next piece that was the CPU's from the start. False: there is none. */
static bool job_copy_next(struct adma_job *job)
{
	struct adma_piece piece;

	if (job->stuck)
		return false;
	while (adma_split_next(&job->for_cpu, &piece)) {
		if (piece.kind == ADMA_PIECE_DMA)
			continue;
		job_copy_by_cpu(job, &piece);
		return true;
	}
	return false;
}

/* ---- submitting ---- */

static bool job_find_next(struct adma_job *job)
{
	while (!job->has_next && adma_split_next(&job->for_dma, &job->next)) {
		job->has_next = job->next.kind == ADMA_PIECE_DMA;
		job->refusals = 0;
	}
	return job->has_next;
}

static struct page *job_page_at(const struct adma_extent *extents, const struct adma_place *place,
				u32 *offset)
{
	size_t at = adma_place_offset(place, extents);

	*offset = offset_in_page(at);
	return extents[place->extent].page + (at >> PAGE_SHIFT);
}

/*
 * Submit to the next DMA channel, round robin, that has room. -EAGAIN: none has. -EBUSY: none
 * has, and at least one driver refused. On any other error the piece is the CPU's.
 */
static int job_slot_submit_to_any(struct adma_job *job, struct job_slot *slot)
{
	static atomic_t next = ATOMIC_INIT(0);
	u32 first = atomic_inc_return(&next), i;
	int error, worst = -ENODEV;

	for (i = 0; i < job->count; i++) {
		error = adma_dma_channel_submit(job->channels[(first + i) % job->count],
						&slot->descriptor);
		if (!error || error == -EIO)
			return error;
		if (error == -EBUSY || worst == -ENODEV)
			worst = error;
	}
	return worst;
}

static int job_submit(struct adma_job *job)
{
	struct job_slot *slot = list_first_entry(&job->free, struct job_slot, node);
	struct adma_dma_descriptor *descriptor = &slot->descriptor;
	int error;

	slot->piece = job->next;
	descriptor->to = job_page_at(job->copy->to, &job->next.to, &descriptor->to_offset);
	descriptor->from = job_page_at(job->copy->from, &job->next.from, &descriptor->from_offset);
	descriptor->length = job->next.length;
	list_del(&slot->node); /* it may be completed before the next call returns */
	error = job_slot_submit_to_any(job, slot);
	if (error) {
		list_add(&slot->node, &job->free);
		return error;
	}
	slot->in_flight = true;
	job->in_flight++;
	adma_tally_add(job->copy->tally, ADMA_COUNT_PIECES, 1);
	if (!job->copy->submitted)
		job->copy->submitted = ktime_get();
	return 0;
}

/* True: one piece less is left. False: no piece is left, or there is no room for it. */
static bool job_submit_next(struct adma_job *job)
{
	int error;

	if (job->stuck || list_empty(&job->free) || !job_find_next(job))
		return false;
	error = job_submit(job);
	if (error == -EAGAIN || (error == -EBUSY && ++job->refusals < REFUSALS))
		return false;
	if (error)
		job_copy_by_cpu(job, &job->next);
	job->has_next = false;
	return true;
}

/* ---- completion ---- */

static void job_slot_reap(struct adma_job *job, struct job_slot *slot)
{
	slot->in_flight = false;
	job->in_flight--;
	if (slot->outcome == ADMA_STUCK) {
		job->stuck = true;
		return;
	}
	if (slot->outcome == ADMA_COPIED) {
		adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_DMA, slot->piece.length);
	} else {
		job_copy_by_cpu(job, &slot->piece);
		adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_RESCUED, slot->piece.length);
	}
	list_add(&slot->node, &job->free);
}

static void job_reap(struct adma_job *job)
{
	struct job_slot *slot, *next;
	LIST_HEAD(completed);

	spin_lock_irq(&job->lock);
	list_splice_init(&job->completed, &completed);
	spin_unlock_irq(&job->lock);
	list_for_each_entry_safe(slot, next, &completed, node)
		job_slot_reap(job, slot);
}

/* ---- waiting ---- */

static unsigned long job_slot_deadline(const struct adma_job *job, const struct job_slot *slot)
{
	return adma_dma_channel_deadline(&slot->descriptor, job->timeout);
}

/* Jiffies until a slot is overdue. */
static long job_time_left(const struct adma_job *job)
{
	long left = job->timeout;
	u32 i;

	for (i = 0; i < job->slot_count; i++) {
		if (job->slots[i].in_flight)
			left = min(left, (long)(job_slot_deadline(job, &job->slots[i]) - jiffies));
	}
	return max(left, 1L);
}

static void job_retire_overdue(struct adma_job *job)
{
	struct job_slot *slot;
	u32 i;

	for (i = 0; i < job->slot_count; i++) {
		slot = &job->slots[i];
		if (slot->in_flight && time_after_eq(jiffies, job_slot_deadline(job, slot)) &&
		    adma_dma_channel_retire(&slot->descriptor, job->timeout))
			adma_tally_add(job->copy->tally, ADMA_COUNT_TIMEOUTS, 1);
	}
}

/*
 * Other jobs occupy all DMA channels. If none of their descriptors is completed in time, then it is
 * for those jobs to retire the DMA channels; here the CPU copies.
 */
static void job_wait_for_room(struct adma_job *job, u32 seen)
{
	adma_dma_channels_wait(seen, job_time_left(job));
	if (!job->in_flight && adma_dma_channels_completed() == seen) {
		job_copy_by_cpu(job, &job->next);
		job->has_next = false;
	}
}

/* False: nothing is left to wait for. */
static bool job_wait(struct adma_job *job, u32 seen)
{
	if (job->has_next && !job->stuck && !list_empty(&job->free))
		job_wait_for_room(job, seen);
	else if (job->in_flight)
		wait_event_idle_timeout(job->waiter, !list_empty_careful(&job->completed),
					job_time_left(job));
	else
		return false;
	job_retire_overdue(job);
	return true;
}

int adma_job_run(struct adma_dma_copy *copy, struct adma_dma_channel *const *channels, u32 count,
		 unsigned long timeout)
{
	struct adma_job *job = job_make(copy, channels, count, timeout);
	u32 seen;

	if (!job)
		return -ENOMEM;
	do {
		seen = adma_dma_channels_completed();
		job_reap(job);
	} while (job_submit_next(job) || job_copy_next(job) || job_wait(job, seen));
	copy->finished = ktime_get();
	if (job->stuck) {
		copy->stuck = job;
		return -EIO;
	}
	kref_put(&job->refs, job_free);
	return 0;
}

void adma_job_leave(struct adma_job *job, void (*release)(void *argument), void *argument)
{
	job->release = release;
	job->argument = argument;
	kref_put(&job->refs, job_free);
}

int adma_jobs_init(void)
{
	frees = alloc_workqueue("adma_free", WQ_UNBOUND, 0);
	return frees ? 0 : -ENOMEM;
}

void adma_jobs_exit(void)
{
	destroy_workqueue(frees);
}
