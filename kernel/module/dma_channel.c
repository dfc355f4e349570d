// SPDX-License-Identifier: GPL-2.0
/* dma_channel.c - one DMA channel, and its descriptors; see dma_channel.h. */
#define pr_fmt(format) KBUILD_MODNAME ": " format

#include <linux/atomic.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "dma_channel.h"
#include "dma_descriptor.h"
#include "dma_driver.h"
#include "dma_mapping.h"

static atomic_t working = ATOMIC_INIT(0);
static atomic_t completed = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(room);

u32 adma_dma_channels_working(void)
{
	return atomic_read(&working);
}

u32 adma_dma_channels_completed(void)
{
	return atomic_read(&completed);
}

void adma_dma_channels_wait(u32 seen, long timeout)
{
	wait_event_idle_timeout(room, adma_dma_channels_completed() != seen, timeout);
}

static void dma_channels_announce_room(void)
{
	atomic_inc(&completed);
	smp_mb__after_atomic(); /* the count changes before we look for sleepers */
	if (waitqueue_active(&room))
		wake_up_all(&room);
}

/* ---- submitted descriptors ---- */

static bool dma_channel_has_room(const struct adma_dma_channel *channel,
				 const struct adma_dma_descriptor *descriptor)
{
	if (channel->count >= channel->depth)
		return false;
	return !descriptor->bulk || !channel->bulk ||
	       (channel->bulk < ADMA_DMA_CHANNEL_BULK &&
		channel->bulk_bytes + descriptor->length <= ADMA_DMA_CHANNEL_BULK_BYTES);
}

/* Called with the DMA channel's lock held. */
static void dma_descriptor_enter(struct adma_dma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;

	descriptor->submitted = jiffies;
	descriptor->live = true;
	if (!channel->count++)
		channel->moved = jiffies;
	if (descriptor->bulk) {
		channel->bulk++;
		channel->bulk_bytes += descriptor->length;
	}
	list_add_tail(&descriptor->node, &channel->descriptors);
}

/* Called with the DMA channel's lock held. */
static void dma_descriptor_leave(struct adma_dma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;

	descriptor->live = false;
	channel->count--;
	channel->moved = jiffies;
	if (descriptor->bulk) {
		channel->bulk--;
		channel->bulk_bytes -= descriptor->length;
	}
	list_del(&descriptor->node);
}

/*
 * The engine is done with the descriptor, and the caller is counted as being inside from here on.
 * False: it was given up before.
 */
static bool dma_descriptor_claim(struct adma_dma_descriptor *descriptor, bool copied)
{
	struct adma_dma_channel *channel = descriptor->channel;
	unsigned long flags;
	bool live;

	spin_lock_irqsave(&channel->lock, flags);
	channel->inside++;
	if (descriptor->ended)
		*descriptor->ended = true;
	live = descriptor->live;
	dma_descriptor_leave(descriptor);
	if (live && copied)
		channel->bytes += descriptor->length;
	else if (live)
		channel->errors++;
	spin_unlock_irqrestore(&channel->lock, flags);
	return live;
}

/*
 * The caller is not counted any more, after which the DMA channel may be gone: so the unlock is the
 * last access. Whoever waits for that was among the sleepers before he took the lock to look.
 */
static void dma_channel_get_out(struct adma_dma_channel *channel, bool gave)
{
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	channel->inside--;
	channel->pieces += gave;
	if (waitqueue_active(&room)) /* see above */
		wake_up_all(&room);
	spin_unlock_irqrestore(&channel->lock, flags);
}

static void dma_descriptor_complete(struct adma_dma_descriptor *descriptor,
				    enum adma_outcome outcome)
{
	descriptor->complete(descriptor, outcome);
	dma_channels_announce_room();
}

/* The result of a stuck descriptor stays what it is, and the descriptor is freed. */
static void dma_descriptor_end(struct adma_dma_descriptor *descriptor, bool copied)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool live = dma_descriptor_claim(descriptor, copied);

	adma_dma_unmap(channel->device, descriptor);
	if (!live)
		dma_descriptor_complete(descriptor, ADMA_FREED);
	else
		dma_descriptor_complete(descriptor, copied ? ADMA_COPIED : ADMA_FAILED);
	dma_channel_get_out(channel, false);
}

