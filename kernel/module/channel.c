// SPDX-License-Identifier: GPL-2.0
/* channel.c - one DMA channel, and the descriptors on it; see channel.h. */
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

#include "channel.h"
#include "mapping.h"

static atomic_t working = ATOMIC_INIT(0);
static atomic_t ended = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(room);

u32 adma_channels_work(void)
{
	return atomic_read(&working);
}

u32 adma_channels_seen(void)
{
	return atomic_read(&ended);
}

void adma_channels_wait(u32 seen, long timeout)
{
	wait_event_idle_timeout(room, adma_channels_seen() != seen, timeout);
}

static void announce_room(void)
{
	atomic_inc(&ended);
	smp_mb__after_atomic(); /* before looking for sleepers */
	if (waitqueue_active(&room))
		wake_up_all(&room);
}

/* ---- what is on it ---- */

static bool has_room(const struct adma_dma_channel *channel,
		     const struct adma_descriptor *descriptor)
{
	if (channel->count >= ADMA_CHANNEL_DEPTH)
		return false;
	return !descriptor->bulk || !channel->bulk ||
	       (channel->bulk < ADMA_CHANNEL_BULK &&
		channel->bulk_bytes + descriptor->length <= ADMA_CHANNEL_BULK_BYTES);
}

static void enter(struct adma_descriptor *descriptor)
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

/* With the channel's lock. */
static void leave(struct adma_descriptor *descriptor)
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

/* Who gets true has the descriptor, and is to hand it back. */
static bool claim(struct adma_descriptor *descriptor, bool copied)
{
	struct adma_dma_channel *channel = descriptor->channel;
	unsigned long flags;
	bool mine;

	spin_lock_irqsave(&channel->lock, flags);
	mine = descriptor->live;
	if (mine) {
		leave(descriptor);
		if (copied)
			channel->bytes += descriptor->length;
		else
			channel->errors++;
	}
	spin_unlock_irqrestore(&channel->lock, flags);
	return mine;
}

static void hand_back(struct adma_descriptor *descriptor, enum adma_outcome outcome)
{
	adma_unmap(descriptor);
	descriptor->ended(descriptor, outcome);
	announce_room();
}

static void callback(void *parameter, const struct dmaengine_result *result)
{
	bool copied = result->result == DMA_TRANS_NOERROR;

	if (claim(parameter, copied))
		hand_back(parameter, copied ? ADMA_COPIED : ADMA_FAILED);
}

/* ---- submitting ---- */

/*
 * With the mutex. Between preparing and submitting nothing may sleep: some drivers
 * hold a lock from the one to the other.
 */
