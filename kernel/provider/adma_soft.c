// SPDX-License-Identifier: GPL-2.0
/*
 * adma_soft.c - a DMA engine without hardware, for tests only. On demand it does what a working
 * engine never does: be slow, fail, hang, refuse to stop, complete out of order, or run
 * out of descriptors. It also has the manners of some drivers in the kernel. Those that a client
 * has to know of are drivers of their own names, to one of which the device can be bound:
 *   adma_soft           reports what fails, and stops when it is terminated
 *   adma_soft_endless   goes on until it is done: it cannot be terminated, or pretends to be
 *   adma_soft_blocking  preparing sleeps until a descriptor is free
 *   adma_soft_silent    passes no result to the callback, whatever happened
 * With `queues` each DMA channel belongs to a device below, which can be unbound alone.
 *
 * Each DMA channel copies in a timer, in softirq context, the context in which a driver's tasklet
 * would report a completion. It translates DMA addresses back to addresses of the CPU.
 *
 * Parameters that are read when a driver is bound take effect at the next bind.
 * A device whose driver was unbound stays in memory until the module is removed, because clients
 * that still hold its DMA channels access it.
 */
#include <linux/atomic.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "../module/compat.h"
#include "dmaengine.h"

#define CHANNELS_MAX 64
#define GARBAGE      0xa5
#define HUNG_NS      (1 * NSEC_PER_MSEC) /* how often a hung DMA channel checks hang_every */

static unsigned int channels = 4;
module_param(channels, uint, 0644);
MODULE_PARM_DESC(channels, "DMA channels of the device, from the next bind on, 1 to 64");

static unsigned int copy_align = 1;
module_param(copy_align, uint, 0644);
MODULE_PARM_DESC(copy_align, "bytes, a power of two, from the next bind on");

static unsigned int descs = 32;
module_param(descs, uint, 0644);
MODULE_PARM_DESC(descs, "descriptors of a DMA channel, from its next request on");

static bool reorder;
module_param(reorder, bool, 0644);
MODULE_PARM_DESC(reorder, "complete the youngest descriptor first, from the next bind on");

static unsigned int delay_us;
module_param(delay_us, uint, 0644);
MODULE_PARM_DESC(delay_us, "delay before each copy");

static unsigned int fail_every;
module_param(fail_every, uint, 0644);
MODULE_PARM_DESC(fail_every, "n: each n-th copy leaves garbage and an error");

static unsigned int hang_every;
module_param(hang_every, uint, 0644);
MODULE_PARM_DESC(hang_every, "n: each n-th copy hangs until this is 0 again");

static bool terminate_fails;
module_param(terminate_fails, bool, 0644);
MODULE_PARM_DESC(terminate_fails, "terminating stops nothing");

static unsigned int submit_fails;
module_param(submit_fails, uint, 0644);
MODULE_PARM_DESC(submit_fails, "n: each n-th submission fails, and calls back nevertheless");

static bool terminate_lies;
module_param(terminate_lies, bool, 0644);
MODULE_PARM_DESC(terminate_lies, "terminating stops nothing, and says that it did; from the next bind on");

static unsigned int secret_align = 1;
module_param(secret_align, uint, 0644);
MODULE_PARM_DESC(secret_align, "bytes: addresses and lengths are rounded down to a multiple");

static bool queues;
module_param(queues, bool, 0644);
MODULE_PARM_DESC(queues, "each DMA channel belongs to a device of its own, from the next bind on");

struct soft_descriptor {
	struct dma_async_tx_descriptor tx;
	dma_addr_t to;
	dma_addr_t from;
	size_t length;
	bool hangs;
	bool fails;
	struct list_head node; /* free, submitted or issued; nowhere while prepared */
};

struct soft_channel {
	struct dma_chan dma;
	struct hrtimer timer;
	struct soft_descriptor *pool;

	wait_queue_head_t room; /* a descriptor is free, or the engine was terminated */
	struct device *queue;   /* that it belongs to, if it is one below */
	bool gone;              /* the queue's driver was unbound */

	spinlock_t lock; /* all below */
	struct list_head free;
	struct list_head submitted;
	struct list_head issued;
	bool running; /* the timer is started, and will be run */
};

struct soft_device {
	struct dma_device dma;
	struct list_head node; /* devices */
	unsigned int align;
	bool reorder;
	bool silent;
	bool blocking;
	unsigned int count;
	struct soft_channel channels[];
};

static atomic_t submissions = ATOMIC_INIT(0); /* to all DMA channels; selects each n-th copy */

