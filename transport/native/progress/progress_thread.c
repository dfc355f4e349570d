/* SPDX-License-Identifier: BSD-3-Clause */
/* progress_thread.c - how the progress thread sleeps, and which worker it visits next. */
#include "progress/progress_thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/event.h"
#include "base/held_up.h"
#include "base/holds.h"
#include "base/own.h"
#include "base/poll.h"
#include "base/refusal.h"
#include "progress/crew.h"
#include "progress/descriptors.h"

#define RETRY_NS 1000000000 /* after a failed start */
#define EVENTS 32
#define AT_ONCE 0 /* a time that is always past: something happened */

static struct {
	pthread_mutex_t registry; /* guards all of this but the atomic words */
	struct adma_crew crew;    /* the threads, of which one serves */
	int epoll, timer;
	bool timed;               /* `timer` is a timerfd, and not an event that wakes the thread at once */
	struct adma_own own_epoll, own_timer;
	bool stale;               /* the epoll may tell of a worker that was forgotten: use another one */
	int64_t looked_at;        /* when the descriptors were last looked at; 0: there is a reason to look */
	int64_t timer_used_at;    /* when the timer was last used, or looked at */
	uint32_t workers;         /* workers that are taken */
	struct adma_list taken;   /* their entries, without those that were forgotten */
	_Atomic int running;
	int64_t failed_at;        /* when a start last failed; 0: never */
	_Atomic int error;        /* the errno of that */
	bool asleep;
	int64_t until;            /* when it wakes by its time-out or by the timer */
	struct adma_list called;  /* entries of workers that are to be visited */
	_Atomic int computing;    /* the core of the thread that handed over last */
	int64_t moved_at;         /* when the thread last left that core */
	struct adma_progress_stats stats;
} thread = {
	.registry = PTHREAD_MUTEX_INITIALIZER,
	.epoll = -1,
	.timer = -1,
	.taken = ADMA_LIST_INIT(thread.taken),
	.called = ADMA_LIST_INIT(thread.called),
};

static void thread_serve(uint32_t number, struct adma_progress *held_up);

static __attribute__((constructor)) void thread_init(void)
{
	thread.crew.registry = &thread.registry;
	thread.crew.serve = thread_serve;
	adma_crew_init(&thread.crew);
}

static struct adma_progress *progress_of(struct adma_list *link)
{
	return adma_container_of(link, struct adma_progress, entry.link);
}

static struct adma_progress *progress_of_taken(struct adma_list *member)
{
	return adma_container_of(member, struct adma_progress, entry.member);
}

int adma_progress_count(void)
{
	return atomic_load_explicit(&thread.running, memory_order_relaxed);
}

int adma_progress_error(void)
{
	return atomic_load_explicit(&thread.error, memory_order_relaxed);
}

void adma_get_progress_stats(struct adma_progress_stats *stats)
{
	pthread_mutex_lock(&thread.registry);
	*stats = thread.stats;
	stats->running = adma_progress_count();
	stats->takeovers = thread.crew.takeovers;
	stats->channels = thread.workers;
	pthread_mutex_unlock(&thread.registry);
}

/* ---- the registry; called with its lock held ---- */

/*
 * Another thread's call ends the sleep by the timer. Where the system refuses timers, it ends the sleep at once, and the
 * thread sleeps again until the worker is due.
 */
static void registry_set_timer(int64_t due)
{
	static const uint64_t one = 1;
	struct itimerspec at = {0};

	if (!thread.timed) {
		if (adma_own_is(&thread.own_timer, thread.timer))
			(void)!write(thread.timer, &one, sizeof(one));
		return;
	}
	due = due > 0 ? due : 1; /* 0 would disarm it */
	at.it_value.tv_sec = due / 1000000000;
	at.it_value.tv_nsec = due % 1000000000;
	thread.timer_used_at = adma_now();
	if (timerfd_settime(thread.timer, TFD_TIMER_ABSTIME, &at, NULL))
		thread.looked_at = 0; /* it is not a timer any more: the thread finds that at the end of its second */
}

