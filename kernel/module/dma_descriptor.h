/* SPDX-License-Identifier: GPL-2.0 */
/* dma_descriptor.h - one piece of a copy that a DMA channel is asked to make. */
#ifndef ADMA_DMA_DESCRIPTOR_H
#define ADMA_DMA_DESCRIPTOR_H

#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/types.h>

struct adma_dma_channel;
struct page;

enum adma_outcome {
	ADMA_COPIED,
	ADMA_FAILED, /* the engine is done with it; its destination's contents are undefined */
	ADMA_STUCK,  /* the engine may still write, and the driver's callback may still come */
	ADMA_FREED,  /* it was stuck, and nobody will touch it any more */
};

struct adma_dma_descriptor {
	/* Filled in by the submitter. */
	struct page *to;
	struct page *from;
	u32 to_offset; /* below PAGE_SIZE */
	u32 from_offset;
	size_t length;
	bool bulk; /* of a large copy */
	/* Called in any context. It must not free the descriptor, except for ADMA_FREED. */
	void (*complete)(struct adma_dma_descriptor *descriptor, enum adma_outcome outcome);
	/* The DMA channel's, from adma_dma_channel_submit() to complete(). */
	struct adma_dma_channel *channel;
	struct list_head node;    /* DMA channel's lock: in descriptors */
	struct list_head waiting; /* DMA channel's lock: in waiting, or nowhere */
	bool live; /* DMA channel's lock: submitted, and not completed by anybody yet */
	bool *ended; /* DMA channel's lock: while it is being submitted, set by its callback */
	unsigned long submitted; /* jiffies */
	/* Of dma_mapping.h. */
	dma_addr_t to_dma;
	dma_addr_t from_dma;
	struct interval_tree_node target;
};

#endif
