/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dma_channel.h - one private DMA channel of the dmaengine framework, and its descriptors.
 *
 * A DMA channel works until a descriptor times out (retired), its driver is unbound
 * (lost), or it fails its self-test (faulty). Then it never takes work again. To stop it, what
 * is in flight first gets some time to end (ADMA_DMA_CHANNEL_DRAIN). Then it is terminated, if
 * its driver is known to stop the engine (dma_driver.h). Each descriptor that was submitted to it
 * is completed: as failed if the engine is known to have stopped, else as stuck.
 *
 * A stuck descriptor stays in the DMA channel's list: the driver's callback may come at any
 * time, and touches it. So the descriptor, its mappings and this module stay until the callback
 * has come, until a later attempt stops the engine, or for good. The callback proves that the
 * engine is done with the descriptor. It changes no result any more, because the copy has been
 * given up.
 *
 * To unbind a driver that has clients is not safe by itself: most drivers then free their
 * DMA channels, whoever holds them. The module is notified before (adma_dma_channel_lose()),
 * stops the engine, and releases the DMA channel in time.
 *
 * Some drivers sleep in preparing until a descriptor is free, which may take for ever when the
 * engine hangs. For them a work of the DMA channel prepares and submits, so that whoever
 * asks for a copy can still give up.
 *
 * Bounds. A DMA channel has at most `depth` descriptors. Of large copies it
 * has at most ADMA_DMA_CHANNEL_BULK descriptors, of ADMA_DMA_CHANNEL_BULK_BYTES together: a
 * small copy never waits for more than that, other small copies aside.
 *
 * Locks. The mutex is held while a DMA channel is stopped, and for no longer than that takes
 * at most. Preparing and submitting may sleep, and no lock is held meanwhile: those who do so are
 * counted, and stopping waits for them. Callbacks take the spinlock, in any context; it is
 * never held while a driver is called. The order is mutex, spinlock, and then the locks that
 * complete() takes.
 */
#ifndef ADMA_DMA_CHANNEL_H
#define ADMA_DMA_CHANNEL_H

#include <linux/device.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include <uapi/linux/adma.h>

#define ADMA_DMA_CHANNEL_DEPTH      24 /* if the driver has no less */
#define ADMA_DMA_CHANNEL_DRAIN      HZ /* jiffies, at most; and no more than the timeout */
#define ADMA_DMA_CHANNEL_BULK       16
#define ADMA_DMA_CHANNEL_BULK_BYTES (256 << 10)

struct adma_dma_descriptor;
struct adma_dma_driver;
struct dma_chan;

struct adma_dma_channel {
	struct mutex mutex;   /* stopping */
	struct dma_chan *dma; /* mutex, and lock. NULL: released, or gone with its driver */
	u32 state;            /* mutex, and lock: ADMA_CHANNEL_* */
	bool stopped;         /* mutex: no callback will come any more */
	bool keeps_module;    /* mutex: a callback may come, so it holds the module */
	struct device *device;   /* that memory is mapped for */
	struct device *provider; /* whose driver runs it */
	const struct adma_dma_driver *known;
	u32 depth;
	size_t align;
	size_t most; /* bytes of a descriptor */
	char name[32];
	char driver[32];

	struct workqueue_struct *submitter; /* NULL: its driver's preparing does not block */
	struct work_struct submitting;

	spinlock_t lock; /* all below */
	u32 inside;      /* threads in the driver that prepare and submit */
	struct list_head waiting; /* for the submitter; these are descriptors, too */
	struct list_head descriptors;
	u32 count;       /* of them */
	u32 bulk;
	size_t bulk_bytes;
	unsigned long moved; /* jiffies: when one was completed, or the first was submitted */
	u64 bytes;
	u64 pieces;
	u64 errors;
	u64 timeouts;
};

/*
 * Takes over @dma, which the framework gave us, of a @known driver. An ERR_PTR on failure;
 * then @dma is released.
 */
struct adma_dma_channel *adma_dma_channel_take(struct dma_chan *dma,
					       const struct adma_dma_driver *known);

/* It passed its self-test, whose copies are not counted. */
void adma_dma_channel_accept(struct adma_dma_channel *channel);

/* It failed its self-test: it is kept, and never used. */
void adma_dma_channel_condemn(struct adma_dma_channel *channel);

/*
 * Release the DMA channel, and free it. Its descriptors are all completed, or stuck: then this
 * tries again to stop it. -EBUSY: it does not stop, and nothing has changed.
 */
int adma_dma_channel_give_back(struct adma_dma_channel *channel);

/*
 * Submit. On 0, complete() will be called. -ENODEV: the DMA channel does not work any more.
 * -EAGAIN: it is full. -EBUSY: the driver has no room, but descriptors are in flight there,
 * and it is worthwhile to wait until one is completed. -EIO: the driver refuses this
 * descriptor, or it cannot be mapped.
 */
int adma_dma_channel_submit(struct adma_dma_channel *channel,
			    struct adma_dma_descriptor *descriptor);

/* When, in jiffies, the descriptor will have waited too long for the engine. */
unsigned long adma_dma_channel_deadline(const struct adma_dma_descriptor *descriptor,
					unsigned long timeout);

/*
 * The descriptor is overdue, after @timeout: stop and retire its DMA channel, unless the
 * descriptor is completed by now. Returns true if the DMA channel was retired.
 */
bool adma_dma_channel_retire(struct adma_dma_descriptor *descriptor, unsigned long timeout);

/* Try once more to stop a retired DMA channel that did not stop. */
void adma_dma_channel_stop_again(struct adma_dma_channel *channel);

/* Its driver, or that of a device below, is about to be unbound. */
void adma_dma_channel_lose(struct adma_dma_channel *channel, unsigned long timeout);

/* How many DMA channels work. */
u32 adma_dma_channels_working(void);

/*
 * For a submitter that found no room anywhere: read the count of completed descriptors of
 * all DMA channels before looking for room, and wait until it is no longer @seen.
 */
u32 adma_dma_channels_completed(void);
void adma_dma_channels_wait(u32 seen, long timeout);

void adma_dma_channel_describe(struct adma_dma_channel *channel, struct adma_channel *out);

#endif
