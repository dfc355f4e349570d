// SPDX-License-Identifier: GPL-2.0
/* dma_mapping.c - the DMA mappings of one descriptor; see dma_mapping.h. */
#include <linux/dma-mapping.h>
#include <linux/errno.h>
#include <linux/interval_tree.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/spinlock.h>

#include "dma_descriptor.h"
#include "dma_mapping.h"

/* Physical addresses that engines may be writing to. */
static struct rb_root_cached targets = RB_ROOT_CACHED;
static DEFINE_SPINLOCK(targets_lock); /* an innermost lock */

/* Reserves the destination. False: an engine may be writing to some of it. */
static bool dma_target_claim(struct adma_dma_descriptor *descriptor)
{
	struct interval_tree_node *target = &descriptor->target;
	unsigned long flags;
	bool claimed;

	target->start = page_to_phys(descriptor->to) + descriptor->to_offset;
	target->last = target->start + descriptor->length - 1;
	spin_lock_irqsave(&targets_lock, flags);
	claimed = !interval_tree_iter_first(&targets, target->start, target->last);
	if (claimed)
		interval_tree_insert(target, &targets);
	spin_unlock_irqrestore(&targets_lock, flags);
	return claimed;
}

static void dma_target_release(struct adma_dma_descriptor *descriptor)
{
	unsigned long flags;

	spin_lock_irqsave(&targets_lock, flags);
	interval_tree_remove(&descriptor->target, &targets);
	spin_unlock_irqrestore(&targets_lock, flags);
}

/* Bounce buffers may run out. Then the CPU copies, so there is nothing to warn of. */
static int dma_map_both(struct device *device, struct adma_dma_descriptor *descriptor)
{
	size_t n = descriptor->length;

	descriptor->from_dma = dma_map_page_attrs(device, descriptor->from, descriptor->from_offset,
						  n, DMA_TO_DEVICE, DMA_ATTR_NO_WARN);
	if (dma_mapping_error(device, descriptor->from_dma))
		return -EIO;
	descriptor->to_dma = dma_map_page_attrs(device, descriptor->to, descriptor->to_offset, n,
						DMA_FROM_DEVICE, DMA_ATTR_NO_WARN);
	if (!dma_mapping_error(device, descriptor->to_dma))
		return 0;
	dma_unmap_page(device, descriptor->from_dma, n, DMA_TO_DEVICE);
	return -EIO;
}

int adma_dma_map(struct device *device, struct adma_dma_descriptor *descriptor)
{
	int error;

	if (!dma_target_claim(descriptor))
		return -EIO;
	error = dma_map_both(device, descriptor);
	if (error)
		dma_target_release(descriptor);
	return error;
}

void adma_dma_unmap(struct device *device, struct adma_dma_descriptor *descriptor)
{
	dma_unmap_page(device, descriptor->to_dma, descriptor->length, DMA_FROM_DEVICE);
	dma_unmap_page(device, descriptor->from_dma, descriptor->length, DMA_TO_DEVICE);
	dma_target_release(descriptor);
}
