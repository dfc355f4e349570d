/* SPDX-License-Identifier: BSD-3-Clause */
/* mover.c - the progress thread: its sleep, and which channel it looks at next. */
#include "progress/progress_thread.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/thread.h"
#include "worker/channel.h"

#define STACK_BYTES (512 << 10)
#define RETRY_NS 1000000000 /* after it could not be started */
#define EVENTS 32
#define AT_ONCE 0 /* a time that has always come: something happened */

static struct {
	pthread_mutex_t life;
	pthread_t thread;
	int epoll, timer;
	uint32_t channels;    /* taken */
	_Atomic int running;
	int64_t failed_at;    /* 0: never */

	pthread_mutex_t book;
	pthread_cond_t unpinned;
	bool stop;
	bool asleep;
	int64_t until;        /* when it wakes by itself, or by the timer */
	struct adma_chan *first, *last; /* called */
	_Atomic int computing; /* the core of who handed over last */
	int64_t moved;         /* when the mover last left that one */
	struct adma_progress_stats stats;
} mover = {
	.life = PTHREAD_MUTEX_INITIALIZER,
	.epoll = -1,
	.timer = -1,
	.book = PTHREAD_MUTEX_INITIALIZER,
	.unpinned = PTHREAD_COND_INITIALIZER,
};

static _Thread_local bool here;

bool adma_progress_here(void)
{
	return here;
}

int adma_progress_count(void)
{
	return atomic_load_explicit(&mover.running, memory_order_relaxed);
}

int adma_task_count(void)
{
	/* The link count of /proc/self/task is 2 and one for each task. */
	struct stat st;

	return stat("/proc/self/task", &st) ? 2 : (int)st.st_nlink - 2 - adma_progress_count();
}

void adma_get_progress_stats(struct adma_progress_stats *stats)
{
	pthread_mutex_lock(&mover.life);
	pthread_mutex_lock(&mover.book);
	*stats = mover.stats;
	pthread_mutex_unlock(&mover.book);
	stats->running = adma_progress_count();
	stats->channels = mover.channels;
	pthread_mutex_unlock(&mover.life);
}

/* ---- the book ---- */

