/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.c - the life of a shared worker and of its endpoints; see adma_worker.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "adma_handshake.h"
#include "adma_worker.h"
#include "api/closing.h"
#include "api/entry.h"
#include "api/workers.h"
#include "base/held_up.h"
#include "mech/table.h"
#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/progress_thread.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "shm/summary.h"
#include "worker/arrived.h"
#include "worker/ending.h"
#include "worker/life.h"
#include "worker/tagged_endpoint.h"
#include "worker/tags.h"

/* ---- workers ---- */

int adma_worker_new(uint64_t secret, struct adma_worker **out)
{
	struct adma_progress *progress = calloc(1, sizeof(*progress));
	int rc;

	if (!progress)
		return -ENOMEM;
	rc = adma_workers_make(progress, true);
	if (!rc) {
		rc = adma_tags_make(&progress->worker, secret);
		if (rc)
			adma_workers_tear_down(progress);
	}
	if (rc) {
		free(progress);
		return rc;
	}
	adma_workers_enlist(progress);
	*out = &progress->worker;
	return 0;
}

static void worker_fail_receives(struct adma_worker *worker)
{
	adma_list_for_each_safe(at, after, &worker->tags->posted.all) {
		struct adma_req *req = adma_container_of(at, struct adma_req, posted.all);

		adma_tags_withdraw(worker, req);
		adma_tags_complete(worker, req, ADMA_E_CLOSED_HERE);
	}
}

/* What is left of endpoints that threads of ours were held up in. */
static void worker_tear_down_endpoints(struct adma_progress *progress)
{
	adma_list_for_each_entry(ep, &progress->worker.endpoints, struct adma_endpoint, member)
		if (!ep->control.torn_down)
			adma_workers_tear_down_endpoint(progress, ep);
}

/* Nobody else finds the worker any more, not even a child that is forked meanwhile. */
static void worker_free_endpoints(struct adma_worker *worker)
{
	adma_list_for_each_safe(at, after, &worker->endpoints) {
		struct adma_endpoint *ep = adma_container_of(at, struct adma_endpoint, member);

		adma_arrived_forget_source(ep);
		adma_endpoint_free(ep);
		free(ep);
	}
}

/* Is a call held up in it that another thread made? Its caller must not free the worker, but at exit it may be so. */
static bool worker_is_in_use(struct adma_progress *progress)
{
	struct adma_worker *worker = &progress->worker;
	bool used = false;

	if (atomic_load(&worker->forked))
		return false;
	pthread_mutex_lock(&worker->lock);
	adma_list_for_each_entry(ep, &worker->endpoints, struct adma_endpoint, member)
		used |= ep->control.users > 0;
	pthread_mutex_unlock(&worker->lock);
	return used;
}

static void worker_tear_down(struct adma_progress *progress)
{
	adma_workers_tear_down(progress);
	progress->worker.torn_down = true;
}

/* Nobody enters the worker any more. Wait until those who did so have left, but not for those that are held up. */
static void worker_close(struct adma_progress *progress)
{
	struct adma_worker *worker = &progress->worker;

	pthread_mutex_lock(&worker->lock);
	worker->closed = true;
	if (progress->ownership.delegated)
		adma_delegation_end(progress);
	worker_fail_receives(worker);
	while (worker->users || progress->waiters.sleepers) {
		adma_waiters_wake(progress);
		pthread_mutex_unlock(&worker->lock);
		(void)poll(NULL, 0, 1);
		pthread_mutex_lock(&worker->lock);
	}
	adma_progress_forget(progress); /* also if threads of ours are held up, and the rest has to wait for them */
	if (adma_list_empty(&worker->endpoints))
		worker_tear_down(progress);
	pthread_mutex_unlock(&worker->lock);
	adma_workers_await_threads(progress, adma_now() + ADMA_CLOSE_SLEEP_NS);
}

/* Free a closed worker, or leave it to the last thread of ours that is held up in it. */
static void worker_let_go(struct adma_progress *progress)
{
	if (adma_workers_leave(progress, worker_let_go))
		return;
	if (worker_is_in_use(progress))
		return; /* it is kept for ever */
	worker_tear_down_endpoints(progress);
	if (!progress->worker.torn_down)
		worker_tear_down(progress);
	adma_workers_delist(progress);
	worker_free_endpoints(&progress->worker);
	adma_worker_forget(&progress->worker);
	free(progress);
}