static LIST_HEAD(devices);
static DEFINE_MUTEX(devices_mutex);

static struct soft_channel *soft_channel_of(struct dma_chan *dma)
{
	return container_of(dma, struct soft_channel, dma);
}

static struct soft_device *soft_device_of(struct soft_channel *channel)
{
	return container_of(channel->dma.device, struct soft_device, dma);
}

static struct soft_descriptor *soft_descriptor_of(struct dma_async_tx_descriptor *tx)
{
	return container_of(tx, struct soft_descriptor, tx);
}

/* ---- the engine ---- */

static bool soft_is_nth(unsigned int n, unsigned int every)
{
	return every && !(n % every);
}

/* The linear map has what a DMA address stands for, because no IOMMU translates our addresses. */
static void *soft_address(struct soft_channel *channel, dma_addr_t address)
{
	return phys_to_virt(dma_to_phys(channel->dma.device->dev, address));
}

static u64 soft_round(u64 any)
{
	return any & ~((u64)max(READ_ONCE(secret_align), 1U) - 1);
}

static void soft_copy(struct soft_channel *channel, const struct soft_descriptor *descriptor)
{
	void *to = soft_address(channel, soft_round(descriptor->to));
	size_t length = soft_round(descriptor->length);

	if (descriptor->fails)
		memset(to, GARBAGE, length);
	else
		memcpy(to, soft_address(channel, soft_round(descriptor->from)), length);
}

/*
 * Called with the lock. The descriptor to copy next. NULL: there is none, or it hangs. A hanging
 * one stops those behind it, unless the DMA channel completes out of order.
 */
static struct soft_descriptor *soft_choose(struct soft_channel *channel)
{
	struct soft_descriptor *descriptor;

	if (!soft_device_of(channel)->reorder) {
		descriptor = list_first_entry_or_null(&channel->issued, struct soft_descriptor,
						      node);
		return descriptor && descriptor->hangs && READ_ONCE(hang_every) ? NULL : descriptor;
	}
	list_for_each_entry_reverse(descriptor, &channel->issued, node) {
		if (!descriptor->hangs || !READ_ONCE(hang_every))
			return descriptor;
	}
	return NULL;
}

/* Called without the lock, because the callback may prepare and submit. */
static void soft_complete(struct soft_channel *channel, struct soft_descriptor *descriptor)
{
	const struct dmaengine_result result = {
		.result = descriptor->fails ? DMA_TRANS_WRITE_FAILED : DMA_TRANS_NOERROR,
	};
	struct dmaengine_desc_callback callback;
	unsigned long flags;

	soft_copy(channel, descriptor);
	dmaengine_desc_get_callback(&descriptor->tx, &callback);
	spin_lock_irqsave(&channel->lock, flags);
	dma_cookie_complete(&descriptor->tx);
	list_add_tail(&descriptor->node, &channel->free);
	spin_unlock_irqrestore(&channel->lock, flags);
	wake_up(&channel->room);
	dmaengine_desc_callback_invoke(&callback, soft_device_of(channel)->silent ? NULL : &result);
}

static u64 soft_delay_ns(void)
{
	return (u64)READ_ONCE(delay_us) * NSEC_PER_USEC;
}

static enum hrtimer_restart soft_run(struct hrtimer *timer)
{
	struct soft_channel *channel = container_of(timer, struct soft_channel, timer);
	struct soft_descriptor *descriptor;
	unsigned long flags;
	u64 delay_ns;
	bool more;

	spin_lock_irqsave(&channel->lock, flags);
	descriptor = soft_choose(channel);
	if (descriptor)
		list_del(&descriptor->node);
	spin_unlock_irqrestore(&channel->lock, flags);
	if (descriptor)
		soft_complete(channel, descriptor);

	spin_lock_irqsave(&channel->lock, flags);
	more = !list_empty(&channel->issued);
	channel->running = more;
	spin_unlock_irqrestore(&channel->lock, flags);
	if (!more)
		return HRTIMER_NORESTART;
	delay_ns = descriptor ? soft_delay_ns() : HUNG_NS;
	hrtimer_set_expires(timer, ktime_add_ns(ktime_get(), delay_ns));
	return HRTIMER_RESTART;
}

/* ---- operations of the framework ---- */