static void dma_descriptor_callback(void *parameter, const struct dmaengine_result *result)
{
	dma_descriptor_end(parameter, result->result == DMA_TRANS_NOERROR);
}

/* ---- submitting ---- */

/*
 * Some drivers call back although they fail to submit; then it is the callback that counts, and the
 * descriptor may be gone.
 */
static int dma_descriptor_submit_prepared(struct adma_dma_descriptor *descriptor,
					  struct dma_async_tx_descriptor *tx)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool ended = false;
	int error;

	tx->callback_result = dma_descriptor_callback;
	tx->callback_param = descriptor;
	descriptor->ended = &ended;
	error = dma_submit_error(dmaengine_submit(tx)) ? -EIO : 0;
	spin_lock_irq(&channel->lock);
	if (ended)
		error = 0;
	else
		descriptor->ended = NULL;
	spin_unlock_irq(&channel->lock);
	return error;
}

/*
 * Preparing may sleep, but nothing may sleep between preparing and submitting: some
 * drivers hold a lock from the one to the other.
 */
static int dma_descriptor_submit(struct adma_dma_descriptor *descriptor, struct dma_chan *dma)
{
	struct dma_async_tx_descriptor *tx;
	int error;

	tx = dmaengine_prep_dma_memcpy(dma, descriptor->to_dma, descriptor->from_dma,
				       descriptor->length, DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return READ_ONCE(descriptor->channel->count) > 1 ? -EBUSY : -EIO;
	error = dma_descriptor_submit_prepared(descriptor, tx);
	if (!error)
		dma_async_issue_pending(dma);
	return error;
}

static int dma_descriptor_map_and_submit(struct adma_dma_descriptor *descriptor,
					 struct dma_chan *dma)
{
	int error = adma_dma_map(descriptor->channel->device, descriptor);

	if (error)
		return error;
	error = dma_descriptor_submit(descriptor, dma);
	if (error)
		adma_dma_unmap(descriptor->channel->device, descriptor);
	return error;
}

/*
 * The driver did not take it. True: the caller has to complete it. False: it was given up
 * meanwhile, and is freed here.
 */
static bool dma_descriptor_take_back(struct adma_dma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool live;

	spin_lock_irq(&channel->lock);
	live = descriptor->live;
	dma_descriptor_leave(descriptor);
	spin_unlock_irq(&channel->lock);
	if (!live)
		dma_descriptor_complete(descriptor, ADMA_FREED);
	return live;
}

/*
 * The caller is counted as being inside. On 0 the descriptor may be gone, and so may the DMA
 * channel as soon as the caller is not counted any more.
 */
static int dma_channel_give(struct adma_dma_channel *channel,
			    struct adma_dma_descriptor *descriptor, struct dma_chan *dma)
{
	int error = dma_descriptor_map_and_submit(descriptor, dma);

	if (error && !dma_descriptor_take_back(descriptor))
		error = 0;
	return error;
}

static struct adma_dma_descriptor *dma_channel_next(struct adma_dma_channel *channel,
						    struct dma_chan **dma)
{
	struct adma_dma_descriptor *descriptor;

	spin_lock_irq(&channel->lock);
	descriptor = list_first_entry_or_null(&channel->waiting, struct adma_dma_descriptor,
					      waiting);
	if (descriptor) {
		list_del(&descriptor->waiting);
		channel->inside++;
		*dma = channel->dma;
	}
	spin_unlock_irq(&channel->lock);
	return descriptor;
}

/* For a driver whose preparing blocks. */
static void dma_channel_submit_waiting(struct work_struct *work)
{
	struct adma_dma_channel *channel = container_of(work, struct adma_dma_channel, submitting);
	struct adma_dma_descriptor *descriptor;
	struct dma_chan *dma;
	int error;

	while ((descriptor = dma_channel_next(channel, &dma))) {
		error = dma_channel_give(channel, descriptor, dma);
		if (error)
			dma_descriptor_complete(descriptor, ADMA_FAILED);
		dma_channel_get_out(channel, !error);
	}
}

/* 0: the caller is counted as being inside, or the submitter will be. */
static int dma_channel_get_in(struct adma_dma_channel *channel,
			      struct adma_dma_descriptor *descriptor, struct dma_chan **dma)
{
	int error = 0;

	descriptor->channel = channel;
	spin_lock_irq(&channel->lock);
	if (channel->state != ADMA_CHANNEL_WORKS) {
		error = -ENODEV;
	} else if (!dma_channel_has_room(channel, descriptor)) {
		error = -EAGAIN;
	} else {
		dma_descriptor_enter(descriptor);
		*dma = channel->dma;
		if (channel->submitter)
			list_add_tail(&descriptor->waiting, &channel->waiting);
		else
			channel->inside++;
	}
	spin_unlock_irq(&channel->lock);
	return error;
}

int adma_dma_channel_submit(struct adma_dma_channel *channel,
			    struct adma_dma_descriptor *descriptor)
{
	struct dma_chan *dma;
	int error = dma_channel_get_in(channel, descriptor, &dma);

	if (error)
		return error;
	if (channel->submitter) {
		queue_work(channel->submitter, &channel->submitting);
		return 0;
	}
	error = dma_channel_give(channel, descriptor, dma);
	dma_channel_get_out(channel, !error);
	return error;
}

/* ---- stopping ---- */

/*
 * Normally a descriptor is overdue when none of its DMA channel was completed for @timeout.
 * But a DMA channel may complete descriptors out of order, and lose one while it completes
 * others: hence the second limit.
 */
unsigned long adma_dma_channel_deadline(const struct adma_dma_descriptor *descriptor,
					unsigned long timeout)
{
	unsigned long moved = READ_ONCE(descriptor->channel->moved);
	unsigned long last = descriptor->submitted + descriptor->channel->depth * timeout;
	unsigned long next = descriptor->submitted + timeout;

	if (time_after(moved, descriptor->submitted))
		next = moved + timeout;
	return time_before(next, last) ? next : last;
}

static void dma_channel_set_state(struct adma_dma_channel *channel, u32 state)
{
	spin_lock_irq(&channel->lock);
	if (channel->state == ADMA_CHANNEL_WORKS)
		atomic_dec(&working);
	WRITE_ONCE(channel->state, state);
	spin_unlock_irq(&channel->lock);
}

/* What waits for the submitter has not been given to the driver. */
static void dma_channel_fail_waiting(struct adma_dma_channel *channel)
{
	struct adma_dma_descriptor *descriptor, *next;
	LIST_HEAD(all);

	spin_lock_irq(&channel->lock);
	list_splice_init(&channel->waiting, &all);
	list_for_each_entry(descriptor, &all, waiting)
		dma_descriptor_leave(descriptor);
	spin_unlock_irq(&channel->lock);
	list_for_each_entry_safe(descriptor, next, &all, waiting)
		dma_descriptor_complete(descriptor, ADMA_FAILED);
}

/* The engine has stopped: nobody else touches the descriptors of the list. */
static void dma_channel_end_all(struct adma_dma_channel *channel)
{
	struct adma_dma_descriptor *descriptor, *next;
	LIST_HEAD(all);
	bool live;

	spin_lock_irq(&channel->lock);
	list_splice_init(&channel->descriptors, &all);
	spin_unlock_irq(&channel->lock);
	list_for_each_entry_safe(descriptor, next, &all, node) {
		spin_lock_irq(&channel->lock);
		live = descriptor->live;
		dma_descriptor_leave(descriptor);
		spin_unlock_irq(&channel->lock);
		adma_dma_unmap(channel->device, descriptor);
		dma_descriptor_complete(descriptor, live ? ADMA_FAILED : ADMA_FREED);
	}
}

/* The engine has not stopped: the descriptors stay in the list. */
static void dma_channel_keep_all(struct adma_dma_channel *channel)
{
	struct adma_dma_descriptor *descriptor;

	spin_lock_irq(&channel->lock);
	list_for_each_entry(descriptor, &channel->descriptors, node) {
		if (!descriptor->live)
			continue;
		descriptor->live = false;
		descriptor->complete(descriptor, ADMA_STUCK);
	}
	spin_unlock_irq(&channel->lock);
	dma_channels_announce_room();
}

/* Nothing of it is in flight, and nobody is about to change that. */
static bool dma_channel_is_idle(struct adma_dma_channel *channel)
{
	bool idle;

	spin_lock_irq(&channel->lock);
	idle = list_empty(&channel->descriptors) && !channel->inside;
	spin_unlock_irq(&channel->lock);
	return idle;
}

static bool dma_channel_is_left(struct adma_dma_channel *channel)
{
	bool left;

	spin_lock_irq(&channel->lock);
	left = !channel->inside;
	spin_unlock_irq(&channel->lock);
	return left;
}

/*
 * True: the engine has stopped. Terminating wakes who sleeps in preparing, and he may submit
 * after it. So it is terminated once more when everybody has left the driver.
 */
static bool dma_channel_terminate(struct adma_dma_channel *channel, unsigned long drain)
{
	return channel->dma && adma_dma_driver_stops(channel->known) &&
	       !dmaengine_terminate_sync(channel->dma) &&
	       wait_event_idle_timeout(room, dma_channel_is_left(channel), drain) &&
	       !dmaengine_terminate_sync(channel->dma);
}

/*
 * Called with the mutex held. A DMA channel that does not stop may still call our callback, so it
 * holds a reference to this module.
 */
static void dma_channel_stop(struct adma_dma_channel *channel, u32 state, unsigned long timeout)
{
	unsigned long drain = clamp(timeout, 1UL, (unsigned long)ADMA_DMA_CHANNEL_DRAIN);

	dma_channel_set_state(channel, state);
	dma_channel_fail_waiting(channel);
	channel->stopped = wait_event_idle_timeout(room, dma_channel_is_idle(channel), drain) ||
			   dma_channel_terminate(channel, drain);
	if (channel->stopped) {
		dma_channel_end_all(channel);
		if (channel->keeps_module)
			module_put(THIS_MODULE);
		channel->keeps_module = false;
	} else {
		dma_channel_keep_all(channel);
		channel->keeps_module = channel->keeps_module || try_module_get(THIS_MODULE);
	}
}

static bool dma_descriptor_time_out(struct adma_dma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool live;

	spin_lock_irq(&channel->lock);
	live = descriptor->live;
	if (live)
		channel->timeouts++;
	spin_unlock_irq(&channel->lock);
	return live;
}

bool adma_dma_channel_retire(struct adma_dma_descriptor *descriptor, unsigned long timeout)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool overdue;

	mutex_lock(&channel->mutex);
	/* Otherwise it is completed, or another thread has stopped the DMA channel meanwhile. */
	overdue = dma_descriptor_time_out(descriptor);
	if (overdue) {
		dma_channel_stop(channel, ADMA_CHANNEL_RETIRED, timeout);
		pr_warn("%s (%s) timed out and %s; it is not used any more\n", channel->name,
			channel->driver, channel->stopped ? "was stopped" : "did not stop");
	}
	mutex_unlock(&channel->mutex);
	return overdue;
}