static void registry_call(struct adma_progress *progress, int64_t due)
{
	struct adma_progress_entry *entry = &progress->entry;

	if (adma_list_listed(&entry->link)) {
		entry->due = due < entry->due ? due : entry->due;
	} else {
		entry->due = due;
		adma_list_push_back(&thread.called, &entry->link);
	}
	if (thread.asleep && due < thread.until) {
		thread.until = due;
		registry_set_timer(due);
	}
}

/*
 * Another thread is held up in a visit of this worker. A second visit is of use, since a transfer that holds up a
 * thread is left alone. But if the thread holds the worker's lock, the visit would be held up as well: try it later.
 */
static bool registry_may_visit(struct adma_progress *progress, int64_t now)
{
	if (!progress->entry.visits)
		return true;
	if (pthread_mutex_trylock(&progress->worker.lock)) {
		progress->entry.due = now + ADMA_HELD_UP_NS;
		return false;
	}
	pthread_mutex_unlock(&progress->worker.lock);
	return true;
}

/* The first worker that is due, or NULL; and in *soonest when the next one will be due. */
static struct adma_progress *registry_next_due(int64_t *soonest)
{
	int64_t now = adma_list_empty(&thread.called) ? 0 : adma_now();

	*soonest = ADMA_NEVER;
	adma_list_for_each(at, &thread.called) {
		struct adma_progress *progress = progress_of(at);

		if (progress->entry.due <= now && registry_may_visit(progress, now))
			return progress;
		if (progress->entry.due < *soonest)
			*soonest = progress->entry.due;
	}
	return NULL;
}

void adma_progress_note_caller(void)
{
	atomic_store_explicit(&thread.computing, sched_getcpu(), memory_order_relaxed);
}

void adma_progress_call(struct adma_progress *progress, int64_t due)
{
	pthread_mutex_lock(&thread.registry);
	registry_call(progress, due);
	pthread_mutex_unlock(&thread.registry);
}

/* ---- the epoll ---- */

static int epoll_control(struct adma_progress *progress, int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = progress};

	return fd >= 0 && epoll_ctl(thread.epoll, op, fd, &event) ? errno : 0;
}

/* One epoll tells of everything in a shared worker; in a channel the socket, the pidfd and the data descriptor do. */
struct polled_fds {
	int bytes, death, data;
};

static struct polled_fds fds_of(const struct adma_progress *progress)
{
	const struct adma_endpoint *ep;

	if (adma_is_shared(progress))
		return (struct polled_fds){progress->waiters.epoll, -1, -1};
	ep = adma_only_endpoint(progress);
	return (struct polled_fds){ep->connection.config.sock, ep->connection.config.pidfd, ep->ops->data_fd(ep)};
}

/* At the end of file a socket would tell of it again and again. */
static bool is_at_eof(const struct adma_progress *progress)
{
	return !adma_is_shared(progress) && adma_only_endpoint(progress)->control.eof;
}

/* The worker's descriptors join the epoll. 0, or a positive errno. */
static int epoll_add(struct adma_progress *progress, uint32_t bytes_events, uint32_t data_events)
{
	struct polled_fds fds = fds_of(progress);
	int err = epoll_control(progress, EPOLL_CTL_ADD, fds.bytes, bytes_events);

	if (!err)
		err = epoll_control(progress, EPOLL_CTL_ADD, fds.death, EPOLLIN);
	if (!err)
		err = epoll_control(progress, EPOLL_CTL_ADD, fds.data, data_events);
	return err;
}

void adma_progress_poll(struct adma_progress *progress, short data)
{
	pthread_mutex_lock(&thread.registry);
	/* These calls fail only if a descriptor is not ours any more, which is looked at once a second. */
	if (!progress->entry.polled && !is_at_eof(progress))
		(void)epoll_control(progress, EPOLL_CTL_MOD, fds_of(progress).bytes, EPOLLIN);
	if (progress->entry.data_events != data)
		(void)epoll_control(progress, EPOLL_CTL_MOD, fds_of(progress).data, adma_epoll_events(data));
	progress->entry.polled = true;
	progress->entry.data_events = data;
	pthread_mutex_unlock(&thread.registry);
}

