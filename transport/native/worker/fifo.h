/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line.h - a channel whose messages wait in the kernel helper's line.
 *
 * With `dma` or `mapped:helper` forced, a request is posted to the kernel as
 * soon as its turn comes, and the kernel alone matches, copies and judges a
 * cancel. Rings and slots stay empty; halves, socket and pidfd still tell of
 * close and death. All functions are called with the channel's lock.
 *
 * Messages and objects go through the line of their direction (key 0). The
 * parts of an object meet the reads that recv() posts for them by keys of
 * their own, whose first number comes with the object:
 *
 *   note[0]  bytes of the object with its parts
 *   note[1]  {number of its first part:32, parts:32}
 *
 * A post needs a completion entry. Reads and writes have half of them each, so
 * that neither can keep the other from going out; what finds none stays queued.
 */
#ifndef ADMA_WORKER_FIFO_H
#define ADMA_WORKER_FIFO_H

#include <stdbool.h>
#include <stdint.h>

#include "kdev/device.h"
#include "match/match.h"

#define ADMA_FIFO_POSTS (ADMA_DEVICE_ENTRIES / 2) /* of one direction */

struct adma_chan;

struct adma_fifo {
	const struct adma_device_entry *entries;
	uint32_t generation[ADMA_DEVICE_ENTRIES];
	uint16_t unused[2][ADMA_FIFO_POSTS]; /* entries of writes, of reads: rings */
	uint32_t unused_first[2], unused_count[2];
	bool timed;               /* the module keeps times of who asks for them */
	struct adma_queue posted; /* requests that the kernel has */
	uint32_t next_part;       /* number of our next object's first part */
	uint32_t part_out;        /* of the next part to be queued for writing */
	uint32_t part_in;         /* of the next part to be read */
	bool swept;               /* the channel is over, and what was unmatched is withdrawn */
};

/* chan->fifo for the descriptor in its config; 0 or a negated errno. */
int adma_fifo_open(struct adma_chan *chan);
/* At the end, in a forked child, too; what is left is memory to be freed. */
void adma_fifo_unmap(struct adma_fifo *fifo);

/* A request was queued: parts get their key. */
void adma_fifo_number(struct adma_chan *chan, struct adma_req *req);

/* An object that failed takes its parts along: nobody will read them. */
void adma_fifo_drop_parts(struct adma_chan *chan, const struct adma_req *object, int error);

/* Post a queued request, or fail it for good: 1. Not now: 0. */
int adma_fifo_post(struct adma_chan *chan, struct adma_req *req);

/* Take what has ended, post the reads whose turn has come. True when anything changed. */
bool adma_fifo_advance(struct adma_chan *chan);

/* True: nothing of it will happen, and it is on no list. */
bool adma_fifo_cancel(struct adma_chan *chan, struct adma_req *req);

/* A pending request's state and bytes, as of now. */
void adma_fifo_refresh(struct adma_chan *chan, struct adma_req *req);

/* The kernel's part of an ended request's times, if it still knows; it forgets when the entry is named anew. */
void adma_fifo_tell_times(struct adma_chan *chan, struct adma_req *req);

/* The first message in line: 1, and what it is; 0: there is none. */
int adma_fifo_head(struct adma_chan *chan, struct adma_message *message);

/* poll() events that end a sleep, of a listener for messages or for a read that asks first. */
short adma_fifo_events(const struct adma_chan *chan, bool listener);

/* What poll() found. Completions counted so far are taken note of: look at the entries after this. */
void adma_fifo_polled(struct adma_chan *chan, short events);

/* Nothing more is waited for: requests that the kernel still copies for end, `held`. Their bytes. */
uint64_t adma_fifo_abandon(struct adma_chan *chan);

#endif