static int soft_alloc_resources(struct dma_chan *dma)
{
	struct soft_channel *channel = soft_channel_of(dma);
	unsigned int count = max(READ_ONCE(descs), 1U);
	unsigned int i;

	channel->pool = kcalloc(count, sizeof(*channel->pool), GFP_KERNEL);
	if (!channel->pool)
		return -ENOMEM;
	INIT_LIST_HEAD(&channel->free);
	INIT_LIST_HEAD(&channel->submitted);
	INIT_LIST_HEAD(&channel->issued);
	for (i = 0; i < count; i++)
		list_add_tail(&channel->pool[i].node, &channel->free);
	dma_cookie_init(dma);
	return count;
}

/* The framework has called soft_synchronize() before. */
static void soft_free_resources(struct dma_chan *dma)
{
	kfree(soft_channel_of(dma)->pool);
}

/* What idxd does when it cannot hand a descriptor to its queue. */
static dma_cookie_t soft_refuse(struct soft_channel *channel, struct soft_descriptor *descriptor)
{
	const struct dmaengine_result result = { .result = DMA_TRANS_ABORTED };
	struct dmaengine_desc_callback callback;
	unsigned long flags;

	dmaengine_desc_get_callback(&descriptor->tx, &callback);
	spin_lock_irqsave(&channel->lock, flags);
	list_add_tail(&descriptor->node, &channel->free);
	spin_unlock_irqrestore(&channel->lock, flags);
	wake_up(&channel->room);
	dmaengine_desc_callback_invoke(&callback, &result);
	return -EIO;
}

static dma_cookie_t soft_submit(struct dma_async_tx_descriptor *tx)
{
	struct soft_descriptor *descriptor = soft_descriptor_of(tx);
	struct soft_channel *channel = soft_channel_of(tx->chan);
	unsigned int n = (unsigned int)atomic_inc_return(&submissions);
	dma_cookie_t cookie;
	unsigned long flags;

	if (soft_is_nth(n, READ_ONCE(submit_fails)))
		return soft_refuse(channel, descriptor);
	descriptor->fails = soft_is_nth(n, READ_ONCE(fail_every));
	descriptor->hangs = soft_is_nth(n, READ_ONCE(hang_every));
	spin_lock_irqsave(&channel->lock, flags);
	cookie = dma_cookie_assign(tx);
	list_add_tail(&descriptor->node, &channel->submitted);
	spin_unlock_irqrestore(&channel->lock, flags);
	return cookie;
}

static bool soft_is_aligned(struct soft_channel *channel, u64 any)
{
	return !(any & (soft_device_of(channel)->align - 1));
}

static struct soft_descriptor *soft_take_free(struct soft_channel *channel)
{
	struct soft_descriptor *descriptor;
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	descriptor = list_first_entry_or_null(&channel->free, struct soft_descriptor, node);
	if (descriptor)
		list_del(&descriptor->node);
	spin_unlock_irqrestore(&channel->lock, flags);
	return descriptor;
}

/* A real one would use freed memory. */
static void soft_check(const struct soft_channel *channel)
{
	WARN_ONCE(READ_ONCE(channel->gone), "adma_soft: used after its queue was unbound\n");
}

static struct dma_async_tx_descriptor *soft_prepare(struct dma_chan *dma, dma_addr_t to,
						    dma_addr_t from, size_t length,
						    unsigned long flags)
{
	struct soft_channel *channel = soft_channel_of(dma);
	struct soft_descriptor *descriptor;

	soft_check(channel);
	if (WARN_ONCE(!soft_is_aligned(channel, to | from | length), "adma_soft: not aligned\n") ||
	    WARN_ONCE(length > dma_get_max_seg_size(dma->device->dev), "adma_soft: too long\n"))
		return NULL;
	if (soft_device_of(channel)->blocking)
		wait_event_idle(channel->room, (descriptor = soft_take_free(channel)));
	else
		descriptor = soft_take_free(channel);
	if (!descriptor)
		return NULL;
	memset(&descriptor->tx, 0, sizeof(descriptor->tx));
	dma_async_tx_descriptor_init(&descriptor->tx, dma);
	descriptor->tx.flags = flags;
	descriptor->tx.tx_submit = soft_submit;
	descriptor->to = to;
	descriptor->from = from;
	descriptor->length = length;
	return &descriptor->tx;
}

static void soft_issue_pending(struct dma_chan *dma)
{
	struct soft_channel *channel = soft_channel_of(dma);
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	list_splice_tail_init(&channel->submitted, &channel->issued);
	if (!channel->running && !list_empty(&channel->issued)) {
		channel->running = true;
		hrtimer_start(&channel->timer, ns_to_ktime(soft_delay_ns()), HRTIMER_MODE_REL_SOFT);
	}
	spin_unlock_irqrestore(&channel->lock, flags);
}

