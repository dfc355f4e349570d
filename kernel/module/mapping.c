// SPDX-License-Identifier: GPL-2.0
/* mapping.c - a descriptor's DMA mappings; see mapping.h. */
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/interval_tree.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/spinlock.h>

#include "channel.h"
#include "mapping.h"

/* Physical addresses that engines may be writing to. */
static struct rb_root_cached targets = RB_ROOT_CACHED;
static DEFINE_SPINLOCK(targets_lock); /* innermost */

static bool claim(struct adma_descriptor *descriptor)
{
	struct interval_tree_node *target = &descriptor->target;
	unsigned long flags;
	bool mine;

	target->start = page_to_phys(descriptor->to) + descriptor->to_offset;
	target->last = target->start + descriptor->length - 1;
	spin_lock_irqsave(&targets_lock, flags);
	mine = !interval_tree_iter_first(&targets, target->start, target->last);
	if (mine)
		interval_tree_insert(target, &targets);
	spin_unlock_irqrestore(&targets_lock, flags);
	return mine;
}

static void disclaim(struct adma_descriptor *descriptor)
{
	unsigned long flags;

	spin_lock_irqsave(&targets_lock, flags);
	interval_tree_remove(&descriptor->target, &targets);
	spin_unlock_irqrestore(&targets_lock, flags);
}

/* Bounce buffers may run out: then the CPU copies, and there is nothing to log. */
static int map(struct adma_descriptor *descriptor)
{
	struct device *device = descriptor->channel->device;
	size_t n = descriptor->length;

	descriptor->from_dma = dma_map_page_attrs(device, descriptor->from,
						  descriptor->from_offset, n, DMA_TO_DEVICE,
						  DMA_ATTR_NO_WARN);
	if (dma_mapping_error(device, descriptor->from_dma))
		return -EIO;
	descriptor->to_dma = dma_map_page_attrs(device, descriptor->to, descriptor->to_offset, n,
						DMA_FROM_DEVICE, DMA_ATTR_NO_WARN);
	if (!dma_mapping_error(device, descriptor->to_dma))
		return 0;
	dma_unmap_page(device, descriptor->from_dma, n, DMA_TO_DEVICE);
	return -EIO;
}

int adma_map(struct adma_descriptor *descriptor)
{
	int error;

	if (!claim(descriptor))
		return -EIO;
	error = map(descriptor);
	if (error)
		disclaim(descriptor);
	return error;
}

void adma_unmap(struct adma_descriptor *descriptor)
{
	struct device *device = descriptor->channel->device;

	dma_unmap_page(device, descriptor->to_dma, descriptor->length, DMA_FROM_DEVICE);
	dma_unmap_page(device, descriptor->from_dma, descriptor->length, DMA_TO_DEVICE);
	disclaim(descriptor);
}
