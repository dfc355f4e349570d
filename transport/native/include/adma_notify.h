/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_notify.h - a descriptor that tells of completed requests: for event loops.
 *
 * An event loop sleeps in a poll of its own. For requests that somebody awaits it opens a notification, whose descriptor
 * becomes readable when one of them completes, whichever thread completes it, and whether or not another thread
 * looks at the request before the loop does. Requests of channels and workers and copies may be told of by one descriptor.
 *
 * It tells of what is complete, and makes no progress. A loop that awaits messages also polls the descriptor of each
 * channel or worker (adma_completions_fileno(), adma_worker_fileno()) for edges (EPOLLET). At an edge it makes progress
 * (adma_check(), adma_worker_progress()) until there is none left to make, and then waits for the next one.
 */
#ifndef ADMA_NOTIFY_H
#define ADMA_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "adma_copy.h"
#include "adma_worker.h"

/* Any thread may use it, one at a time. It stays where it is while it is open. */
struct adma_notification {
	int32_t fd; /* -1: it is not open, or a fork closed it */
	uint32_t came; /* private: so many requests completed since it was last armed */
	uint8_t armed;
	uint8_t told; /* private: the descriptor was written to since it was last emptied */
	struct adma_list link;
	uint64_t device, inode; /* private: what fd named at first */
	int64_t used_at;
};

/* 0 or a negated errno. */
int adma_notification_open(struct adma_notification *notification);

/*
 * Empty the descriptor, and write to it at the next completion. Returns how many completions were told of since this was
 * last called. Whoever looks at the requests after that sees all of these.
 */
uint32_t adma_notification_arm(struct adma_notification *notification);

/* Do not write to the descriptor before it is armed again: its owner is awake, and looks before it sleeps. */
void adma_notification_disarm(struct adma_notification *notification);

/* Closing twice is no error. */
void adma_notification_close(struct adma_notification *notification);

/* From now on the completion of a pending request is told to all notifications. 0; 1: it is complete already. */
int adma_notify(struct adma_chan *chan, struct adma_req *req);
int adma_worker_notify(struct adma_worker *worker, struct adma_req *req);
int adma_copy_notify(struct adma_copy *copy);

/* Tell all notifications that something is complete: a request of the binding that takes several of the core. */
void adma_notify_completion(void);

#endif