static enum dma_status soft_tx_status(struct dma_chan *dma, dma_cookie_t cookie,
				      struct dma_tx_state *state)
{
	enum dma_status status = dma_cookie_status(dma, cookie, state);

	return soft_device_of(soft_channel_of(dma))->reorder ? DMA_OUT_OF_ORDER : status;
}

/* A copy that is running is completed; soft_synchronize() waits for it. */
static int soft_terminate_all(struct dma_chan *dma)
{
	struct soft_channel *channel = soft_channel_of(dma);
	unsigned long flags;

	if (READ_ONCE(terminate_fails))
		return -EIO;
	if (READ_ONCE(terminate_lies))
		return 0;
	spin_lock_irqsave(&channel->lock, flags);
	list_splice_tail_init(&channel->submitted, &channel->free);
	list_splice_tail_init(&channel->issued, &channel->free);
	spin_unlock_irqrestore(&channel->lock, flags);
	wake_up_all(&channel->room);
	return 0;
}

static void soft_synchronize(struct dma_chan *dma)
{
	struct soft_channel *channel = soft_channel_of(dma);

	if (READ_ONCE(terminate_lies))
		return;
	hrtimer_cancel(&channel->timer);
	channel->running = false;
}

/* ---- the device ---- */

static void soft_keep_device(struct dma_device *dma)
{
}

static void soft_unregister(void *device)
{
	dma_async_device_unregister(device);
}

static void soft_fill_channels(struct soft_device *soft)
{
	unsigned int i;

	INIT_LIST_HEAD(&soft->dma.channels);
	for (i = 0; i < soft->count; i++) {
		struct soft_channel *channel = &soft->channels[i];

		spin_lock_init(&channel->lock);
		init_waitqueue_head(&channel->room);
		adma_hrtimer_setup(&channel->timer, soft_run, CLOCK_MONOTONIC,
				   HRTIMER_MODE_REL_SOFT);
		channel->dma.device = &soft->dma;
		if (!queues)
			list_add_tail(&channel->dma.device_node, &soft->dma.channels);
	}
}

static void soft_fill_operations(struct soft_device *soft, bool stops)
{
	struct dma_device *dma = &soft->dma;

	dma->device_alloc_chan_resources = soft_alloc_resources;
	dma->device_free_chan_resources = soft_free_resources;
	dma->device_prep_dma_memcpy = soft_prepare;
	dma->device_issue_pending = soft_issue_pending;
	dma->device_tx_status = soft_tx_status;
	if (stops)
		dma->device_terminate_all = soft_terminate_all;
	dma->device_synchronize = soft_synchronize;
	dma->device_release = soft_keep_device;
}

static void soft_fill_device(struct soft_device *soft, struct device *device)
{
	const char *name = device->driver->name;
	struct dma_device *dma = &soft->dma;

	soft->align = copy_align;
	soft->reorder = reorder;
	soft->silent = !strcmp(name, "adma_soft_silent");
	soft->blocking = !strcmp(name, "adma_soft_blocking");
	dma->dev = device;
	dma->copy_align = ilog2(soft->align);
	dma_cap_set(DMA_MEMCPY, dma->cap_mask);
	dma_cap_set(DMA_PRIVATE, dma->cap_mask);
	if (soft->reorder)
		dma_cap_set(DMA_COMPLETION_NO_ORDER, dma->cap_mask);
	dma->residue_granularity = DMA_RESIDUE_GRANULARITY_DESCRIPTOR;
	soft_fill_operations(soft, strcmp(name, "adma_soft_endless") || terminate_lies);
}

/* ---- queues: devices below, each with a DMA channel ---- */

static struct bus_type soft_bus = {
	.name = "adma_soft",
};

static int soft_queue_probe(struct device *queue)
{
	struct soft_channel *channel = dev_get_drvdata(queue);
	struct dma_device *dma = channel->dma.device;

	channel->gone = false;
	list_add_tail(&channel->dma.device_node, &dma->channels);
	return adma_dma_channel_register(dma, &channel->dma);
}

static int soft_queue_remove(struct device *queue)
{
	struct soft_channel *channel = dev_get_drvdata(queue);

	WRITE_ONCE(channel->gone, true);
	dma_async_device_channel_unregister(channel->dma.device, &channel->dma);
	list_del(&channel->dma.device_node);
	return 0;
}

static struct device_driver soft_queue_driver = {
	.name = "adma_soft_queue",
	.bus = &soft_bus,
	.probe = soft_queue_probe,
	.remove = soft_queue_remove,
};

