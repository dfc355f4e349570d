/* SPDX-License-Identifier: GPL-2.0 */
/*
 * channel.h - one private DMA channel of the dmaengine framework, and the descriptors on it.
 *
 * A channel works until a descriptor times out (retired) or its driver is unbound
 * (lost). Then it is stopped, and never takes work again. What was on it is
 * handed back: as failed where the engine is known to have stopped, else as stuck.
 *
 * A stuck descriptor stays the channel's: its callback may come at any time, and
 * touches it. So it, its mappings and this module stay, until a later attempt
 * stops the engine, or for good. A callback that does come changes
 * nothing: the copy was given up.
 *
 * Unbinding a driver that has clients is not safe by itself: most drivers free their
 * channels then, whoever holds them. We are told before (adma_channel_lose()),
 * stop the engine, and give the channel back in time.
 *
 * Bounds. A channel holds at most ADMA_CHANNEL_DEPTH descriptors. Of large copies it
 * holds at most ADMA_CHANNEL_BULK descriptors, of ADMA_CHANNEL_BULK_BYTES together: that
 * is what a small copy can find ahead of it, other small copies aside.
 *
 * Locks: submitting sleeps; it is done under the channel's mutex. Its spinlock is taken
 * by callbacks, in any context, and is never held while a driver is called. The
 * order is mutex, spinlock, what ended() takes.
 */
#ifndef ADMA_CHANNEL_H
#define ADMA_CHANNEL_H

#include <linux/device.h>
#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <uapi/linux/adma.h>

#define ADMA_CHANNEL_DEPTH      24
#define ADMA_CHANNEL_BULK       16
#define ADMA_CHANNEL_BULK_BYTES (256 << 10)

struct adma_dma_channel;
struct dma_chan;
struct page;

enum adma_outcome {
	ADMA_COPIED,
	ADMA_FAILED, /* the engine is done with it; what it wrote is anybody's guess */
	ADMA_STUCK,  /* the engine may still write, and the callback still come */
	ADMA_FREED,  /* a stuck one that nobody will touch any more */
};

struct adma_descriptor {
	/* in */
	struct page *to;
	struct page *from;
	u32 to_offset; /* below PAGE_SIZE */
	u32 from_offset;
	size_t length;
	bool bulk; /* of a large copy */
	/* In any context. Not to free the descriptor, except ADMA_FREED, which may sleep. */
	void (*ended)(struct adma_descriptor *descriptor, enum adma_outcome outcome);
	/* the channel's, from adma_channel_submit() to ended() */
	struct adma_dma_channel *channel;
	struct list_head node; /* channel's lock */
	bool live;             /* channel's lock: submitted, and nobody has claimed its end yet */
	unsigned long submitted; /* jiffies */
	dma_addr_t to_dma;       /* mapping.h, with the two below */
	dma_addr_t from_dma;
	struct interval_tree_node target;
};

struct adma_dma_channel {
	struct mutex mutex;   /* submitting and stopping */
	struct dma_chan *dma; /* mutex. NULL: given back, or gone */
	u32 state;            /* mutex: ADMA_CHANNEL_* */
	bool stopped;         /* mutex: no callback will come any more */
	bool keeps_module;    /* mutex: one may */
	struct device *device;   /* that memory is mapped for */
	struct device *provider; /* whose driver runs it */
	size_t align;
	size_t most; /* bytes of a descriptor */
	char name[32];
	char driver[32];

	spinlock_t lock; /* all below */
	struct list_head descriptors;
	u32 count;       /* of them */
	u32 bulk;
	size_t bulk_bytes;
	unsigned long moved; /* jiffies: when one of them ended, or the first came */
	u64 bytes;
	u64 pieces;
	u64 errors;
	u64 timeouts;
};

/* The requested channel is its own from here on. An ERR_PTR on failure; then it was released. */
struct adma_dma_channel *adma_channel_take(struct dma_chan *dma);

/*
 * Give it back, and free it. Nothing is on its way, or it is stuck: then it is tried
 * again to stop it. -EBUSY: it does not stop; nothing happened.
 */
int adma_channel_give_back(struct adma_dma_channel *channel);

/*
 * Submit: ended() will be called. -ENODEV: it does not work any more; -EAGAIN: no
 * room; -EBUSY: no room in the driver, but something is on its way there, whose end is
 * worth waiting for; -EIO: the driver will not have it, or it cannot be mapped.
 */
int adma_channel_submit(struct adma_dma_channel *channel, struct adma_descriptor *descriptor);

/* When, in jiffies, the descriptor will have waited too long for the engine. */
unsigned long adma_channel_deadline(const struct adma_descriptor *descriptor,
				    unsigned long timeout);

/* It took too long: unless it has ended, stop and retire its channel. True: that was done. */
bool adma_channel_retire(struct adma_descriptor *descriptor);

/* Of a retired one that did not stop, perhaps it does now. */
void adma_channel_stop_again(struct adma_dma_channel *channel);

/* Its driver is about to be unbound. */
void adma_channel_lose(struct adma_dma_channel *channel);

/* Channels that work. */
u32 adma_channels_work(void);

/* For who found no room anywhere: has a descriptor ended, on any channel, since @seen? */
u32 adma_channels_seen(void);
void adma_channels_wait(u32 seen, long timeout);

void adma_channel_describe(struct adma_dma_channel *channel, struct adma_channel *out);

#endif
