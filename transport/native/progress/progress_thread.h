/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * progress_thread.h - the one thread of this process that makes progress on delegated workers.
 *
 * The progress thread exists from the first hand-over until the last worker that was handed over
 * is closed. If a page that nobody provides holds it up, another thread takes its place
 * (progress/crew.h). It sleeps on an epoll of the workers' descriptors and on a timer, by which other
 * threads call it. It blocks all signals but those that its own faults raise, and it calls nothing of
 * Python.
 *
 * Other code of the process may close the epoll or the timer by mistake. Then nobody can wake the
 * thread. So it wakes by itself once a second, looks whether its descriptors are still its own, and
 * opens them anew if not. In the same way it looks at those of the workers.
 *
 * The lock of the *registry*, a leaf, guards which workers are to be visited, and when, which sockets
 * are polled, and whether there is a thread. It may be taken while a worker's lock is held. The thread
 * takes a worker's lock while it does not hold its own. Instead, the registry counts the visits of each
 * worker, which is not freed before they are over.
 *
 * Nobody waits for the thread beyond a time that he gives. It ends by itself, when it sees that no
 * worker is left to it; and a worker that is freed during a visit is freed by the thread.
 *
 * A socket is polled once (EPOLLONESHOT), and then only when a thread asks for it again. So a
 * socket that a local caller has taken over in the meantime does not keep the thread awake.
 */
#ifndef ADMA_PROGRESS_PROGRESS_THREAD_H
#define ADMA_PROGRESS_PROGRESS_THREAD_H

#include "progress/progress.h"

/* ---- called with the worker's lock held ---- */

/* Take the worker on, and start the thread if there is none. Returns false if that is not possible. */
bool adma_progress_take(struct adma_progress *progress);

/* The calling thread hands a worker over, and computes on its core from now on. */
void adma_progress_note_caller(void);

/* Call the thread: visit the worker by `due` (CLOCK_MONOTONIC). A system call if it would sleep longer. */
void adma_progress_call(struct adma_progress *progress, int64_t due);

/*
 * Let the thread wake, once, for the worker's socket, its pidfd, and the events `data` of its data
 * descriptor. Unpoll: do not let it wake for them, because a thread of ours sleeps on them.
 */
void adma_progress_poll(struct adma_progress *progress, short data);
void adma_progress_unpoll(struct adma_progress *progress);

/* The worker's descriptors are about to be closed. */
void adma_progress_forget(struct adma_progress *progress);

/* ---- called without the worker's lock ---- */

/*
 * The worker is closed: wait until the thread does not visit it or, with the last worker, until the thread has
 * ended; but not beyond `end`.
 */
void adma_progress_release(struct adma_progress *progress, int64_t end);

/*
 * The worker was released, and is about to be freed. True: the thread still visits it, and will call `orphan`,
 * which frees it. False: the caller frees it.
 */
bool adma_progress_leave_to_thread(struct adma_progress *progress, void (*orphan)(struct adma_progress *progress));

/* 1 while the thread exists, else 0. */
int adma_progress_count(void);

/* Around a fork. The child has no progress thread, and its copies of workers are not taken (see api/channel.c). */
void adma_progress_before_fork(void);
void adma_progress_after_fork_parent(void);
void adma_progress_after_fork_child(void);

#endif