static int give_to_driver(struct adma_descriptor *descriptor)
{
	struct dma_chan *dma = descriptor->channel->dma;
	struct dma_async_tx_descriptor *tx;

	tx = dmaengine_prep_dma_memcpy(dma, descriptor->to_dma, descriptor->from_dma,
				       descriptor->length, DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return READ_ONCE(descriptor->channel->count) ? -EBUSY : -EIO;
	tx->callback_result = callback;
	tx->callback_param = descriptor;
	enter(descriptor);
	if (dma_submit_error(dmaengine_submit(tx)))
		/* Not claimed: it was called back nevertheless, and that counts. */
		return claim(descriptor, false) ? -EIO : 0;
	dma_async_issue_pending(dma);
	return 0;
}

static int map_and_give(struct adma_descriptor *descriptor)
{
	int error = adma_map(descriptor);

	if (error)
		return error;
	error = give_to_driver(descriptor);
	if (error)
		adma_unmap(descriptor);
	return error;
}

int adma_channel_submit(struct adma_dma_channel *channel, struct adma_descriptor *descriptor)
{
	int error = -EAGAIN;
	bool fits;

	if (READ_ONCE(channel->state) != ADMA_CHANNEL_WORKS)
		return -ENODEV;
	descriptor->channel = channel;
	mutex_lock(&channel->mutex);
	spin_lock_irq(&channel->lock);
	fits = has_room(channel, descriptor);
	spin_unlock_irq(&channel->lock);
	if (channel->state != ADMA_CHANNEL_WORKS)
		error = -ENODEV;
	else if (fits)
		error = map_and_give(descriptor);
	mutex_unlock(&channel->mutex);
	return error;
}

/* ---- stopping ---- */

/*
 * Normally one that was there for @timeout while nothing on its channel ended. But on
 * a channel that does not keep the order one can get lost while others come and go.
 */
unsigned long adma_channel_deadline(const struct adma_descriptor *descriptor,
				    unsigned long timeout)
{
	unsigned long moved = READ_ONCE(descriptor->channel->moved);
	unsigned long last = descriptor->submitted + ADMA_CHANNEL_DEPTH * timeout;
	unsigned long next = descriptor->submitted + timeout;

	if (time_after(moved, descriptor->submitted))
		next = moved + timeout;
	return time_before(next, last) ? next : last;
}

/* The engine has stopped: nobody else touches what is on the list. */
static void hand_back_all(struct adma_dma_channel *channel)
{
	struct adma_descriptor *descriptor, *next;
	LIST_HEAD(all);
	bool live;

	spin_lock_irq(&channel->lock);
	list_splice_init(&channel->descriptors, &all);
	spin_unlock_irq(&channel->lock);
	list_for_each_entry_safe(descriptor, next, &all, node) {
		spin_lock_irq(&channel->lock);
		live = descriptor->live;
		leave(descriptor);
		spin_unlock_irq(&channel->lock);
		hand_back(descriptor, live ? ADMA_FAILED : ADMA_FREED);
	}
}

/* It has not: they stay. */
static void keep_all(struct adma_dma_channel *channel)
{
	struct adma_descriptor *descriptor;

	spin_lock_irq(&channel->lock);
	list_for_each_entry(descriptor, &channel->descriptors, node) {
		if (!descriptor->live)
			continue;
		descriptor->live = false;
		descriptor->ended(descriptor, ADMA_STUCK);
	}
	spin_unlock_irq(&channel->lock);
	announce_room();
}

static bool is_idle(struct adma_dma_channel *channel)
{
	bool idle;

	spin_lock_irq(&channel->lock);
	idle = list_empty(&channel->descriptors);
	spin_unlock_irq(&channel->lock);
	return idle;
}

/* With the mutex. A channel that does not stop keeps this module, whose callback it may call. */
static void stop(struct adma_dma_channel *channel, u32 state)
{
	if (channel->state == ADMA_CHANNEL_WORKS)
		atomic_dec(&working);
	WRITE_ONCE(channel->state, state);
	channel->stopped = is_idle(channel) || !dmaengine_terminate_sync(channel->dma);
	if (channel->stopped) {
		hand_back_all(channel);
		if (channel->keeps_module)
			module_put(THIS_MODULE);
		channel->keeps_module = false;
	} else {
		keep_all(channel);
		channel->keeps_module = channel->keeps_module || try_module_get(THIS_MODULE);
	}
}

static bool is_live(struct adma_descriptor *descriptor)
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

bool adma_channel_retire(struct adma_descriptor *descriptor)
{
	struct adma_dma_channel *channel = descriptor->channel;
	bool overdue;

	mutex_lock(&channel->mutex);
	/* If not, it has ended, or another has stopped the channel meanwhile. */
	overdue = is_live(descriptor);
	if (overdue) {
		stop(channel, ADMA_CHANNEL_RETIRED);
		pr_warn("%s (%s) timed out and %s; it is not used any more\n", channel->name,
			channel->driver, channel->stopped ? "was stopped" : "did not stop");
	}
	mutex_unlock(&channel->mutex);
	return overdue;
}

void adma_channel_stop_again(struct adma_dma_channel *channel)
{
	mutex_lock(&channel->mutex);
	if (channel->dma && !channel->stopped)
		stop(channel, channel->state);
	mutex_unlock(&channel->mutex);
}

void adma_channel_lose(struct adma_dma_channel *channel)
{
	mutex_lock(&channel->mutex);
	if (channel->dma) {
		stop(channel, ADMA_CHANNEL_LOST);
		if (channel->stopped)
			dma_release_channel(channel->dma);
		channel->dma = NULL;
	}
	mutex_unlock(&channel->mutex);
}

/* ---- life ---- */

struct adma_dma_channel *adma_channel_take(struct dma_chan *dma)
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

int adma_channel_give_back(struct adma_dma_channel *channel)
{
	bool stopped;

	mutex_lock(&channel->mutex);
	if (channel->dma)
		stop(channel, ADMA_CHANNEL_RETIRED);
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

void adma_channel_describe(struct adma_dma_channel *channel, struct adma_channel *out)
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
