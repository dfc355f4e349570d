// SPDX-License-Identifier: GPL-2.0
/*
 * adma_alarm.c - commits harmless faults of each kind that the debug kernel has to report. If it
 * did not report these, it would not report those of adma.ko either. Never load this module on a
 * machine that is needed.
 *
 * The order matters, because the first report of most kinds switches lockdep off.
 */
#include <linux/compiler.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static struct platform_device *platform;

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);

static void alarm_lock_both(struct mutex *outer, struct mutex *inner)
{
	mutex_lock(outer);
	mutex_lock(inner);
	mutex_unlock(inner);
	mutex_unlock(outer);
}

static void alarm_lock_in_both_orders(void)
{
	alarm_lock_both(&first, &second);
	alarm_lock_both(&second, &first);
}

static void alarm_sleep_while_atomic(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&lock);
}

static int alarm_unmap_other_length(void)
{
	struct device *device = &platform->dev;
	void *memory = kmalloc(4096, GFP_KERNEL);
	dma_addr_t address;
	int error = 0;

	if (!memory)
		return -ENOMEM;
	address = dma_map_single(device, memory, 4096, DMA_TO_DEVICE);
	if (dma_mapping_error(device, address))
		error = -EIO;
	else
		dma_unmap_single(device, address, 2048, DMA_TO_DEVICE);
	kfree(memory);
	return error;
}

static int alarm_use_after_free(void)
{
	int *memory = kmalloc(sizeof(*memory), GFP_KERNEL);

	if (!memory)
		return -ENOMEM;
	kfree(memory);
	OPTIMIZER_HIDE_VAR(memory); /* the compiler would warn */
	WRITE_ONCE(*memory, 1);
	return 0;
}

static int alarm_leak(void)
{
	return kmalloc(512, GFP_KERNEL) ? 0 : -ENOMEM;
}

static int __init adma_alarm_init(void)
{
	const struct platform_device_info info = {
		.name = "adma_alarm",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int error;

	platform = platform_device_register_full(&info);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	alarm_lock_in_both_orders();
	alarm_sleep_while_atomic();
	error = alarm_unmap_other_length();
	if (!error)
		error = alarm_leak();
	if (!error)
		error = alarm_use_after_free();
	if (error)
		platform_device_unregister(platform);
	return error;
}

static void __exit adma_alarm_exit(void)
{
	platform_device_unregister(platform);
}

module_init(adma_alarm_init);
module_exit(adma_alarm_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Faults that a debug kernel has to report (for tests)");