void adma_progress_unpoll(struct adma_progress *progress)
{
	struct polled_fds fds;

	if (!progress->entry.taken)
		return;
	fds = fds_of(progress);
	pthread_mutex_lock(&thread.registry);
	if (progress->entry.polled)
		(void)epoll_control(progress, EPOLL_CTL_MOD, fds.bytes, 0);
	if (progress->entry.data_events)
		(void)epoll_control(progress, EPOLL_CTL_MOD, fds.data, 0);
	progress->entry.polled = false;
	progress->entry.data_events = 0;
	pthread_mutex_unlock(&thread.registry);
}

/* An event on any descriptor of a worker ends the polling of all: it has to be asked for again. */
static void epoll_take_events(void)
{
	struct epoll_event events[EVENTS];
	int n;

	do {
		n = epoll_wait(thread.epoll, events, EVENTS, 0);
		if (n < 0 && errno != EINTR)
			thread.looked_at = 0;
		for (int i = 0; i < n; i++) {
			struct adma_progress *progress = events[i].data.ptr;

			progress->entry.polled = false;
			progress->entry.data_events = 0;
			registry_call(progress, AT_ONCE);
		}
	} while (n == EVENTS);
}

void adma_progress_forget(struct adma_progress *progress)
{
	struct polled_fds fds;
	int err = 0;

	if (!progress->entry.taken || progress->entry.forgotten)
		return;
	progress->entry.forgotten = true;
	fds = fds_of(progress);
	pthread_mutex_lock(&thread.registry);
	/* Closing a descriptor does not remove it from the epoll while a child has a copy of it. */
	err |= epoll_control(progress, EPOLL_CTL_DEL, fds.bytes, 0);
	err |= epoll_control(progress, EPOLL_CTL_DEL, fds.death, 0);
	err |= epoll_control(progress, EPOLL_CTL_DEL, fds.data, 0);
	adma_list_remove(&progress->entry.member);
	/* A number that is not ours any more does not name what is to be removed. */
	thread.stale |= err && !progress->entry.incomplete;
	pthread_mutex_unlock(&thread.registry);
}

/* ---- what was opened for the thread ---- */

static void thread_close_fds(void)
{
	adma_own_close(&thread.epoll, &thread.own_epoll);
	adma_own_close(&thread.timer, &thread.own_timer);
}

/* Returns 0, or the errno for which there is no timer. */
static int thread_make_timer(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), err = errno;

	thread.timed = fd >= 0;
	if (fd < 0 && adma_is_refusal(err)) {
		fd = adma_event_make();
		err = -fd;
	}
	thread.timer = fd < 0 ? -1 : fd;
	return fd < 0 ? err : 0;
}

/* 0, or a positive errno; then nothing is open. */
static int thread_open_fds(void)
{
	int err;

	thread.epoll = epoll_create1(EPOLL_CLOEXEC);
	err = thread.epoll < 0 ? errno : thread_make_timer();
	thread.own_epoll = adma_own_note(thread.epoll);
	thread.own_timer = adma_own_note(thread.timer);
	thread.looked_at = thread.timer_used_at = adma_now();
	if (err)
		thread_close_fds();
	return err;
}

/*
 * Open them anew, and look at each worker, since its events may be lost. What cannot be had now is tried again
 * after a second, and so is a worker whose descriptors are not ours any more.
 */
static void thread_reopen_fds(void)
{
	thread_close_fds();
	thread.stale = false;
	if (thread_open_fds())
		return;
	adma_list_for_each(at, &thread.taken) {
		struct adma_progress *progress = progress_of_taken(at);
		const struct adma_progress_entry *entry = &progress->entry;

		(void)epoll_add(progress, entry->polled ? EPOLLIN : 0, adma_epoll_events(entry->data_events));
		registry_call(progress, AT_ONCE);
	}
}

