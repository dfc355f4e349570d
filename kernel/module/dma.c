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
#include <linux/string.h>

#include "dma.h"
#include "dma_channel.h"
#include "dma_driver.h"
#include "dma_selftest.h"
#include "job.h"

#define CHANNELS_MAX 64
#define BUSES_MAX    8
#define REFUSED_MAX  16
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

/* What the last first get did not take. They change there only. */
static struct adma_refused refused[REFUSED_MAX];
static u32 refusals;

static u32 gets;
static DEFINE_MUTEX(gets_mutex); /* for it, and the watches; taken before that lock */

static unsigned long dma_timeout(void)
{
	return msecs_to_jiffies(clamp(READ_ONCE(timeout_ms), 1U, (unsigned int)TIMEOUT_MAX));
}

/* ---- notice of drivers that are about to be unbound ---- */

struct dma_watch {
	typeof_member(struct device, bus) bus;
	struct notifier_block notifier;
};

static struct dma_watch watches[BUSES_MAX];
static u32 watched;

static bool dma_is_or_is_below(const struct device *device, const struct device *provider)
{
	while (device && device != provider)
		device = device->parent;
	return device;
}

/*
 * A device below the provider may have some of its DMA channels, as the queues of idxd have. The
 * framework does not tell which, so all of them are given up.
 */
static int dma_watch_notify(struct notifier_block *notifier, unsigned long event, void *device)
{
	u32 i;

	if (event != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;
	mutex_lock(&channels_mutex);
	for (i = 0; i < count; i++) {
		if (dma_is_or_is_below(device, channels[i]->provider))
			adma_dma_channel_lose(channels[i], dma_timeout());
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

static bool dma_refuse(const struct dma_chan *dma, u32 reason)
{
	const struct device *provider = dma->device->dev;
	struct adma_refused *entry = &refused[refusals];
	u32 i;

	strscpy(entry->name, dev_name(provider), sizeof(entry->name));
	strscpy(entry->driver, dev_driver_string(provider), sizeof(entry->driver));
	entry->reason = reason;
	for (i = 0; i < refusals; i++) {
		if (!strcmp(refused[i].name, entry->name) && refused[i].reason == reason)
			return false;
	}
	if (refusals < REFUSED_MAX - 1)
		refusals++;
	return false;
}

struct dma_search {
	struct dma_watch unwatched; /* out: a bus that has to be watched first */
	const struct adma_dma_driver *known; /* out: the driver of the DMA channel found */
};

/* Nonzero: the provider's DMA channels may not be taken now. */
static int dma_check_below(struct device *device, void *parameter)
{
	struct dma_search *search = parameter;

	if (device->links.status == DL_DEV_UNBINDING)
		return -ENODEV;
	if (device->bus && !dma_is_watched(device)) {
		search->unwatched.bus = device->bus;
		return -ENODEV;
	}
	return device_for_each_child(device, parameter, dma_check_below);
}

/*
 * The framework calls this with its mutex held. The buses are watched before a DMA channel is
 * taken, and we hold channels_mutex. So if the drivers are bound here, then we are notified before
 * one is unbound, and find its DMA channel among ours.
 */
static bool dma_may_take(struct dma_chan *dma, void *parameter)
{
	struct device *provider = dma->device->dev;
	struct dma_search *search = parameter;

	if (provider->links.status != DL_DEV_DRIVER_BOUND)
		return false;
	search->known = adma_dma_driver_find(provider);
	if (!search->known)
		return dma_refuse(dma, ADMA_REFUSED_SILENT);
	if ((size_t)1 << dma->device->copy_align > PAGE_SIZE)
		return dma_refuse(dma, ADMA_REFUSED_ALIGN);
	return !dma_check_below(provider, search);
}

/*
 * Takes one more DMA channel. NULL: @search may name a bus that is not watched yet, and that
 * may have another one.
 */
static struct adma_dma_channel *dma_take(struct dma_search *search)
{
	struct adma_dma_channel *channel = NULL;
	struct dma_chan *dma;
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	mutex_lock(&channels_mutex);
	dma = dma_request_channel(mask, dma_may_take, search);
	if (dma) {
		channel = adma_dma_channel_take(dma, search->known);
		if (IS_ERR(channel))
			channel = NULL;
		else
			channels[count++] = channel;
	}
	mutex_unlock(&channels_mutex);
	return channel;
}

/*
 * A DMA channel that fails is kept, so that the framework does not offer it again. No lock is held:
 * the DMA channel may be lost meanwhile.
 */
static void dma_test(struct adma_dma_channel *channel)
{
	int error = adma_dma_selftest(channel, dma_timeout());

	if (!error)
		adma_dma_channel_accept(channel);
	else if (error != -ENODEV)
		adma_dma_channel_condemn(channel);
}

static void dma_take_all(void)
{
	struct adma_dma_channel *channel;

	refusals = 0;
	while (count < min_t(u32, READ_ONCE(max_channels), CHANNELS_MAX)) {
		struct dma_search search = { };

		channel = dma_take(&search);
		if (channel)
			dma_test(channel);
		else if (!search.unwatched.bus || !dma_watch_begin(&search.unwatched))
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
	copy->submitted = 0;
	return adma_job_run(copy, channels, min(count, READ_ONCE(max_channels)), dma_timeout());
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

	*all = count;
	*retired = 0;
	for (i = 0; i < count; i++)
		*retired += READ_ONCE(channels[i]->state) == ADMA_CHANNEL_RETIRED;
}

int adma_dma_describe(u32 index, struct adma_channel *out)
{
	if (index >= count)
		return -ENOENT;
	adma_dma_channel_describe(channels[index], out);
	return 0;
}

int adma_dma_describe_refused(u32 index, struct adma_refused *out)
{
	if (index >= refusals)
		return -ENOENT;
	out->reason = refused[index].reason;
	memcpy(out->name, refused[index].name, sizeof(out->name));
	memcpy(out->driver, refused[index].driver, sizeof(out->driver));
	return 0;
}

void adma_dma_lock(void)
{
	mutex_lock(&channels_mutex);
}

void adma_dma_unlock(void)
{
	mutex_unlock(&channels_mutex);
}

/* ---- module ---- */

int adma_dma_init(void)
{
	return max_channels > CHANNELS_MAX ? -EINVAL : adma_jobs_init();
}

/* This waits only if a DMA channel became stuck while the module was being unloaded already. */
void adma_dma_exit(void)
{
	for (dma_give_back_all(true); count; dma_give_back_all(true))
		ssleep(1);
	while (watched--)
		bus_unregister_notifier(watches[watched].bus, &watches[watched].notifier);
	adma_jobs_exit();
}