static void soft_queue_free(struct device *queue)
{
	kfree(queue);
}

static int soft_queue_add(struct soft_channel *channel, struct device *device, unsigned int number)
{
	struct device *queue = kzalloc(sizeof(*queue), GFP_KERNEL);
	int error;

	if (!queue)
		return -ENOMEM;
	device_initialize(queue);
	queue->parent = device;
	queue->bus = &soft_bus;
	queue->release = soft_queue_free;
	dev_set_drvdata(queue, channel);
	error = dev_set_name(queue, "queue%u", number) ?: device_add(queue);
	if (error)
		put_device(queue);
	else
		channel->queue = queue;
	return error;
}

static void soft_queues_remove(void *parameter)
{
	struct soft_device *soft = parameter;
	unsigned int i;

	for (i = 0; i < soft->count; i++) {
		if (soft->channels[i].queue)
			device_unregister(soft->channels[i].queue);
	}
}

static int soft_queues_add(struct soft_device *soft, struct device *device)
{
	unsigned int i;
	int error = devm_add_action_or_reset(device, soft_queues_remove, soft);

	for (i = 0; i < soft->count && !error; i++)
		error = soft_queue_add(&soft->channels[i], device, i);
	return error;
}

static int soft_probe(struct platform_device *platform)
{
	unsigned int count = clamp(channels, 1U, (unsigned int)CHANNELS_MAX);
	struct soft_device *soft;
	int error;

	if (!is_power_of_2(copy_align) || copy_align > PAGE_SIZE)
		return -EINVAL;
	soft = kzalloc(struct_size(soft, channels, count), GFP_KERNEL);
	if (!soft)
		return -ENOMEM;
	soft->count = count;
	soft_fill_device(soft, &platform->dev);
	soft_fill_channels(soft);
	error = dma_async_device_register(&soft->dma);
	if (error) {
		kfree(soft);
		return error;
	}
	mutex_lock(&devices_mutex);
	list_add(&soft->node, &devices);
	mutex_unlock(&devices_mutex);
	error = devm_add_action_or_reset(&platform->dev, soft_unregister, &soft->dma);
	if (!error && queues)
		error = soft_queues_add(soft, &platform->dev);
	return error;
}

static struct platform_driver drivers[] = {
	{ .driver.name = "adma_soft", .probe = soft_probe },
	{ .driver.name = "adma_soft_endless", .probe = soft_probe },
	{ .driver.name = "adma_soft_blocking", .probe = soft_probe },
	{ .driver.name = "adma_soft_silent", .probe = soft_probe },
};

/* ---- the module ---- */

static struct platform_device *platform;

/* The device's name is that of the first driver; driver_override names another one. */
static int __init soft_device_add(void)
{
	const struct platform_device_info info = {
		.name = "adma_soft",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};

	platform = platform_device_register_full(&info);
	return PTR_ERR_OR_ZERO(platform);
}

static void soft_drivers_unregister(unsigned int count)
{
	while (count--)
		platform_driver_unregister(&drivers[count]);
}

static int __init soft_drivers_register(void)
{
	unsigned int i;
	int error;

	for (i = 0; i < ARRAY_SIZE(drivers); i++) {
		error = platform_driver_register(&drivers[i]);
		if (error) {
			soft_drivers_unregister(i);
			return error;
		}
	}
	return 0;
}

static int __init adma_soft_init(void)
{
	int error = bus_register(&soft_bus);

	if (error)
		return error;
	error = driver_register(&soft_queue_driver);
	if (error)
		goto no_queue_driver;
	error = soft_drivers_register();
	if (error)
		goto no_drivers;
	error = soft_device_add();
	if (error)
		goto no_device;
	return 0;

no_device:
	soft_drivers_unregister(ARRAY_SIZE(drivers));
no_drivers:
	driver_unregister(&soft_queue_driver);
no_queue_driver:
	bus_unregister(&soft_bus);
	return error;
}

/* A client that holds a DMA channel holds this module. */
static void __exit adma_soft_exit(void)
{
	struct soft_device *soft, *next;

	platform_device_unregister(platform);
	soft_drivers_unregister(ARRAY_SIZE(drivers));
	driver_unregister(&soft_queue_driver);
	bus_unregister(&soft_bus);
	list_for_each_entry_safe(soft, next, &devices, node)
		kfree(soft);
}

module_init(adma_soft_init);
module_exit(adma_soft_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A DMA engine in software, which fails on demand (for tests)");