void adma_worker_free(struct adma_worker *worker)
{
	struct adma_progress *progress;

	if (!worker)
		return;
	progress = adma_progress_of(worker);
	if (!atomic_load(&worker->forked)) {
		for (uint32_t number = 0; number < worker->tags->numbers; number++)
			if (adma_worker_drop(worker, number, 0))
				(void)adma_worker_abandon(worker, number);
		worker_close(progress);
	}
	worker_let_go(progress);
}

/* ---- endpoints ---- */

static int endpoint_join(struct adma_progress *progress, struct adma_endpoint *ep, uint32_t *number)
{
	struct adma_worker *worker = &progress->worker;
	int rc = adma_tags_number(worker, ep);

	if (rc)
		return rc;
	rc = adma_poll_add(progress, ep);
	if (rc) {
		adma_poll_remove(progress, ep);
		worker->tags->by_number[ep->number] = NULL;
		return rc;
	}
	*number = ep->number;
	adma_worker_add(worker, ep);
	adma_worker_summarise(worker);
	return 0;
}

/* Free an endpoint that did not join. The caller keeps the descriptors and segments that it names. */
static void endpoint_discard(struct adma_endpoint *ep)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++)
		ep->connection.config.mech_fd[id] = -1;
	adma_mechanisms_close(&ep->connection);
	adma_endpoint_free(ep);
	free(ep);
}

static int endpoint_make(struct adma_worker *worker, const struct adma_config *config, struct adma_endpoint **out)
{
	struct adma_endpoint *ep = calloc(1, sizeof(*ep));
	int rc;

	if (!ep)
		return -ENOMEM;
	ep->worker = worker;
	rc = adma_endpoint_init(ep, config, &adma_tagged_endpoint_ops);
	if (!rc)
		rc = adma_mechanisms_open(&ep->connection);
	if (rc) {
		endpoint_discard(ep);
		return rc;
	}
	if (!config->same_user && config->sock >= 0)
		ep->send.slots.limit = ADMA_ARRIVED_SLOTS_MAX; /* a reader of another user keeps no more descriptors */
	*out = ep;
	return 0;
}

int adma_worker_connect(struct adma_worker *worker, const struct adma_config *config, uint32_t *number)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_endpoint *ep;
	int rc;

	rc = endpoint_make(worker, config, &ep);
	if (rc)
		return rc;
	rc = adma_enter_worker(progress);
	if (!rc) {
		rc = endpoint_join(progress, ep, number);
		adma_publish_and_leave_worker(progress);
	}
	if (rc)
		endpoint_discard(ep);
	return rc;
}

static int self_map(struct adma_segment **segment)
{
	void *p = mmap(NULL, adma_segment_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	adma_segment_init(p);
	*segment = p;
	return 0;
}

/* What we write is what we read: both sides of the endpoint use one segment. */
int adma_worker_connect_self(struct adma_worker *worker, uint32_t *number)
{
	struct adma_config config = {
		.sock = -1,
		.pidfd = -1,
		.pid = getpid(),
		.out_mask = ADMA_MECH_BIT(ADMA_MECH_SELF),
		.in_mask = ADMA_MECH_BIT(ADMA_MECH_SELF),
		.copiers = ADMA_COPY_AS_READER,
	};
	int rc = self_map(&config.local);

	if (rc)
		return rc;
	config.remote = config.local;
	for (int i = 0; i < ADMA_MECH_MAX; i++)
		config.mech_fd[i] = -1;
	rc = adma_worker_connect(worker, &config, number);
	if (rc)
		adma_segment_unmap(config.local);
	return rc;
}

/* ---- closing an endpoint ---- */

/* The lock is dropped for a while, until users may have left. */
static void endpoint_await_quiet(struct adma_progress *progress, struct adma_endpoint *ep, uint64_t events, int64_t ns)
{
	bool armed = adma_closing_arm(ep, events);

	progress->worker.settling++; /* a thread that spins is one of the users: meanwhile none begins to */
	(void)adma_publish(progress, false);
	adma_closing_sleep(ep, armed, ns);
	progress->worker.settling--;
}

/*
 * The endpoint is not used any more: close what it has open, and free it. It stays among the worker's
 * endpoints until its descriptors are closed, so that a child that is forked meanwhile closes its copies.
 */
static void endpoint_end(struct adma_progress *progress, struct adma_endpoint *ep)
{
	progress->worker.tags->by_number[ep->number] = NULL;
	adma_workers_tear_down_endpoint(progress, ep);
	adma_worker_remove(&progress->worker, ep);
	adma_endpoint_free(ep);
	free(ep);
}

/* Another thread may end the endpoint while the lock is dropped: so it is looked up anew each time. */
static int endpoint_close(struct adma_progress *progress, uint32_t number, int64_t end)
{
	struct adma_endpoint *ep;

	while ((ep = adma_tags_endpoint(&progress->worker, number))) {
		uint64_t events = adma_ec_read(&ep->connection.config.local->event_count); /* before the look */
		int64_t left = end - adma_now();

		if (!ep->control.closing)
			adma_closing_begin(ep);
		if (adma_closing_is_quiet(ep)) {
			endpoint_end(progress, ep);
			return 0;
		}
		if (left <= 0)
			return -EAGAIN;
		endpoint_await_quiet(progress, ep, events, left < ADMA_CLOSE_SLEEP_NS ? left : ADMA_CLOSE_SLEEP_NS);
	}
	return 0;
}

void adma_worker_drain(struct adma_worker *worker, uint32_t number)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_endpoint *ep;

	if (adma_enter_worker(progress))
		return;
	ep = adma_tags_endpoint(worker, number);
	if (ep)
		adma_ending_begin(ep);
	adma_ownership_hand_over(progress);
	adma_publish_and_leave_worker(progress);
}

