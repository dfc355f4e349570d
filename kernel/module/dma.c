// SPDX-License-Identifier: GPL-2.0
/* dma.c - the set of DMA channels: taken, watched, given back; see dma.h. */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>

#include "channel.h"
#include "dma.h"
#include "job.h"

#define CHANNELS_MAX 64
#define BUSES_MAX    8
#define TIMEOUT_MAX  (3600 * MSEC_PER_SEC)

static unsigned int max_channels = 8;
module_param(max_channels, uint, 0644);
MODULE_PARM_DESC(max_channels, "DMA channels taken, and used for a copy, at most, up to 64");

static unsigned int dma_min = 4096;
module_param(dma_min, uint, 0644);
MODULE_PARM_DESC(dma_min, "bytes; shorter transfers are copied by the CPU");

static unsigned int timeout_ms = 3000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "after which the channel of a DMA descriptor is stopped and retired");

/* They change in the first get and in the last put: who holds a get needs no mutex to read them. */
static struct adma_dma_channel *channels[CHANNELS_MAX];
static u32 count;
static DEFINE_MUTEX(channels_mutex); /* for both; inside a bus's lock of its notifiers */

static u32 gets;
static DEFINE_MUTEX(gets_mutex); /* for it, and the watches; outside that lock */

/* ---- the watch: drivers that are about to be unbound ---- */

struct watch {
	typeof_member(struct device, bus) bus;
	struct notifier_block notifier;
};

static struct watch watches[BUSES_MAX];
static u32 watched;

static int notified(struct notifier_block *notifier, unsigned long event, void *device)
{
	u32 i;

	if (event != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;
	mutex_lock(&channels_mutex);
	for (i = 0; i < count; i++) {
		if (channels[i]->provider == device)
			adma_channel_lose(channels[i]);
	}
	mutex_unlock(&channels_mutex);
	return NOTIFY_OK;
}

/* False: so no channel of this bus is taken. */
static bool begin(const struct watch *wanted)
{
	struct watch *watch = &watches[watched];

	if (watched == BUSES_MAX)
		return false;
	watch->bus = wanted->bus;
	watch->notifier.notifier_call = notified;
	if (bus_register_notifier(watch->bus, &watch->notifier))
		return false;
	watched++;
	return true;
}

static bool is_watched(const struct device *device)
{
	u32 i;

	for (i = 0; i < watched; i++) {
		if (watches[i].bus == device->bus)
			return true;
	}
	return false;
}

/* ---- taking ---- */

/*
 * Called by the framework with its mutex held. The bus is watched before a channel is taken,
 * and we hold channels_mutex: so a driver that is bound here tells us, and finds the
 * channel among ours, before it goes.
 */
static bool may_take(struct dma_chan *dma, void *parameter)
{
	const struct device *provider = dma->device->dev;
	struct watch *unwatched = parameter;

	if (provider->links.status != DL_DEV_DRIVER_BOUND ||
	    (size_t)1 << dma->device->copy_align > PAGE_SIZE)
		return false;
	if (is_watched(provider))
		return true;
	unwatched->bus = provider->bus;
	return false;
}

/* One more: true. Otherwise @unwatched may name a bus on which there could be another. */
static bool take(struct watch *unwatched)
{
	struct adma_dma_channel *channel;
	struct dma_chan *dma;
	dma_cap_mask_t mask;
	bool taken = false;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	mutex_lock(&channels_mutex);
	dma = dma_request_channel(mask, may_take, unwatched);
	if (dma) {
		channel = adma_channel_take(dma);
		taken = !IS_ERR(channel);
		if (taken)
			channels[count++] = channel;
	}
	mutex_unlock(&channels_mutex);
	return taken;
}

static void take_all(void)
{
	while (count < min_t(u32, READ_ONCE(max_channels), CHANNELS_MAX)) {
		struct watch unwatched = { };

		if (!take(&unwatched) && (!unwatched.bus || !begin(&unwatched)))
			break;
	}
}

/*
 * A retired channel is kept until the module goes, lest somebody take it; then, or whenever the
 * last descriptor is closed, one that did not stop is tried again.
 */
static void give_back_all(bool retired_too)
{
	u32 kept = 0, i;
	bool keep;

	mutex_lock(&channels_mutex);
	for (i = 0; i < count; i++) {
		keep = channels[i]->state == ADMA_CHANNEL_RETIRED && !retired_too;
		if (keep)
			adma_channel_stop_again(channels[i]);
		else
			keep = adma_channel_give_back(channels[i]);
		if (keep)
			channels[kept++] = channels[i];
	}
	count = kept;
	mutex_unlock(&channels_mutex);
}

void adma_dma_get(void)
{
	mutex_lock(&gets_mutex);
	if (!gets++)
		take_all();
	mutex_unlock(&gets_mutex);
}

void adma_dma_put(void)
{
	mutex_lock(&gets_mutex);
	if (!--gets)
		give_back_all(false);
	mutex_unlock(&gets_mutex);
}

/* ---- the copy ---- */

int adma_dma_copy(struct adma_dma_copy *copy)
{
	unsigned int most = clamp(READ_ONCE(timeout_ms), 1U, (unsigned int)TIMEOUT_MAX);

	copy->submitted = 0;
	return adma_job_run(copy, channels, min(count, READ_ONCE(max_channels)),
			    msecs_to_jiffies(most));
}

/* ---- what there is ---- */

bool adma_dma_works(void)
{
	return adma_channels_work();
}

u64 adma_dma_min(void)
{
	return READ_ONCE(dma_min);
}

void adma_dma_count(u32 *all, u32 *retired)
{
	u32 i;

	mutex_lock(&channels_mutex);
	*all = count;
	*retired = 0;
	for (i = 0; i < count; i++)
		*retired += READ_ONCE(channels[i]->state) == ADMA_CHANNEL_RETIRED;
	mutex_unlock(&channels_mutex);
}

int adma_dma_describe(u32 index, struct adma_channel *out)
{
	int error = -ENOENT;

	mutex_lock(&channels_mutex);
	if (index < count) {
		adma_channel_describe(channels[index], out);
		error = 0;
	}
	mutex_unlock(&channels_mutex);
	return error;
}

/* ---- module ---- */

int adma_dma_init(void)
{
	return max_channels > CHANNELS_MAX ? -EINVAL : 0;
}

/* Only if one became stuck while the module was already going does this wait. */
void adma_dma_exit(void)
{
	for (give_back_all(true); count; give_back_all(true))
		ssleep(1);
	while (watched--)
		bus_unregister_notifier(watches[watched].bus, &watches[watched].notifier);
}
