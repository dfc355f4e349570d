// SPDX-License-Identifier: GPL-2.0
/* job.c - one window's copy on its way over the DMA channels; see job.h. */
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

#include "channel.h"
#include "counters.h"
#include "cpu.h"
#include "job.h"
#include "split.h"

/* After so many refusals by busy channels the CPU copies a piece: perhaps it is the piece. */
#define REFUSALS 3

struct job;

/* A place for a piece on its way. */
struct flight {
	struct adma_descriptor descriptor;
	struct adma_piece piece;
	struct job *job;
	bool flying;             /* given to a channel, and not got back yet */
	enum adma_outcome outcome;
	struct list_head node;   /* in free, in landed, or nowhere */
};

struct job {
	struct kref refs;
	struct adma_dma_copy *copy; /* the submitter's: not for callbacks */
	struct adma_dma_channel *const *channels;
	u32 count;
	unsigned long timeout;
	bool stuck;

	struct adma_split for_dma;
	struct adma_split for_cpu;
	struct adma_piece next;  /* for DMA, not given to anybody yet */
	bool has_next;
	u32 refusals;            /* of it */

	struct list_head free;
	u32 flying;
	spinlock_t lock;         /* inside any channel's */
	struct list_head landed; /* lock */
	wait_queue_head_t landing;
	u32 slots;
	struct flight flights[];
};

/* ---- life ---- */

/* What every channel that works can take; and short enough that each of them gets a share. */
static struct adma_split_limits limits_of(const struct job *job, size_t length)
{
	struct adma_split_limits limits = {
		.align = 1,
		.line = max_t(size_t, dma_get_cache_alignment(), cache_line_size()),
		.least = ADMA_PIECE_LEAST,
		.most = ADMA_CHANNEL_BULK_BYTES,
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
	if (working > 1)
		limits.most = min_t(size_t, limits.most,
				    max_t(size_t, DIV_ROUND_UP(length, working),
					  ADMA_SPREAD_LEAST));
	return limits;
}

static void free_job(struct kref *refs)
{
	kvfree(container_of(refs, struct job, refs));
}

/* In any context. The job is freed by who has taken its lock after this, and found all landed. */
static void ended(struct adma_descriptor *descriptor, enum adma_outcome outcome)
{
	struct flight *flight = container_of(descriptor, struct flight, descriptor);
	struct job *job = flight->job;
	unsigned long flags;

	if (outcome == ADMA_FREED) {
		kref_put(&job->refs, free_job);
		return;
	}
	spin_lock_irqsave(&job->lock, flags);
	if (outcome == ADMA_STUCK)
		kref_get(&job->refs);
	flight->outcome = outcome;
	list_add_tail(&flight->node, &job->landed);
	wake_up(&job->landing);
	spin_unlock_irqrestore(&job->lock, flags);
}

static struct job *make_job(struct adma_dma_copy *copy, struct adma_dma_channel *const *channels,
			    u32 count, unsigned long timeout)
{
	size_t most = max(count, 1U) * ADMA_JOB_SHARE;
	u32 slots = clamp(copy->length / ADMA_PIECE_LEAST, (size_t)1, most);
	struct adma_split_limits limits;
	struct job *job;
	u32 i;

	job = kvzalloc(struct_size(job, flights, slots), GFP_KERNEL);
	if (!job)
		return NULL;
	kref_init(&job->refs);
	job->copy = copy;
	job->channels = channels;
	job->count = count;
	job->timeout = timeout;
	spin_lock_init(&job->lock);
	init_waitqueue_head(&job->landing);
	INIT_LIST_HEAD(&job->landed);
	INIT_LIST_HEAD(&job->free);
	job->slots = slots;
	for (i = 0; i < slots; i++) {
		job->flights[i].job = job;
		job->flights[i].descriptor.ended = ended;
		job->flights[i].descriptor.bulk = copy->length > ADMA_JOB_SMALL;
		list_add_tail(&job->flights[i].node, &job->free);
	}
	limits = limits_of(job, copy->length);
	adma_split_begin(&job->for_dma, copy->to, copy->from, copy->length, &limits);
	job->for_cpu = job->for_dma;
	return job;
}

/* ---- the CPU's part ---- */

static void copy_by_cpu(struct job *job, const struct adma_piece *piece)
{
	struct adma_place to = piece->to, from = piece->from;

	adma_cpu_copy(job->copy->to, &to, job->copy->from, &from, piece->length);
	adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_CPU, piece->length);
	if (piece->kind == ADMA_PIECE_EDGE)
		adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_EDGE, piece->length);
}

/* The next piece that was the CPU's from the start. */
static bool copy_next(struct job *job)
{
	struct adma_piece piece;

	if (job->stuck)
		return false;
	while (adma_split_next(&job->for_cpu, &piece)) {
		if (piece.kind == ADMA_PIECE_DMA)
			continue;
		copy_by_cpu(job, &piece);
		return true;
	}
	return false;
}

/* ---- there ---- */

static bool find_next(struct job *job)
{
	while (!job->has_next && adma_split_next(&job->for_dma, &job->next)) {
		job->has_next = job->next.kind == ADMA_PIECE_DMA;
		job->refusals = 0;
	}
	return job->has_next;
}

