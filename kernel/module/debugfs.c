// SPDX-License-Identifier: GPL-2.0
/* debugfs.c - shows what the module has and has done; see debugfs.h. */
#include <linux/debugfs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "buffer.h"
#include "counters.h"
#include "debugfs.h"
#include "dma.h"
#include "endpoint.h"
#include "pin_cache.h"

static struct dentry *directory;

static const char *const count_names[ADMA_COUNTS] = {
	[ADMA_COUNT_POSTS] = "posts",
	[ADMA_COUNT_MATCHES] = "matches",
	[ADMA_COUNT_DONE] = "done",
	[ADMA_COUNT_FAILED] = "failed",
	[ADMA_COUNT_BYTES_DMA] = "bytes_dma",
	[ADMA_COUNT_BYTES_CPU] = "bytes_cpu",
	[ADMA_COUNT_BYTES_EDGE] = "bytes_edge",
	[ADMA_COUNT_BYTES_RESCUED] = "bytes_rescued",
	[ADMA_COUNT_PIECES] = "pieces",
	[ADMA_COUNT_PIN_HITS] = "pin_hits",
	[ADMA_COUNT_PIN_MISSES] = "pin_misses",
	[ADMA_COUNT_PAGES_PINNED] = "pages_pinned",
	[ADMA_COUNT_PAGES_UNPINNED] = "pages_unpinned",
	[ADMA_COUNT_PAGES_STUCK] = "pages_stuck",
	[ADMA_COUNT_INVALIDATIONS] = "invalidations",
	[ADMA_COUNT_TIMEOUTS] = "timeouts",
	[ADMA_COUNT_TIMES + ADMA_TIME_POST] = "post_ns",
	[ADMA_COUNT_TIMES + ADMA_TIME_PIN] = "pin_ns",
	[ADMA_COUNT_TIMES + ADMA_TIME_START] = "start_ns",
	[ADMA_COUNT_TIMES + ADMA_TIME_COPY] = "copy_ns",
	[ADMA_COUNT_TIMES + ADMA_TIME_COMPLETE] = "complete_ns",
};

static int summary_show(struct seq_file *out, void *unused)
{
	unsigned int i;

	for (i = 0; i < ADMA_COUNTS; i++)
		seq_printf(out, "%-15s %lld\n", count_names[i],
			   atomic64_read(&adma_total.count[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(summary);

static int channels_show(struct seq_file *out, void *unused)
{
	static const char *const states[] = { "works", "retired", "lost", "faulty" };
	struct adma_channel channel = { };
	u32 channels, retired;

	adma_dma_lock();
	adma_dma_count(&channels, &retired);
	seq_printf(out, "%u DMA channels, %u retired\n", channels, retired);
	for (channel.index = 0; !adma_dma_describe(channel.index, &channel); channel.index++)
		seq_printf(out,
			   "%s %s %s align %u bytes %llu pieces %llu errors %llu timeouts %llu\n",
			   channel.name, channel.driver, states[channel.state], channel.align,
			   channel.bytes, channel.pieces, channel.errors, channel.timeouts);
	adma_dma_unlock();
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(channels);

static int pins_show(struct seq_file *out, void *unused)
{
	seq_printf(out, "cached %llu of %llu bytes, window %llu\n", adma_pin_cache_bytes(),
		   adma_pin_cache_limit(), adma_buffer_window());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(pins);

static int ends_show(struct seq_file *out, void *unused)
{
	adma_endpoints_show(out);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ends);

void adma_debugfs_init(void)
{
	directory = debugfs_create_dir("adma", NULL);
	debugfs_create_file("summary", 0400, directory, NULL, &summary_fops);
	debugfs_create_file("channels", 0400, directory, NULL, &channels_fops);
	debugfs_create_file("pins", 0400, directory, NULL, &pins_fops);
	/* "ends" are endpoints. The name is kept for scripts that read the file. */
	debugfs_create_file("ends", 0400, directory, NULL, &ends_fops);
}

void adma_debugfs_exit(void)
{
	debugfs_remove(directory);
}
