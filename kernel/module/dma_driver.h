/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dma_driver.h - what is known of the drivers of DMA engines.
 *
 * The framework does not make drivers report errors: where one passes no result to the
 * callback, the framework says that all went well. So only drivers are used that are known to
 * report what failed. It does not make terminating mean much either: some drivers
 * have no such operation, some free their descriptors while the engine goes on writing, and some
 * then call back as if they had copied. So terminating is used and believed only where the
 * driver is known to stop its engine.
 */
#ifndef ADMA_DMA_DRIVER_H
#define ADMA_DMA_DRIVER_H

#include <linux/types.h>

struct device;

struct adma_dma_driver {
	const char *name;
	u32 stops;        /* from this kernel on, terminating stops the engine; 0: it does not */
	bool prep_blocks; /* preparing sleeps until a descriptor is free */
	u32 depth;        /* descriptors of a DMA channel, if they are few; 0: many */
	size_t most;      /* bytes, if errors of longer descriptors are not seen; 0: any */
};

/*
 * The driver of a DMA engine. NULL: it is not known to report errors, and the
 * parameter `trust` does not name it.
 */
const struct adma_dma_driver *adma_dma_driver_find(const struct device *device);

/* Does terminating stop the engine, in this kernel? */
bool adma_dma_driver_stops(const struct adma_dma_driver *driver);

#endif
