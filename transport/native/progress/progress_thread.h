/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress_thread.h - the one thread of this process that makes progress on delegated channels.
 *
 * It exists from the first hand-over until the last channel that was handed over is closed. It
 * sleeps in one epoll of the channels' descriptors and on a timer, by which other threads call
 * it, and wakes for nothing else. All signals but those of faults are blocked in it, and it calls
 * nothing of Python.
 *
 * Two locks. `life` is held to start and to stop it. The lock of the *registry*, a leaf, guards
 * which channels are to be visited, and when, and which sockets are polled. The order is: a
 * channel's lock, life, the registry. The thread takes a channel's lock while it holds neither:
 * what it is about to visit is marked `in_use` in the registry, and is not freed before that is over.
 *
 * A socket is polled once (EPOLLONESHOT), and then again when that is asked for. So a socket that
 * a local caller has taken over in the meantime does not keep the thread awake.
 */
#ifndef ADMA_PROGRESS_PROGRESS_THREAD_H
#define ADMA_PROGRESS_PROGRESS_THREAD_H

#include "progress/channel.h"

/* ---- with the channel's lock ---- */

/* Take the channel on, and start the thread if there is none. False: that is not possible. */
bool adma_progress_take(struct adma_chan *chan);

/* The caller leaves a channel to the progress thread, and computes on this core from now on. */
void adma_progress_note_caller(void);

/* Visit it at `due` (CLOCK_MONOTONIC) at the latest. A system call if the thread would sleep past that. */
void adma_progress_call(struct adma_chan *chan, int64_t due);

/*
 * Wake once for its descriptors: the socket, the pidfd, and these events of the data descriptor.
 * And do not wake for them, since a thread of ours sleeps on them.
 */
void adma_progress_poll(struct adma_chan *chan, short data);
void adma_progress_unpoll(struct adma_chan *chan);

/* Its descriptors are about to be closed. */
void adma_progress_forget(struct adma_chan *chan);

/* ---- without it ---- */

/* The channel is closed: wait until the thread is not at it. The last channel's release ends the thread. */
void adma_progress_release(struct adma_chan *chan);

/* 1 while the thread exists. */
int adma_progress_count(void);

/* Around a fork: the child has no such thread, and its copies of channels are not taken (see api/channel.c). */
void adma_progress_before_fork(void);
void adma_progress_after_fork_parent(void);
void adma_progress_after_fork_child(void);

#endif