/* Somebody else's call: the timer ends the sleep. */
static void set_timer(int64_t due)
{
	struct itimerspec at = {0};

	due = due > 0 ? due : 1; /* 0 would disarm it */
	at.it_value.tv_sec = due / 1000000000;
	at.it_value.tv_nsec = due % 1000000000;
	(void)timerfd_settime(mover.timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void call(struct adma_chan *chan, int64_t due)
{
	struct adma_progress_entry *charge = &chan->progress;

	if (charge->called) {
		charge->due = due < charge->due ? due : charge->due;
	} else {
		charge->called = true;
		charge->due = due;
		charge->next = NULL;
		if (mover.last)
			mover.last->progress.next = chan;
		else
			mover.first = chan;
		mover.last = chan;
	}
	if (mover.asleep && due < mover.until) {
		mover.until = due;
		set_timer(due);
	}
}

static void strike(struct adma_chan *chan)
{
	struct adma_chan **at = &mover.first, *before = NULL;

	if (!chan->progress.called)
		return;
	for (; *at != chan; at = &(*at)->progress.next)
		before = *at;
	*at = chan->progress.next;
	if (mover.last == chan)
		mover.last = before;
	chan->progress.called = false;
}

/* The first in line whose time has come, or NULL, and when the next one's comes. */
static struct adma_chan *next_due(int64_t *soonest)
{
	int64_t now = mover.first ? adma_now() : 0;

	*soonest = ADMA_NEVER;
	for (struct adma_chan *chan = mover.first; chan; chan = chan->progress.next) {
		if (chan->progress.due <= now)
			return chan;
		if (chan->progress.due < *soonest)
			*soonest = chan->progress.due;
	}
	return NULL;
}

void adma_progress_note_caller(void)
{
	atomic_store_explicit(&mover.computing, sched_getcpu(), memory_order_relaxed);
}

void adma_progress_call(struct adma_chan *chan, int64_t due)
{
	pthread_mutex_lock(&mover.book);
	call(chan, due);
	pthread_mutex_unlock(&mover.book);
}

/* ---- the epoll ---- */

static int control(struct adma_chan *chan, int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = chan};

	return fd >= 0 && epoll_ctl(mover.epoll, op, fd, &event) ? errno : 0;
}

static int data_fd(const struct adma_chan *chan)
{
	return chan->fifo ? chan->config.mech_fd[chan->config.forced] : chan->config.mech_fd[ADMA_MECH_TCP];
}

static uint32_t epoll_events(short events)
{
	return (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u) |
	       (events & POLLPRI ? EPOLLPRI : 0u);
}

void adma_progress_poll(struct adma_chan *chan, short data)
{
	pthread_mutex_lock(&mover.book);
	/* These cannot fail: the descriptors were taken. */
	if (!chan->progress.polled && !chan->eof)
		(void)control(chan, EPOLL_CTL_MOD, chan->config.sock, EPOLLIN);
	if (chan->progress.data_events != data)
		(void)control(chan, EPOLL_CTL_MOD, data_fd(chan), epoll_events(data));
	chan->progress.polled = true;
	chan->progress.data_events = data;
	pthread_mutex_unlock(&mover.book);
}

void adma_progress_unpoll(struct adma_chan *chan)
{
	if (!chan->progress.taken)
		return;
	pthread_mutex_lock(&mover.book);
	if (chan->progress.polled)
		(void)control(chan, EPOLL_CTL_MOD, chan->config.sock, 0);
	if (chan->progress.data_events)
		(void)control(chan, EPOLL_CTL_MOD, data_fd(chan), 0);
	chan->progress.polled = false;
	chan->progress.data_events = 0;
	pthread_mutex_unlock(&mover.book);
}

/* What is polled in one channel is told as one: all of it has to be asked for again. */
static void take_events(void)
{
	struct epoll_event events[EVENTS];
	int n;

	do {
		n = epoll_wait(mover.epoll, events, EVENTS, 0);
		for (int i = 0; i < n; i++) {
			struct adma_chan *chan = events[i].data.ptr;

			chan->progress.polled = false;
			chan->progress.data_events = 0;
			call(chan, AT_ONCE);
		}
	} while (n == EVENTS);
}

void adma_progress_forget(struct adma_chan *chan)
{
	if (!chan->progress.taken)
		return;
	pthread_mutex_lock(&mover.book);
	/* By hand: a copy of the descriptor in some child would keep it in there. */
	(void)control(chan, EPOLL_CTL_DEL, chan->config.sock, 0);
	(void)control(chan, EPOLL_CTL_DEL, chan->config.pidfd, 0);
	(void)control(chan, EPOLL_CTL_DEL, data_fd(chan), 0);
	pthread_mutex_unlock(&mover.book);
}

/* ---- the thread ---- */

/* With the book, which is open while it sleeps. */
static void doze(int64_t until)
{
	struct pollfd fds[2] = {
		{.fd = mover.epoll, .events = POLLIN},
		{.fd = mover.timer, .events = POLLIN},
	};
	int64_t left = until == ADMA_NEVER ? 0 : until - adma_now();
	struct timespec ts = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
	uint64_t count;

	if (left < 0)
		return;
	mover.asleep = true;
	mover.until = until;
	pthread_mutex_unlock(&mover.book);
	(void)ppoll(fds, 2, until == ADMA_NEVER ? NULL : &ts, NULL);
	adma_cpu_avoid(atomic_load_explicit(&mover.computing, memory_order_relaxed), adma_now(), &mover.moved);
	pthread_mutex_lock(&mover.book);
	mover.asleep = false;
	mover.stats.wakeups++;
	if (fds[1].revents)
		(void)!read(mover.timer, &count, sizeof(count));
}

static void visit(struct adma_chan *chan)
{
	bool by_time = chan->progress.due != AT_ONCE;
	int64_t again;

	strike(chan);
	chan->progress.pinned = true;
	pthread_mutex_unlock(&mover.book);
	again = adma_visit(chan, by_time);
	pthread_mutex_lock(&mover.book);
	chan->progress.pinned = false;
	if (again != ADMA_NEVER)
		call(chan, again); /* last in line */
	pthread_cond_broadcast(&mover.unpinned);
}

static void *run(void *nothing)
{
	(void)nothing;
	here = true;
	pthread_mutex_lock(&mover.book);
	while (!mover.stop) {
		struct adma_chan *chan;
		int64_t soonest;

		take_events();
		chan = next_due(&soonest);
		if (chan)
			visit(chan);
		else
			doze(soonest);
	}
	pthread_mutex_unlock(&mover.book);
	return NULL;
}

static void close_fds(void)
{
	if (mover.epoll >= 0)
		close(mover.epoll);
	if (mover.timer >= 0)
		close(mover.timer);
	mover.epoll = mover.timer = -1;
}

/* 0, or the errno for which there is none. */
static int start_thread(void)
{
	int err = ADMA_FAULT(ADMA_FAULT_PROGRESS_THREAD);

	return err ? err : adma_thread_start(&mover.thread, "adma-progress", STACK_BYTES, run, NULL);
}

static int start(void)
{
	int err = 0;

	mover.stop = false;
	mover.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (mover.epoll >= 0)
		mover.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (mover.timer < 0)
		err = errno;
	if (!err)
		err = start_thread();
	if (err) {
		close_fds();
		return err;
	}
	atomic_store_explicit(&mover.running, 1, memory_order_relaxed);
	mover.stats.starts++;
	return 0;
}

/* No channel is taken, so it has no lock of one, nor waits for any. */
static void stop(void)
{
	pthread_mutex_lock(&mover.book);
	mover.stop = true;
	set_timer(0);
	pthread_mutex_unlock(&mover.book);
	pthread_join(mover.thread, NULL);
	atomic_store_explicit(&mover.running, 0, memory_order_relaxed);
	close_fds();
}

/* ---- channels come and go ---- */

static int take(struct adma_chan *chan)
{
	int err = 0;

	if (!mover.running)
		err = start();
	if (err)
		return err;
	err = control(chan, EPOLL_CTL_ADD, chan->config.sock, 0);
	if (!err)
		err = control(chan, EPOLL_CTL_ADD, chan->config.pidfd, EPOLLIN);
	if (!err)
		err = control(chan, EPOLL_CTL_ADD, data_fd(chan), 0);
	chan->progress.taken = true;
	chan->progress.lame = err;
	mover.channels++;
	return err;
}

/* With life. */
static void give_back(struct adma_chan *chan)
{
	pthread_mutex_lock(&mover.book);
	while (chan->progress.pinned)
		pthread_cond_wait(&mover.unpinned, &mover.book);
	strike(chan);
	chan->progress.taken = false;
	pthread_mutex_unlock(&mover.book);
	if (!--mover.channels)
		stop();
}

bool adma_progress_take(struct adma_chan *chan)
{
	int err = 0;

	if (chan->progress.taken)
		return !chan->progress.lame;
	pthread_mutex_lock(&mover.life);
	bool early = mover.failed_at && adma_now() - mover.failed_at < RETRY_NS;

	if (!early)
		err = take(chan);
	if (err) {
		mover.failed_at = adma_now();
		mover.stats.failures++;
		mover.stats.error = err;
	}
	pthread_mutex_unlock(&mover.life);
	return !early && !err;
}

void adma_progress_release(struct adma_chan *chan)
{
	pthread_mutex_lock(&mover.life);
	if (chan->progress.taken)
		give_back(chan);
	pthread_mutex_unlock(&mover.life);
}

/* ---- fork ---- */

void adma_progress_before_fork(void)
{
	pthread_mutex_lock(&mover.life);
	pthread_mutex_lock(&mover.book);
}

void adma_progress_after_fork_parent(void)
{
	pthread_mutex_unlock(&mover.book);
	pthread_mutex_unlock(&mover.life);
}

void adma_progress_after_fork_child(void)
{
	/* Closed, and not one descriptor taken out: the epoll behind it is the parent's, too. */
	close_fds();
	pthread_mutex_init(&mover.life, NULL);
	pthread_mutex_init(&mover.book, NULL);
	pthread_cond_init(&mover.unpinned, NULL);
	mover.first = mover.last = NULL;
	mover.channels = 0;
	mover.asleep = false;
	mover.stats = (struct adma_progress_stats){0};
	atomic_store_explicit(&mover.running, 0, memory_order_relaxed);
}