void adma_dma_channel_stop_again(struct adma_dma_channel *channel)
{
	mutex_lock(&channel->mutex);
	if (!channel->stopped)
		dma_channel_stop(channel, channel->state, 0);
	mutex_unlock(&channel->mutex);
}

static void dma_channel_release(struct adma_dma_channel *channel)
{
	struct dma_chan *dma = channel->dma;

	spin_lock_irq(&channel->lock);
	channel->dma = NULL;
	spin_unlock_irq(&channel->lock);
	if (dma && channel->stopped)
		dma_release_channel(dma);
}

void adma_dma_channel_lose(struct adma_dma_channel *channel, unsigned long timeout)
{
	mutex_lock(&channel->mutex);
	if (channel->dma) {
		dma_channel_stop(channel, ADMA_CHANNEL_LOST, timeout);
		if (!channel->stopped)
			pr_warn("%s (%s) did not stop, and its driver is being unbound\n",
				channel->name, channel->driver);
		dma_channel_release(channel);
	}
	mutex_unlock(&channel->mutex);
}

void adma_dma_channel_accept(struct adma_dma_channel *channel)
{
	spin_lock_irq(&channel->lock);
	channel->bytes = 0;
	channel->pieces = 0;
	spin_unlock_irq(&channel->lock);
}

