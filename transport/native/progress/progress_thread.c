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
#include "base/fault.h"
#include "base/holds.h"
#include "base/poll.h"
#include "base/refusal.h"
#include "base/thread.h"

#define STACK_BYTES (512 << 10)
#define RETRY_NS 1000000000 /* after a failed start */
#define EVENTS 32
#define AT_ONCE 0 /* a time that is always past: something happened */

static struct {
	pthread_mutex_t life;
	pthread_t thread;
	int epoll, timer;
	bool timed;             /* `timer` is a timerfd, and not an event that wakes the thread at once */
	uint32_t workers;       /* workers that are taken */
	_Atomic int running;
	int64_t failed_at;      /* when a start last failed; 0: never */
	_Atomic int error;      /* the errno of that */

	pthread_mutex_t registry;
	pthread_cond_t not_in_use;
	bool stop;
	bool asleep;
	int64_t until;          /* when it wakes by its time-out or by the timer */
	struct adma_list called; /* entries of workers that are to be visited */
	_Atomic int computing;  /* the core of the thread that handed over last */
	int64_t moved_at;       /* when the thread last left that core */
	struct adma_progress_stats stats;
} thread = {
	.life = PTHREAD_MUTEX_INITIALIZER,
	.epoll = -1,
	.timer = -1,
	.registry = PTHREAD_MUTEX_INITIALIZER,
	.not_in_use = PTHREAD_COND_INITIALIZER,
	.called = ADMA_LIST_INIT(thread.called),
};

static struct adma_progress *progress_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_progress, entry.link);
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
	pthread_mutex_lock(&thread.life);
	pthread_mutex_lock(&thread.registry);
	*stats = thread.stats;
	pthread_mutex_unlock(&thread.registry);
	stats->running = adma_progress_count();
	stats->channels = thread.workers;
	pthread_mutex_unlock(&thread.life);
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
		(void)!write(thread.timer, &one, sizeof(one));
		return;
	}

	due = due > 0 ? due : 1; /* 0 would disarm it */
	at.it_value.tv_sec = due / 1000000000;
	at.it_value.tv_nsec = due % 1000000000;
	(void)timerfd_settime(thread.timer, TFD_TIMER_ABSTIME, &at, NULL);
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

/* The first worker that is due, or NULL; and in *soonest when the next one will be due. */
static struct adma_progress *registry_next_due(int64_t *soonest)
{
	int64_t now = adma_list_empty(&thread.called) ? 0 : adma_now();

