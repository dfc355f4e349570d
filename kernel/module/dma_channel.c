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
	if (channel->count >= ADMA_DMA_CHANNEL_DEPTH)
		return false;
	return !descriptor->bulk || !channel->bulk ||
	       (channel->bulk < ADMA_DMA_CHANNEL_BULK &&
		channel->bulk_bytes + descriptor->length <= ADMA_DMA_CHANNEL_BULK_BYTES);
}

static void dma_descriptor_enter(struct adma_dma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;
	unsigned long flags;

	descriptor->submitted = jiffies;
	descriptor->live = true;
	spin_lock_irqsave(&channel->lock, flags);
	if (!channel->count++)
		channel->moved = jiffies;
	if (descriptor->bulk) {
		channel->bulk++;
		channel->bulk_bytes += descriptor->length;
	}
	channel->pieces++;
	list_add_tail(&descriptor->node, &channel->descriptors);
	spin_unlock_irqrestore(&channel->lock, flags);
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

/* The caller that gets true owns the descriptor, and has to complete it. */
static bool dma_descriptor_claim(struct adma_dma_descriptor *descriptor, bool copied)
{
	struct adma_dma_channel *channel = descriptor->channel;
	unsigned long flags;
	bool claimed;

	spin_lock_irqsave(&channel->lock, flags);
	claimed = descriptor->live;
	if (claimed) {
		dma_descriptor_leave(descriptor);
		if (copied)
			channel->bytes += descriptor->length;
		else
			channel->errors++;
	}
	spin_unlock_irqrestore(&channel->lock, flags);
	return claimed;
}

static void dma_descriptor_complete(struct adma_dma_descriptor *descriptor,
				    enum adma_outcome outcome)
{
	adma_dma_unmap(descriptor->channel->device, descriptor);
	descriptor->complete(descriptor, outcome);
	dma_channels_announce_room();
}

static void dma_descriptor_callback(void *parameter, const struct dmaengine_result *result)
{
	bool copied = result->result == DMA_TRANS_NOERROR;

	if (dma_descriptor_claim(parameter, copied))
		dma_descriptor_complete(parameter, copied ? ADMA_COPIED : ADMA_FAILED);
}

/* ---- submitting ---- */

/*
 * Called with the mutex held. Nothing may sleep between preparing and submitting: some
 * drivers hold a lock from the one to the other.
 */
static int dma_descriptor_submit(struct adma_dma_descriptor *descriptor)
{
	struct dma_chan *dma = descriptor->channel->dma;
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memcpy(dma, descriptor->to_dma, descriptor->from_dma,
				       descriptor->length, DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return READ_ONCE(descriptor->channel->count) ? -EBUSY : -EIO;
	tx->callback_result = dma_descriptor_callback;
	tx->callback_param = descriptor;
	dma_descriptor_enter(descriptor);
	if (dma_submit_error(dmaengine_submit(tx)))
		/* If the callback came nevertheless, its outcome counts. */
		return dma_descriptor_claim(descriptor, false) ? -EIO : 0;
	dma_async_issue_pending(dma);
	return 0;
}

static int dma_descriptor_map_and_submit(struct adma_dma_descriptor *descriptor)
{
	int error = adma_dma_map(descriptor->channel->device, descriptor);

	if (error)
		return error;
	error = dma_descriptor_submit(descriptor);
	if (error)
		adma_dma_unmap(descriptor->channel->device, descriptor);
	return error;
}

int adma_dma_channel_submit(struct adma_dma_channel *channel,
			    struct adma_dma_descriptor *descriptor)
{
	int error = -EAGAIN;
	bool fits;

	if (READ_ONCE(channel->state) != ADMA_CHANNEL_WORKS)
		return -ENODEV;
	descriptor->channel = channel;
	mutex_lock(&channel->mutex);
	spin_lock_irq(&channel->lock);
	fits = dma_channel_has_room(channel, descriptor);
	spin_unlock_irq(&channel->lock);
	if (channel->state != ADMA_CHANNEL_WORKS)
		error = -ENODEV;
	else if (fits)
		error = dma_descriptor_map_and_submit(descriptor);
	mutex_unlock(&channel->mutex);
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
	unsigned long last = descriptor->submitted + ADMA_DMA_CHANNEL_DEPTH * timeout;
	unsigned long next = descriptor->submitted + timeout;

	if (time_after(moved, descriptor->submitted))
		next = moved + timeout;
	return time_before(next, last) ? next : last;
}

/* The engine has stopped: nobody else touches the descriptors of the list. */
static void dma_channel_complete_all(struct adma_dma_channel *channel)
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

static bool dma_channel_is_idle(struct adma_dma_channel *channel)
{
	bool idle;

	spin_lock_irq(&channel->lock);
	idle = list_empty(&channel->descriptors);
	spin_unlock_irq(&channel->lock);
	return idle;
}

/*
 * Called with the mutex held. A DMA channel that does not stop may still call our callback, so it
 * holds a reference to this module.
 */
static void dma_channel_stop(struct adma_dma_channel *channel, u32 state)
{
	if (channel->state == ADMA_CHANNEL_WORKS)
		atomic_dec(&working);
	WRITE_ONCE(channel->state, state);
	channel->stopped = dma_channel_is_idle(channel) || !dmaengine_terminate_sync(channel->dma);
	if (channel->stopped) {
		dma_channel_complete_all(channel);
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

bool adma_dma_channel_retire(struct adma_dma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool overdue;

	mutex_lock(&channel->mutex);
	/* Otherwise it is completed, or another thread has stopped the DMA channel meanwhile. */
	overdue = dma_descriptor_time_out(descriptor);
	if (overdue) {
		dma_channel_stop(channel, ADMA_CHANNEL_RETIRED);
		pr_warn("%s (%s) timed out and %s; it is not used any more\n", channel->name,
			channel->driver, channel->stopped ? "was stopped" : "did not stop");
	}
	mutex_unlock(&channel->mutex);
	return overdue;
}

void adma_dma_channel_stop_again(struct adma_dma_channel *channel)
{
	mutex_lock(&channel->mutex);
	if (channel->dma && !channel->stopped)
		dma_channel_stop(channel, channel->state);
	mutex_unlock(&channel->mutex);
}

void adma_dma_channel_lose(struct adma_dma_channel *channel)
{
	mutex_lock(&channel->mutex);
	if (channel->dma) {
		dma_channel_stop(channel, ADMA_CHANNEL_LOST);
		if (channel->stopped)
			dma_release_channel(channel->dma);
		channel->dma = NULL;
	}
	mutex_unlock(&channel->mutex);
}

/* ---- life ---- */

struct adma_dma_channel *adma_dma_channel_take(struct dma_chan *dma)
{
	struct adma_dma_channel *channel = kzalloc(sizeof(*channel), GFP_KERNEL);

	if (!channel) {
		dma_release_channel(dma);
		return ERR_PTR(-ENOMEM);
	}
	mutex_init(&channel->mutex);
	spin_lock_init(&channel->lock);
	INIT_LIST_HEAD(&channel->descriptors);
	channel->dma = dma;
	channel->state = ADMA_CHANNEL_WORKS;
	channel->device = get_device(dmaengine_get_dma_device(dma));
	channel->provider = get_device(dma->device->dev);
	channel->align = (size_t)1 << dma->device->copy_align;
	channel->most = min_t(size_t, dma_get_max_seg_size(channel->device),
			      dma_max_mapping_size(channel->device));
	strscpy(channel->name, dma_chan_name(dma), sizeof(channel->name));
	strscpy(channel->driver, dev_driver_string(channel->provider), sizeof(channel->driver));
	atomic_inc(&working);
	return channel;
}

int adma_dma_channel_give_back(struct adma_dma_channel *channel)
{
	bool stopped;

	mutex_lock(&channel->mutex);
	if (channel->dma)
		dma_channel_stop(channel, ADMA_CHANNEL_RETIRED);
	stopped = channel->stopped;
	if (stopped && channel->dma)
		dma_release_channel(channel->dma);
	mutex_unlock(&channel->mutex);
	if (!stopped)
		return -EBUSY;
	put_device(channel->provider);
	put_device(channel->device);
	kfree(channel);
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