/* Are the descriptors still ours, those of the thread and those that it polls? At most one look a second. */
static void thread_look_at_fds(void)
{
	int64_t now = adma_now();

	if (!thread.stale && now - thread.looked_at < ADMA_REST_NS)
		return;
	thread.looked_at = now;
	if (thread.stale || !adma_own_is(&thread.own_epoll, thread.epoll) ||
	    !adma_own_is(&thread.own_timer, thread.timer))
		thread_reopen_fds();
	adma_list_for_each(at, &thread.taken)
		if (adma_descriptors_are_lost(progress_of_taken(at)))
			registry_call(progress_of_taken(at), AT_ONCE);
}

/* ---- the thread ---- */

/* The timer has called. A stranger's file, if it is one by now, is not read. */
static void thread_read_timer(void)
{
	uint64_t count;

	if (!adma_own_use(&thread.own_timer, thread.timer, &thread.timer_used_at) ||
	    (read(thread.timer, &count, sizeof(count)) < 0 && errno != EAGAIN))
		thread.looked_at = 0;
}

/* Called with the registry's lock held, which is dropped while the thread sleeps: for a second at most. */
static void thread_sleep(int64_t until)
{
	struct pollfd fds[2] = {
		{.fd = thread.epoll, .events = POLLIN},
		{.fd = thread.timer, .events = POLLIN},
	};
	int64_t now = adma_now();
	bool called = until < now + ADMA_REST_NS;
	int64_t left = called ? until - now : ADMA_REST_NS;
	struct timespec ts;

	if (left < 0)
		return;
	thread.asleep = true;
	thread.until = now + left;
	pthread_mutex_unlock(&thread.registry);
	adma_holds_tell();
	left = adma_holds_limit(left);
	ts = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
	called |= adma_ppoll(fds, 2, &ts, NULL) > 0;
	if (called)
		adma_cpu_avoid(atomic_load_explicit(&thread.computing, memory_order_relaxed), adma_now(),
			       &thread.moved_at);
	pthread_mutex_lock(&thread.registry);
	thread.asleep = false;
	thread.stats.wakeups += called;
	thread.stats.looks += !called;
	if ((fds[0].revents | fds[1].revents) & ~POLLIN)
		thread.looked_at = 0;
	else if (fds[1].revents)
		thread_read_timer();
}

/*
 * The worker is not taken any more, nor called. The thread ends when none is left: wake it for that. Giving back twice is
 * no error.
 */
static void registry_give_back(struct adma_progress *progress)
{
	adma_list_remove(&progress->entry.link);
	adma_list_remove(&progress->entry.member);
	if (!progress->entry.taken)
		return;
	progress->entry.taken = false;
	if (!--thread.workers)
		registry_set_timer(0);
}

/* Whoever closed the worker did not wait for the end of the visit. */
static void thread_free_orphan(struct adma_progress *progress)
{
	registry_give_back(progress);
	pthread_mutex_unlock(&thread.registry);
	progress->entry.orphan(progress);
	pthread_mutex_lock(&thread.registry);
}

static void thread_visit(struct adma_progress *progress, uint32_t number)
{
	bool by_time = progress->entry.due != AT_ONCE;
	int64_t again;

	adma_list_remove(&progress->entry.link);
	progress->entry.visits++;
	adma_crew_begin_visit(&thread.crew, progress);
	pthread_mutex_unlock(&thread.registry);
	again = progress->entry.visit(progress, by_time);
	adma_holds_tell();
	pthread_mutex_lock(&thread.registry);
	progress->entry.visits--;
	adma_crew_end_visit(&thread.crew, number);
	if (again != ADMA_NEVER)
		registry_call(progress, again); /* after the others */
	if (progress->entry.orphan && !progress->entry.visits)
		thread_free_orphan(progress);
}

/*
 * The thread of this number serves, until no worker is left or until another one has replaced it. If it has itself
 * replaced one, that one is held up in a worker, has taken its call and its events, and does not come to the rest of its
 * visit.
 */
