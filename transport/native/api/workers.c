/* SPDX-License-Identifier: BSD-3-Clause */
/* workers.c - the list of all workers; what is opened for one, and what is closed; see workers.h. */
#include "api/workers.h"

#include <errno.h>
#include <sys/epoll.h>

#include "adma_handshake.h"
#include "api/visit.h"
#include "base/closer.h"
#include "mech/table.h"
#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"
#include "progress/waiters.h"
#include "shm/summary.h"

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct adma_list all = ADMA_LIST_INIT(all);

static void workers_forget_threads(struct adma_progress *progress)
{
	progress->entry = (struct adma_progress_entry){.visit = adma_visit};
	adma_list_init(&progress->entry.link);
	adma_list_init(&progress->entry.member);
	progress->assist = (struct adma_assist){.part = adma_visit_assist};
	adma_watch_init(&progress->watch);
}

int adma_workers_make(struct adma_progress *progress, bool shared)
{
	int rc = adma_waiters_init(&progress->waiters);

	if (rc)
		return rc;
	if (shared) {
		progress->waiters.epoll = epoll_create1(EPOLL_CLOEXEC);
		if (progress->waiters.epoll < 0) {
			rc = -errno;
			adma_own_close(&progress->waiters.eventfd, &progress->waiters.own_eventfd);
			return rc;
		}
		progress->waiters.own_epoll = adma_own_note(progress->waiters.epoll);
	}
	adma_worker_init(&progress->worker);
	progress->poll.epoll = progress->completions.epoll = -1;
	progress->ownership.grace_ns = ADMA_GRACE_NS;
	workers_forget_threads(progress);
	return 0;
}

void adma_workers_enlist(struct adma_progress *progress)
{
	pthread_mutex_lock(&all_lock);
	adma_list_push_front(&all, &progress->all);
	pthread_mutex_unlock(&all_lock);
}

void adma_workers_delist(struct adma_progress *progress)
{
	pthread_mutex_lock(&all_lock);
	adma_list_remove(&progress->all);
	pthread_mutex_unlock(&all_lock);
	if (!atomic_load(&progress->worker.forked)) /* in a child it may be held for ever, by a thread of the parent */
		pthread_mutex_destroy(&progress->worker.lock);
}

static void workers_unmap_segment(struct adma_segment **at)
{
	struct adma_segment *segment = *at;

	*at = NULL;
	adma_segment_unmap(segment);
}

/* What we write to ourselves is what we read: then there is one segment, and one map of it. */
static void workers_unmap_segments(struct adma_config *config)
{
	if (config->remote == config->local)
		config->remote = NULL;
	workers_unmap_segment(&config->local);
	workers_unmap_segment(&config->remote);
}

/*
 * A peer of another user may have left descriptors unread in the socket, the last close of which may block. A forked
 * child closes a copy, and that is not the last one.
 */
static void workers_close_socket(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	struct adma_config *config = &ep->connection.config;

	if (config->same_user || atomic_load(&progress->worker.forked))
		adma_own_close(&config->sock, &ep->descriptors.sock);
	else
		adma_own_close_socket_apart(&config->sock, &ep->descriptors.sock, config->uid);
}

void adma_workers_tear_down_endpoint(struct adma_progress *progress, struct adma_endpoint *ep)
{
	struct adma_config *config = &ep->connection.config;

	/* In a forked child the epolls are the parent's, too: there nothing is removed from them. */
	if (adma_is_shared(progress) && !atomic_load(&progress->worker.forked))
		adma_poll_remove(progress, ep);
	workers_close_socket(progress, ep);
	adma_own_close(&config->pidfd, &ep->descriptors.pidfd);
	ep->ops->close(ep);
	adma_mechanisms_close(&ep->connection);
	adma_own_close(&ep->send.segment_fd, &ep->descriptors.segment);
	workers_unmap_segments(config);
	adma_summary_unmap(atomic_exchange_explicit(&ep->summary, NULL, memory_order_relaxed));
	ep->control.torn_down = true;
}

void adma_workers_tear_down(struct adma_progress *progress)
{
	adma_own_close(&progress->waiters.eventfd, &progress->waiters.own_eventfd);
	adma_own_close(&progress->waiters.epoll, &progress->waiters.own_epoll);
	adma_own_close(&progress->poll.epoll, &progress->poll.own);
	adma_own_close(&progress->completions.epoll, &progress->completions.own);
	adma_own_close(&progress->worker.summary_fd, &progress->worker.summary_own);
}

void adma_workers_await_threads(struct adma_progress *progress, int64_t end)
{
	adma_engine_assist_stop(&progress->assist, end);
	adma_progress_release(progress, end);
}

static void workers_left_by_assist(struct adma_assist *assist)
{
	struct adma_progress *progress = adma_container_of(assist, struct adma_progress, assist);

	progress->let_go(progress);
}

bool adma_workers_leave(struct adma_progress *progress, void (*let_go)(struct adma_progress *progress))
{
	progress->let_go = let_go; /* nobody looks at it before one of these returns true */
	return adma_progress_leave_to_thread(progress, let_go) ||
	       adma_engine_assist_leave(&progress->assist, workers_left_by_assist);
}

/* ---- fork ---- */

void adma_workers_before_fork(void)
{
	pthread_mutex_lock(&all_lock);
	adma_progress_before_fork();
}

void adma_workers_after_fork_parent(void)
{
	adma_progress_after_fork_parent();
	pthread_mutex_unlock(&all_lock);
}

/*
 * The child has one thread only. Locks that other threads held at the fork are never released in
 * the child. So its copies of workers are closed without taking any lock. They are closed so that
 * no descriptor keeps the parent's sockets open, and they refuse all use from now on.
 */
void adma_workers_after_fork_child(void)
{
	adma_progress_after_fork_child();
	adma_list_for_each(at, &all) {
		struct adma_progress *progress = adma_container_of(at, struct adma_progress, all);

		workers_forget_threads(progress); /* these are threads of the parent */
		if (progress->worker.torn_down)
			continue;
		atomic_store(&progress->worker.forked, true);
		adma_worker_for_each(ep, &progress->worker)
			if (!ep->control.torn_down)
				adma_workers_tear_down_endpoint(progress, ep);
		adma_workers_tear_down(progress);
	}
	pthread_mutex_unlock(&all_lock);
}
