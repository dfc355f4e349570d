/* SPDX-License-Identifier: GPL-2.0 */
/*
 * end.h - what a descriptor stands for: an open /dev/adma, or one side of a pair.
 *
 * References: the file holds one until its last descriptor is closed, each
 * request holds one from post to end. The DMA channels are held as long as any
 * end is there, so that a transfer that outlives its descriptors finds them.
 */
#ifndef ADMA_END_H
#define ADMA_END_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "counters.h"

struct adma_entries;
struct adma_connection;
struct seq_file;

struct adma_end {
	struct kref refs;
	struct adma_connection *connection;
	u32 side;                     /* which end of the pair */
	struct adma_entries *entries; /* connection's lock */
	u64 ended;                    /* connection's lock: requests, since the last read() */
	u32 pending;                  /* connection's lock: requests */
	wait_queue_head_t waiters;    /* poll and ADMA_IOC_WAIT */
	struct adma_tally tally;
	pid_t maker;                  /* for debugfs */
	struct list_head node;        /* all ends */
};

extern const struct file_operations adma_end_operations;

/* One reference, for a file. An ERR_PTR on failure. */
struct adma_end *adma_end_make(struct adma_connection *connection, u32 side);

/* The file is gone: withdraw what is pending, fail the peer's, put the file's reference. */
void adma_end_close(struct adma_end *end);

void adma_end_put(struct adma_end *end);

/* the connection's lock is held. NULL: closed, or none. */
struct adma_end *adma_end_peer(const struct adma_end *end);
bool adma_end_orphaned(const struct adma_end *end);

/* For debugfs: a line for each end. */
void adma_ends_show(struct seq_file *out);

#endif