static void thread_serve(uint32_t number, struct adma_progress *held_up)
{
	if (held_up)
		registry_call(held_up, AT_ONCE);
	while (thread.workers && adma_crew_serves(&thread.crew, number)) {
		int64_t soonest;
		struct adma_progress *progress;

		thread_look_at_fds();
		epoll_take_events();
		progress = registry_next_due(&soonest);
		if (progress)
			thread_visit(progress, number);
		else
			thread_sleep(soonest);
	}
	if (!adma_crew_serves(&thread.crew, number))
		return;
	thread_close_fds();
	atomic_store_explicit(&thread.running, 0, memory_order_relaxed);
	adma_crew_dismiss(&thread.crew);
}

/* Called with the registry's lock held, for which the new thread waits. Returns 0, or the errno for which there is none. */
static int thread_start(void)
{
	int err = thread_open_fds();

	if (!err)
		err = adma_crew_start(&thread.crew);
	if (err) {
		thread_close_fds();
		return err;
	}
	atomic_store_explicit(&thread.running, 1, memory_order_relaxed);
	thread.stats.starts++;
	return 0;
}

/* ---- workers come and go ---- */

static int registry_take(struct adma_progress *progress)
{
	int err = thread.crew.alive ? 0 : thread_start();

	if (err)
		return err;
	err = epoll_add(progress, 0, 0);
	progress->entry.taken = true;
	progress->entry.incomplete = err;
	adma_list_push_back(&thread.taken, &progress->entry.member);
	thread.workers++;
	return err;
}

bool adma_progress_take(struct adma_progress *progress)
{
	int err = 0;

	if (progress->entry.taken)
		return !progress->entry.incomplete;
	pthread_mutex_lock(&thread.registry);
	bool early = thread.failed_at && adma_now() - thread.failed_at < RETRY_NS;

	if (!early)
		err = registry_take(progress);
	if (err) {
		thread.failed_at = adma_now();
		thread.stats.failures++;
		thread.stats.error = err;
		atomic_store_explicit(&thread.error, err, memory_order_relaxed);
	}
	pthread_mutex_unlock(&thread.registry);
	return !early && !err;
}

static bool thread_is_needed(void)
{
	return thread.workers;
}

void adma_progress_release(struct adma_progress *progress, int64_t end)
{
	pthread_mutex_lock(&thread.registry);
	while (progress->entry.visits && adma_crew_await_change(&thread.crew, end))
		;
	if (progress->entry.visits || !progress->entry.taken) {
		pthread_mutex_unlock(&thread.registry);
		return;
	}
	registry_give_back(progress);
	adma_crew_await_end(&thread.crew, end, thread_is_needed);
}

bool adma_progress_leave_to_thread(struct adma_progress *progress, void (*orphan)(struct adma_progress *progress))
{
	bool left;

	pthread_mutex_lock(&thread.registry);
	left = progress->entry.visits;
	if (left)
		progress->entry.orphan = orphan;
	else /* the visit may have ended since it was released, or may have been called for since then */
		registry_give_back(progress);
	pthread_mutex_unlock(&thread.registry);
	return left;
}

/* ---- fork ---- */

void adma_progress_before_fork(void)
{
	pthread_mutex_lock(&thread.registry);
}

void adma_progress_after_fork_parent(void)
{
	pthread_mutex_unlock(&thread.registry);
}

void adma_progress_after_fork_child(void)
{
	/* Only close the epoll, and remove nothing from it, because the parent uses the same epoll. */
	thread_close_fds();
	pthread_mutex_init(&thread.registry, NULL);
	adma_crew_forget(&thread.crew);
	adma_list_init(&thread.called);
	adma_list_init(&thread.taken);
	thread.workers = 0;
	thread.asleep = thread.stale = false;
	thread.stats = (struct adma_progress_stats){0};
	atomic_store_explicit(&thread.running, 0, memory_order_relaxed);
}