static struct page *page_at(const struct adma_extent *extents, const struct adma_place *place,
			    u32 *offset)
{
	size_t at = adma_place_offset(place, extents);

	*offset = offset_in_page(at);
	return extents[place->extent].page + (at >> PAGE_SHIFT);
}

/*
 * To the channel whose turn it is, or the next one that has room. -EAGAIN: none has;
 * -EBUSY: and a driver has none. Otherwise it is the CPU's.
 */
static int give(struct job *job, struct flight *flight)
{
	static atomic_t turns = ATOMIC_INIT(0);
	u32 turn = atomic_inc_return(&turns), i;
	int error, worst = -ENODEV;

	for (i = 0; i < job->count; i++) {
		error = adma_channel_submit(job->channels[(turn + i) % job->count],
					    &flight->descriptor);
		if (!error || error == -EIO)
			return error;
		if (error == -EBUSY || worst == -ENODEV)
			worst = error;
	}
	return worst;
}

static int submit(struct job *job)
{
	struct flight *flight = list_first_entry(&job->free, struct flight, node);
	struct adma_descriptor *descriptor = &flight->descriptor;
	int error;

	flight->piece = job->next;
	descriptor->to = page_at(job->copy->to, &job->next.to, &descriptor->to_offset);
	descriptor->from = page_at(job->copy->from, &job->next.from, &descriptor->from_offset);
	descriptor->length = job->next.length;
	list_del(&flight->node); /* it may land before give() returns */
	error = give(job, flight);
	if (error) {
		list_add(&flight->node, &job->free);
		return error;
	}
	flight->flying = true;
	job->flying++;
	adma_tally_add(job->copy->tally, ADMA_COUNT_PIECES, 1);
	if (!job->copy->submitted)
		job->copy->submitted = ktime_get();
	return 0;
}

/* True: one piece less. False: there is none, or no room for it. */
static bool submit_next(struct job *job)
{
	int error;

	if (job->stuck || list_empty(&job->free) || !find_next(job))
		return false;
	error = submit(job);
	if (error == -EAGAIN || (error == -EBUSY && ++job->refusals < REFUSALS))
		return false;
	if (error)
		copy_by_cpu(job, &job->next);
	job->has_next = false;
	return true;
}

/* ---- and back ---- */

static void land(struct job *job, struct flight *flight)
{
	flight->flying = false;
	job->flying--;
	if (flight->outcome == ADMA_STUCK) {
		job->stuck = true;
		return;
	}
	if (flight->outcome == ADMA_COPIED) {
		adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_DMA, flight->piece.length);
	} else {
		copy_by_cpu(job, &flight->piece);
		adma_tally_add(job->copy->tally, ADMA_COUNT_BYTES_RESCUED, flight->piece.length);
	}
	list_add(&flight->node, &job->free);
}

static void land_all(struct job *job)
{
	struct flight *flight, *next;
	LIST_HEAD(landed);

	spin_lock_irq(&job->lock);
	list_splice_init(&job->landed, &landed);
	spin_unlock_irq(&job->lock);
	list_for_each_entry_safe(flight, next, &landed, node)
		land(job, flight);
}

/* ---- waiting ---- */

static unsigned long deadline(const struct job *job, const struct flight *flight)
{
	return adma_channel_deadline(&flight->descriptor, job->timeout);
}

/* Jiffies until a flight is overdue. */
static long patience(const struct job *job)
{
	long left = job->timeout;
	u32 i;

	for (i = 0; i < job->slots; i++) {
		if (job->flights[i].flying)
			left = min(left, (long)(deadline(job, &job->flights[i]) - jiffies));
	}
	return max(left, 1L);
}

static void retire_overdue(struct job *job)
{
	struct flight *flight;
	u32 i;

	for (i = 0; i < job->slots; i++) {
		flight = &job->flights[i];
		if (flight->flying && time_after_eq(jiffies, deadline(job, flight)) &&
		    adma_channel_retire(&flight->descriptor))
			adma_tally_add(job->copy->tally, ADMA_COUNT_TIMEOUTS, 1);
	}
}

/* Others have all the room, and none of it became free: that is for them to look into. */
static void wait_for_room(struct job *job, u32 seen)
{
	adma_channels_wait(seen, patience(job));
	if (!job->flying && adma_channels_seen() == seen) {
		copy_by_cpu(job, &job->next);
		job->has_next = false;
	}
}

/* False: there is nothing left to wait for. */
static bool wait(struct job *job, u32 seen)
{
	if (job->has_next && !job->stuck && !list_empty(&job->free))
		wait_for_room(job, seen);
	else if (job->flying)
		wait_event_idle_timeout(job->landing, !list_empty_careful(&job->landed),
					patience(job));
	else
		return false;
	retire_overdue(job);
	return true;
}

int adma_job_run(struct adma_dma_copy *copy, struct adma_dma_channel *const *channels, u32 count,
		 unsigned long timeout)
{
	struct job *job = make_job(copy, channels, count, timeout);
	bool stuck;
	u32 seen;

	if (!job)
		return -ENOMEM;
	do {
		seen = adma_channels_seen();
		land_all(job);
	} while (submit_next(job) || copy_next(job) || wait(job, seen));
	copy->ended = ktime_get();
	stuck = job->stuck;
	kref_put(&job->refs, free_job);
	return stuck ? -EIO : 0;
}
