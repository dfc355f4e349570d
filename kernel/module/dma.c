// SPDX-License-Identifier: GPL-2.0
/* dma.c - the DMA channels that the module holds; see dma.h. */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>

#include "dma.h"
#include "dma_channel.h"
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
MODULE_PARM_DESC(timeout_ms, "after which the DMA channel of an uncompleted descriptor is stopped and retired");

/*
 * These change in the first get and in the last put only: whoever holds a get may read them
 * without the mutex.
 */
static struct adma_dma_channel *channels[CHANNELS_MAX];
static u32 count;
static DEFINE_MUTEX(channels_mutex); /* for both; taken under a bus's notifier lock */

static u32 gets;
static DEFINE_MUTEX(gets_mutex); /* for it, and the watches; taken before that lock */

/* ---- notice of drivers that are about to be unbound ---- */

struct dma_watch {
	typeof_member(struct device, bus) bus;
	struct notifier_block notifier;
};

static struct dma_watch watches[BUSES_MAX];
static u32 watched;

static int dma_watch_notify(struct notifier_block *notifier, unsigned long event, void *device)
{
	u32 i;

	if (event != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;
	mutex_lock(&channels_mutex);
	for (i = 0; i < count; i++) {
		if (channels[i]->provider == device)
			adma_dma_channel_lose(channels[i]);
	}
	mutex_unlock(&channels_mutex);
	return NOTIFY_OK;
}

/* On false no DMA channel of this bus may be taken. */
static bool dma_watch_begin(const struct dma_watch *wanted)
{
	struct dma_watch *watch = &watches[watched];

	if (watched == BUSES_MAX)
		return false;
	watch->bus = wanted->bus;
	watch->notifier.notifier_call = dma_watch_notify;
	if (bus_register_notifier(watch->bus, &watch->notifier))
		return false;
	watched++;
	return true;
}

static bool dma_is_watched(const struct device *device)
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
 * The framework calls this with its mutex held. The bus is watched before a DMA channel is taken,
 * and we hold channels_mutex. So if the driver is bound here, then we are notified before it is
 * unbound, and find its DMA channel among ours.
 */
static bool dma_may_take(struct dma_chan *dma, void *parameter)
{
	const struct device *provider = dma->device->dev;
	struct dma_watch *unwatched = parameter;

	if (provider->links.status != DL_DEV_DRIVER_BOUND ||
	    (size_t)1 << dma->device->copy_align > PAGE_SIZE)
		return false;
	if (dma_is_watched(provider))
		return true;
	unwatched->bus = provider->bus;
	return false;
}

/*
 * Takes one more DMA channel. On false @unwatched may name a bus that is not watched yet, and that
 * may have another one.
 */
static bool dma_take(struct dma_watch *unwatched)
{
	struct adma_dma_channel *channel;
	struct dma_chan *dma;
	dma_cap_mask_t mask;
	bool taken = false;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	mutex_lock(&channels_mutex);
	dma = dma_request_channel(mask, dma_may_take, unwatched);
	if (dma) {
		channel = adma_dma_channel_take(dma);
		taken = !IS_ERR(channel);
		if (taken)
			channels[count++] = channel;
	}
	mutex_unlock(&channels_mutex);
	return taken;
}

static void dma_take_all(void)
{
	while (count < min_t(u32, READ_ONCE(max_channels), CHANNELS_MAX)) {
		struct dma_watch unwatched = { };

		if (!dma_take(&unwatched) && (!unwatched.bus || !dma_watch_begin(&unwatched)))
			break;
	}
}

/*
 * A retired DMA channel is kept until the module is unloaded, so that nobody else takes it. One
 * that did not stop is told to stop again whenever the last file descriptor is closed, and when
 * the module is unloaded.
 */
static void dma_give_back_all(bool retired_too)
{
	u32 kept = 0, i;
	bool keep;

	mutex_lock(&channels_mutex);
	for (i = 0; i < count; i++) {
		keep = channels[i]->state == ADMA_CHANNEL_RETIRED && !retired_too;
		if (keep)
			adma_dma_channel_stop_again(channels[i]);
		else
			keep = adma_dma_channel_give_back(channels[i]);
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
		dma_take_all();
	mutex_unlock(&gets_mutex);
}

void adma_dma_put(void)
{
	mutex_lock(&gets_mutex);
	if (!--gets)
		dma_give_back_all(false);
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

/* ---- description ---- */

bool adma_dma_works(void)
{
	return adma_dma_channels_working();
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
		adma_dma_channel_describe(channels[index], out);
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

/* This waits only if a DMA channel became stuck while the module was being unloaded already. */
void adma_dma_exit(void)
{
	for (dma_give_back_all(true); count; dma_give_back_all(true))
		ssleep(1);
	while (watched--)
		bus_unregister_notifier(watches[watched].bus, &watches[watched].notifier);
}
