// SPDX-License-Identifier: GPL-2.0
/* dma_driver.c - what is known of the drivers of DMA engines; see dma_driver.h. */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/version.h>

#include "dma_driver.h"

#define TRUST_MAX 8

static char *trust[TRUST_MAX];
static unsigned int trusted;
module_param_array(trust, charp, &trusted, 0444);
MODULE_PARM_DESC(trust, "drivers to use that are not known to report errors (names of drivers or modules)");

/*
 * Each of these reports errors from Linux 6.1 on, as read in its source. docs/kernel.md tells
 * what else was found there, and which drivers were left out.
 */
static const struct adma_dma_driver drivers[] = {
	/* It cannot be terminated. */
	{ .name = "ioatdma" },
	/* A queue of the usual size has 16 descriptors. */
	{ .name = "idxd", .stops = KERNEL_VERSION(7, 0, 0), .prep_blocks = true, .depth = 16 },
	/* It cannot be terminated. */
	{ .name = "plx_dma" },
	/* Terminating calls back without a result. */
	{ .name = "hidma" },
	/* Only the first response record is looked at. Below 64 KiB there is one. */
	{ .name = "ti-udma", .most = SZ_32K },
	{ .name = "ti-bcdma", .most = SZ_32K },
	/* Terminating does not tell whether the engine stopped. */
	{ .name = "xilinx-vdma" },
	/* Terminating frees the descriptors, and the engine goes on. */
	{ .name = "fsl-qdma" },
	/* The software provider of our tests, in several characters. */
	{ .name = "adma_soft", .stops = KERNEL_VERSION(6, 1, 0) },
	{ .name = "adma_soft_endless" },
	{ .name = "adma_soft_blocking", .stops = KERNEL_VERSION(6, 1, 0), .prep_blocks = true },
};

/* Nothing is known of a driver that the administrator trusts. */
static const struct adma_dma_driver unknown = { .name = "unknown" };

static bool driver_is_trusted(const struct device_driver *driver)
{
	unsigned int i;

	for (i = 0; i < trusted; i++) {
		if (!strcmp(trust[i], driver->name) ||
		    (driver->owner && !strcmp(trust[i], module_name(driver->owner))))
			return true;
	}
	return false;
}

const struct adma_dma_driver *adma_dma_driver_find(const struct device *device)
{
	const struct device_driver *driver = device->driver;
	unsigned int i;

	if (!driver)
		return NULL;
	for (i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (!strcmp(drivers[i].name, driver->name))
			return &drivers[i];
	}
	return driver_is_trusted(driver) ? &unknown : NULL;
}

bool adma_dma_driver_stops(const struct adma_dma_driver *driver)
{
	return driver->stops && driver->stops <= LINUX_VERSION_CODE;
}
