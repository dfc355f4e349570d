// SPDX-License-Identifier: GPL-2.0
/* main.c - the module, and its device. */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "debugfs.h"
#include "dma.h"
#include "fetch.h"
#include "file.h"
#include "leaving.h"
#include "pin_cache.h"
#include "pin_entry.h"
#include "request.h"
#include "transfer.h"

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "adma",
	.fops = &adma_file_operations,
	.mode = 0660,
};

static int __init adma_init(void)
{
	int error = adma_requests_init();

	if (error)
		return error;
	error = adma_pin_entries_init();
	if (error)
		goto no_entries;
	error = adma_pin_cache_init();
	if (error)
		goto no_cache;
	error = adma_leaving_init();
	if (error)
		goto no_leaving;
	error = adma_fetches_init();
	if (error)
		goto no_fetches;
	error = adma_transfers_init();
	if (error)
		goto no_transfers;
	error = adma_dma_init();
	if (error)
		goto no_dma;
	adma_debugfs_init();
	error = misc_register(&device);
	if (error)
		goto no_device;
	return 0;

no_device:
	adma_debugfs_exit();
	adma_dma_exit();
no_dma:
	adma_transfers_exit();
no_transfers:
	adma_fetches_exit();
no_fetches:
	adma_leaving_exit();
no_leaving:
	adma_pin_cache_exit();
no_cache:
	adma_pin_entries_exit();
no_entries:
	adma_requests_exit();
	return error;
}

/*
 * No file descriptor is open any more, otherwise the module would be in use. A transfer may
 * still be in its work: adma_transfers_exit() waits for it, and with that for the last references
 * to endpoints, requests and the DMA channels. No fetch is left, and no memory is to be left,
 * because each one holds the module, too.
 */
static void __exit adma_exit(void)
{
	misc_deregister(&device);
	adma_debugfs_exit();
	adma_transfers_exit();
	adma_dma_exit();
	adma_fetches_exit();
	adma_leaving_exit();
	adma_pin_cache_exit();
	adma_pin_entries_exit();
	adma_requests_exit();
}

module_init(adma_init);
module_exit(adma_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Messages between two processes by DMA or one kernel copy (experimental: has not run on hardware)");