int adma_worker_drop(struct adma_worker *worker, uint32_t number, int64_t timeout_ns)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int64_t end = adma_now() + timeout_ns;
	int rc;

	if (adma_enter_worker(progress))
		return 0; /* all endpoints are gone with the worker */
	rc = endpoint_close(progress, number, end);
	adma_publish_and_leave_worker(progress);
	return rc;
}

uint64_t adma_worker_abandon(struct adma_worker *worker, uint32_t number)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_endpoint *ep;
	int64_t begun_at = adma_now();
	uint64_t held = 0;

	if (adma_enter_worker(progress))
		return 0;
	/* Wait for our own threads, which copy for a moment only, unless a page holds one up. */
	while ((ep = adma_tags_endpoint(worker, number)) && adma_closing_has_users(ep) && !adma_is_held_up(begun_at))
		endpoint_await_quiet(progress, ep, 0, ADMA_ABANDON_SLEEP_NS);
	if (ep) {
		if (!ep->control.closing)
			adma_closing_begin(ep);
		(void)adma_endpoint_advance(ep); /* complete, without `held`, what only our own threads held up */
		held = ep->ops->abandon(ep);
		if (!adma_closing_has_users(ep)) /* otherwise it goes with the worker */
			endpoint_end(progress, ep);
	}
	adma_publish_and_leave_worker(progress);
	return held;
}

/* ---- questions ---- */

int adma_worker_health(struct adma_worker *worker, uint32_t number)
{
	struct adma_progress *progress = adma_progress_of(worker);
	const struct adma_endpoint *ep;
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	ep = adma_tags_endpoint(worker, number);
	rc = ep ? -ep->control.over : -ADMA_E_CLOSED_HERE;
	adma_leave_worker(progress);
	return rc;
}

void adma_worker_counts(struct adma_worker *worker, uint32_t *endpoints, uint32_t *direct)
{
	struct adma_progress *progress = adma_progress_of(worker);

	*endpoints = *direct = 0;
	if (adma_enter_worker(progress))
		return;
	*endpoints = worker->count;
	adma_list_for_each(at, &worker->direct)
		++*direct;
	adma_leave_worker(progress);
}

int adma_worker_stats(struct adma_worker *worker, uint32_t number, struct adma_stats *stats)
{
	struct adma_progress *progress = adma_progress_of(worker);
	const struct adma_endpoint *ep;
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	ep = adma_tags_endpoint(worker, number);
	if (ep)
		adma_stats_of(progress, ep, stats);
	adma_leave_worker(progress);
	return ep ? 0 : -ENOENT;
}

int adma_worker_fileno(struct adma_worker *worker)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	rc = adma_poll_messages(progress);
	worker->marks |= ADMA_MARK_REARM; /* from now on the descriptor has to be kept up to date */
	adma_publish_and_leave_worker(progress);
	return rc;
}