	*soonest = ADMA_NEVER;
	adma_list_for_each(at, &thread.called) {
		struct adma_progress *progress = progress_of(at);

		if (progress->entry.due <= now)
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

static uint32_t epoll_events(short events)
{
	return (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u) |
	       (events & POLLPRI ? EPOLLPRI : 0u);
}

void adma_progress_poll(struct adma_progress *progress, short data)
{
	struct polled_fds fds = fds_of(progress);

	pthread_mutex_lock(&thread.registry);
	/* These calls cannot fail, because the descriptors are in the epoll. */
	if (!progress->entry.polled && !is_at_eof(progress))
		(void)epoll_control(progress, EPOLL_CTL_MOD, fds.bytes, EPOLLIN);
	if (progress->entry.data_events != data)
		(void)epoll_control(progress, EPOLL_CTL_MOD, fds.data, epoll_events(data));
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

	if (!progress->entry.taken)
		return;
	fds = fds_of(progress);
	pthread_mutex_lock(&thread.registry);
	/* Closing a descriptor does not remove it from the epoll while a child has a copy of it. */
	(void)epoll_control(progress, EPOLL_CTL_DEL, fds.bytes, 0);
	(void)epoll_control(progress, EPOLL_CTL_DEL, fds.death, 0);
	(void)epoll_control(progress, EPOLL_CTL_DEL, fds.data, 0);
	pthread_mutex_unlock(&thread.registry);
}

/* ---- the thread ---- */

/* Called with the registry's lock held, which is dropped while the thread sleeps. */
static void thread_sleep(int64_t until)
{
	struct pollfd fds[2] = {
		{.fd = thread.epoll, .events = POLLIN},
		{.fd = thread.timer, .events = POLLIN},
	};
	int64_t left = until == ADMA_NEVER ? -1 : until - adma_now();
	struct timespec ts;
	uint64_t count;

	if (left < 0 && until != ADMA_NEVER)
		return;
	thread.asleep = true;
	thread.until = until;
	pthread_mutex_unlock(&thread.registry);
	adma_holds_tell();
	left = adma_holds_limit(left);
	ts = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
	(void)adma_ppoll(fds, 2, left < 0 ? NULL : &ts, NULL);
	adma_cpu_avoid(atomic_load_explicit(&thread.computing, memory_order_relaxed), adma_now(), &thread.moved_at);
	pthread_mutex_lock(&thread.registry);
	thread.asleep = false;
	thread.stats.wakeups++;
	if (fds[1].revents)
		(void)!read(thread.timer, &count, sizeof(count));
}

static void thread_visit(struct adma_progress *progress)
{
	bool by_time = progress->entry.due != AT_ONCE;
	int64_t again;

	adma_list_remove(&progress->entry.link);
	progress->entry.in_use = true;
	pthread_mutex_unlock(&thread.registry);
	again = progress->entry.visit(progress, by_time);
	adma_holds_tell();
	pthread_mutex_lock(&thread.registry);
	progress->entry.in_use = false;
	if (again != ADMA_NEVER)
		registry_call(progress, again); /* after the others */
	pthread_cond_broadcast(&thread.not_in_use);
}

static void *thread_run(void *nothing)
{
	pthread_mutex_lock(&thread.registry);
	while (!thread.stop) {
		int64_t soonest;
		struct adma_progress *progress;

		epoll_take_events();
		progress = registry_next_due(&soonest);
		if (progress)
			thread_visit(progress);
		else
			thread_sleep(soonest);
	}
	pthread_mutex_unlock(&thread.registry);
	return nothing;
}

static void thread_close_fds(void)
{
	if (thread.epoll >= 0)
		close(thread.epoll);
	if (thread.timer >= 0)
		close(thread.timer);
	thread.epoll = thread.timer = -1;
}

/* Returns 0, or the errno for which there is no thread. */
static int thread_create(void)
{
	int err = ADMA_FAULT(ADMA_FAULT_PROGRESS_THREAD);

	return err ? err : adma_thread_start(&thread.thread, "adma-progress", STACK_BYTES, thread_run, NULL);
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

static int thread_start(void)
{
	int err;

	thread.stop = false;
	thread.epoll = epoll_create1(EPOLL_CLOEXEC);
	err = thread.epoll < 0 ? errno : thread_make_timer();
	if (!err)
		err = thread_create();
	if (err) {
		thread_close_fds();
		return err;
	}
	atomic_store_explicit(&thread.running, 1, memory_order_relaxed);
	thread.stats.starts++;
	return 0;
}

/* No worker is taken, so the thread neither holds a worker's lock nor waits for one. */
static void thread_stop(void)
{
	pthread_mutex_lock(&thread.registry);
	thread.stop = true;
	registry_set_timer(0);
	pthread_mutex_unlock(&thread.registry);
	pthread_join(thread.thread, NULL);
	atomic_store_explicit(&thread.running, 0, memory_order_relaxed);
	thread_close_fds();
}

/* ---- workers come and go ---- */

static int registry_take(struct adma_progress *progress)
{
	struct polled_fds fds = fds_of(progress);
	int err = 0;

	if (!thread.running)
		err = thread_start();
	if (err)
		return err;
	err = epoll_control(progress, EPOLL_CTL_ADD, fds.bytes, 0);
	if (!err)
		err = epoll_control(progress, EPOLL_CTL_ADD, fds.death, EPOLLIN);
	if (!err)
		err = epoll_control(progress, EPOLL_CTL_ADD, fds.data, 0);
	progress->entry.taken = true;
	progress->entry.incomplete = err;
	thread.workers++;
	return err;
}

/* Called with `life` held. */
static void registry_give_back(struct adma_progress *progress)
{
	pthread_mutex_lock(&thread.registry);
	while (progress->entry.in_use)
		pthread_cond_wait(&thread.not_in_use, &thread.registry);
	adma_list_remove(&progress->entry.link);
	progress->entry.taken = false;
	pthread_mutex_unlock(&thread.registry);
	if (!--thread.workers)
		thread_stop();
}

bool adma_progress_take(struct adma_progress *progress)
{
	int err = 0;

	if (progress->entry.taken)
		return !progress->entry.incomplete;
	pthread_mutex_lock(&thread.life);
	bool early = thread.failed_at && adma_now() - thread.failed_at < RETRY_NS;

	if (!early)
		err = registry_take(progress);
	if (err) {
		thread.failed_at = adma_now();
		thread.stats.failures++;
		thread.stats.error = err;
		atomic_store_explicit(&thread.error, err, memory_order_relaxed);
	}
	pthread_mutex_unlock(&thread.life);
	return !early && !err;
}

void adma_progress_release(struct adma_progress *progress)
{
	pthread_mutex_lock(&thread.life);
	if (progress->entry.taken)
		registry_give_back(progress);
	pthread_mutex_unlock(&thread.life);
}

/* ---- fork ---- */

void adma_progress_before_fork(void)
{
	pthread_mutex_lock(&thread.life);
	pthread_mutex_lock(&thread.registry);
}

void adma_progress_after_fork_parent(void)
{
	pthread_mutex_unlock(&thread.registry);
	pthread_mutex_unlock(&thread.life);
}

void adma_progress_after_fork_child(void)
{
	/* Only close the epoll, and remove nothing from it, because the parent uses the same epoll. */
	thread_close_fds();
	pthread_mutex_init(&thread.life, NULL);
	pthread_mutex_init(&thread.registry, NULL);
	pthread_cond_init(&thread.not_in_use, NULL);
	adma_list_init(&thread.called);
	thread.workers = 0;
	thread.asleep = false;
	thread.stats = (struct adma_progress_stats){0};
	atomic_store_explicit(&thread.running, 0, memory_order_relaxed);
}