void adma_dma_channel_condemn(struct adma_dma_channel *channel)
{
	mutex_lock(&channel->mutex);
	if (channel->state == ADMA_CHANNEL_WORKS)
		dma_channel_set_state(channel, ADMA_CHANNEL_FAULTY);
	mutex_unlock(&channel->mutex);
	pr_warn("%s (%s) failed its self-test, and is not used\n", channel->name, channel->driver);
}

/* ---- life ---- */

static void dma_channel_free(struct adma_dma_channel *channel)
{
	if (channel->submitter)
		destroy_workqueue(channel->submitter);
	put_device(channel->provider);
	put_device(channel->device);
	kfree(channel);
}

static void dma_channel_fill(struct adma_dma_channel *channel, struct dma_chan *dma)
{
	const struct adma_dma_driver *known = channel->known;

	channel->dma = dma;
	channel->state = ADMA_CHANNEL_WORKS;
	channel->device = get_device(dmaengine_get_dma_device(dma));
	channel->provider = get_device(dma->device->dev);
	channel->align = (size_t)1 << dma->device->copy_align;
	channel->depth = min_not_zero(known->depth, (u32)ADMA_DMA_CHANNEL_DEPTH);
	channel->most = min_t(size_t, dma_get_max_seg_size(channel->device),
			      dma_max_mapping_size(channel->device));
	channel->most = min_not_zero(channel->most, known->most);
	strscpy(channel->name, dma_chan_name(dma), sizeof(channel->name));
	strscpy(channel->driver, dev_driver_string(channel->provider), sizeof(channel->driver));
}

