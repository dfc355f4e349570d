/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover.h - the progress thread of this process: it looks after watched channels.
 *
 * One for all channels, there from the first hand-over until the last channel
 * that was handed over is closed. It sleeps in one epoll of their sockets and
 * on a timer, by which other threads call it, and does not wake for anything else.
 * All signals but faults are blocked in it, and it calls nothing of Python.
 *
 * Two locks. `life` is held to start and stop it; the *book*, a leaf, guards
 * who is to be looked at, and when, and which sockets are polled. Order: a channel's lock, life,
 * the book. The mover takes a channel's lock with neither: what it is about
 * to look at is *pinned* in the book, and is not freed before that is over.
 *
 * A socket is polled once (EPOLLONESHOT) and then again when asked for, so
 * that one which a local caller has taken over in the meantime does not keep the mover awake.
 */
#ifndef ADMA_PROGRESS_THREAD_H
#define ADMA_PROGRESS_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct adma_chan;
struct adma_assist;

#define ADMA_NEVER INT64_MAX

/* What the mover keeps in each channel. */
struct adma_progress_entry {
	bool taken;        /* its descriptors are in the epoll; with the channel's lock, and life */
	bool lame;         /* not all of them are: the mover is of no use to it */
	/* In the book: */
	bool called;       /* it stands in the line of those to be looked at */
	bool pinned;       /* the mover is at it, or on its way */
	bool polled;       /* the next byte on its socket wakes the mover */
	short data_events; /* so do these, on TCP's socket or the helper's pair */
	int64_t due;       /* when to look */
	struct adma_chan *next;
};

/* ---- with the channel's lock ---- */

/* Take it on, starting the thread if there is none. False: it cannot be had. */
bool adma_progress_take(struct adma_chan *chan);

/* Somebody left it to the mover, and computes on this core from now on. */
void adma_progress_note_caller(void);

/* Look at it, at the latest at `due` (CLOCK_MONOTONIC). A system call if the mover would sleep past that. */
void adma_progress_call(struct adma_chan *chan, int64_t due);

/*
 * Wake once for its descriptors: socket, pidfd, and for these events of TCP's socket or the
 * helper's pair. And do not, for a thread of ours sleeps on them.
 */
void adma_progress_poll(struct adma_chan *chan, short data);
void adma_progress_unpoll(struct adma_chan *chan);

/* Its descriptors are about to be closed. */
void adma_progress_forget(struct adma_chan *chan);

/* ---- without it ---- */

/* It is closed: wait until the mover is not at it. The last one ends the thread. */
void adma_progress_release(struct adma_chan *chan);

/* Is this the mover? */
bool adma_progress_here(void);

/* 1 while there is one. */
int adma_progress_count(void);

/* Around a fork: the child has none, and its copies of channels are not taken (see channel.c). */
void adma_progress_before_fork(void);
void adma_progress_after_fork_parent(void);
void adma_progress_after_fork_child(void);

/* ---- errand.c: what the mover does for one channel ---- */

/*
 * Do what is to be done now. When to look again, if nobody calls before; ADMA_NEVER. No lock.
 * `by_time`: for its time has come, and not for an event.
 */
int64_t adma_visit(struct adma_chan *chan, bool by_time);

/* One chunk for it, by a queue of the engine (lending.h). No lock. */
bool adma_visit_assist(struct adma_assist *lending);

#endif
