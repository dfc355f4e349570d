/* SPDX-License-Identifier: GPL-2.0 */
/*
 * endpoint.h - what a file descriptor stands for: an open /dev/adma, or one side of a pair.
 *
 * References: the file holds one until its last file descriptor is closed, and each
 * request holds one from its post to its completion. Each endpoint holds the DMA channels, so
 * that a transfer that outlives its file descriptors can still use them.
 */
#ifndef ADMA_ENDPOINT_H
#define ADMA_ENDPOINT_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "counters.h"

struct adma_entries;
struct adma_connection;
struct seq_file;

struct adma_endpoint {
	struct kref refs;
	struct adma_connection *connection;
	u32 side;                     /* which of the connection's two */
	struct adma_entries *entries; /* connection's lock */
	u64 completed;                /* connection's lock: requests, since the last read() */
	u32 pending;                  /* connection's lock: requests */
	wait_queue_head_t waiters;    /* poll and ADMA_IOC_WAIT */
	struct adma_tally tally;
	pid_t maker;                  /* for debugfs */
	struct list_head node;        /* among all endpoints */
};

/* One reference, for a file. An ERR_PTR on failure. */
struct adma_endpoint *adma_endpoint_make(struct adma_connection *connection, u32 side);

void adma_endpoint_put(struct adma_endpoint *endpoint);

/* Called with the connection's lock. NULL: closed, or there is none. */
struct adma_endpoint *adma_endpoint_peer(const struct adma_endpoint *endpoint);
bool adma_endpoint_is_orphaned(const struct adma_endpoint *endpoint);

/* ADMA_IOC_PEEK. */
int adma_endpoint_peek(struct adma_endpoint *endpoint, struct adma_peek *peek);

/* For debugfs: writes a line for each endpoint. */
void adma_endpoints_show(struct seq_file *out);

#endif