struct adma_dma_channel *adma_dma_channel_take(struct dma_chan *dma,
					       const struct adma_dma_driver *known)
{
	struct adma_dma_channel *channel = kzalloc(sizeof(*channel), GFP_KERNEL);

	if (!channel)
		goto no_memory;
	mutex_init(&channel->mutex);
	spin_lock_init(&channel->lock);
	INIT_LIST_HEAD(&channel->descriptors);
	INIT_LIST_HEAD(&channel->waiting);
	INIT_WORK(&channel->submitting, dma_channel_submit_waiting);
	channel->known = known;
	dma_channel_fill(channel, dma);
	if (known->prep_blocks) {
		channel->submitter = alloc_ordered_workqueue("adma_%s", WQ_FREEZABLE,
							     channel->name);
		if (!channel->submitter) {
			dma_channel_free(channel);
			goto no_memory;
		}
	}
	atomic_inc(&working);
	return channel;

no_memory:
	dma_release_channel(dma);
	return ERR_PTR(-ENOMEM);
}

int adma_dma_channel_give_back(struct adma_dma_channel *channel)
{
	bool stopped;

	mutex_lock(&channel->mutex);
	if (!channel->stopped)
		dma_channel_stop(channel,
				 channel->state == ADMA_CHANNEL_WORKS ? ADMA_CHANNEL_RETIRED
								      : channel->state,
				 0);
	stopped = channel->stopped;
	if (stopped)
		dma_channel_release(channel);
	mutex_unlock(&channel->mutex);
	if (!stopped)
		return -EBUSY;
	dma_channel_free(channel);
	return 0;
}

void adma_dma_channel_describe(struct adma_dma_channel *channel, struct adma_channel *out)
{
	out->state = READ_ONCE(channel->state);
	out->align = channel->align;
	out->pad = 0;
	memcpy(out->name, channel->name, sizeof(out->name));
	memcpy(out->driver, channel->driver, sizeof(out->driver));
	spin_lock_irq(&channel->lock);
	out->bytes = channel->bytes;
	out->pieces = channel->pieces;
	out->errors = channel->errors;
	out->timeouts = channel->timeouts;
	spin_unlock_irq(&channel->lock);
}
