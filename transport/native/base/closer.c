/* SPDX-License-Identifier: BSD-3-Clause */
/* closer.c - threads that close what another user may have made; see closer.h. */
#include "base/closer.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"

enum {
	CLOSER_THREADS_MAX = 64,
	CLOSER_OWNER_MAX = 2, /* of these, closing what one user made: what it holds up holds up no other user's */
	CLOSER_JOBS_MAX = 4096,
	CLOSER_STACK = 64 * 1024,
};

enum job_state { JOB_FREE = 0, JOB_QUEUED, JOB_CLOSING };

struct job {
	int fd;
	uint32_t owner;
	enum job_state state;
};

static struct {
	pthread_mutex_t lock;
	struct job jobs[CLOSER_JOBS_MAX];
	uint32_t used; /* no job is beyond them */
	uint32_t queued;
	uint32_t threads;
	uint32_t busy; /* threads that are in a close */
	uint32_t owners[CLOSER_THREADS_MAX]; /* whose descriptors these close */
} closer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool closer_may_begin(uint32_t owner)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < closer.busy; i++)
		n += closer.owners[i] == owner;
	return n < CLOSER_OWNER_MAX;
}

static void closer_begin(uint32_t owner)
{
	closer.owners[closer.busy++] = owner;
}

static void closer_end(uint32_t owner)
{
	uint32_t i = 0;

	while (closer.owners[i] != owner)
		i++;
	closer.owners[i] = closer.owners[--closer.busy];
}

/* The next job for a thread; NULL: there is none, or only of users that hold up enough threads. */
static struct job *closer_next(void)
{
	for (uint32_t i = 0; closer.queued && i < closer.used; i++) {
		struct job *job = &closer.jobs[i];

		if (job->state == JOB_QUEUED && closer_may_begin(job->owner)) {
			job->state = JOB_CLOSING;
			closer.queued--;
			return job;
		}
	}
	return NULL;
}

static void closer_finish(struct job *job)
{
	job->state = JOB_FREE;
	while (closer.used && closer.jobs[closer.used - 1].state == JOB_FREE)
		closer.used--;
}

static void closer_close(int fd)
{
	struct linger none = {0};

	/* Whatever is no socket refuses this. A socket that others hold as well may be locked by them: we are apart. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

static void *closer_run(void *unused)
{
	struct job *job;

	(void)unused;
	pthread_mutex_lock(&closer.lock);
	while ((job = closer_next())) {
		int fd = job->fd;
		uint32_t owner = job->owner;

		closer_begin(owner);
		pthread_mutex_unlock(&closer.lock);
		closer_close(fd);
		pthread_mutex_lock(&closer.lock);
		closer_end(owner);
		closer_finish(job);
	}
	closer.threads--;
	pthread_mutex_unlock(&closer.lock);
	return NULL;
}

/* If no thread can be started, the next descriptor that is handed over tries again. */
static void closer_need_thread(void)
{
	pthread_t thread;

	if (closer.threads - closer.busy >= closer.queued || closer.threads == CLOSER_THREADS_MAX)
		return;
	if (!adma_thread_start(&thread, "adma-closer", CLOSER_STACK, closer_run, NULL)) {
		closer.threads++;
		pthread_detach(thread);
	}
}

static struct job *closer_free_job(void)
{
	for (uint32_t i = 0; i < closer.used; i++) {
		if (closer.jobs[i].state == JOB_FREE)
			return &closer.jobs[i];
	}
	return closer.used < CLOSER_JOBS_MAX ? &closer.jobs[closer.used++] : NULL;
}

void adma_close_apart(int fd, uint32_t owner)
{
	struct job *job;

	if (fd < 0)
		return;
	pthread_mutex_lock(&closer.lock);
	job = closer_free_job();
	/* Without a place it stays open: that costs a descriptor, and a close here could cost a thread for ever. */
	if (job) {
		*job = (struct job){.fd = fd, .owner = owner, .state = JOB_QUEUED};
		closer.queued++;
	}
	closer_need_thread();
	pthread_mutex_unlock(&closer.lock);
}

uint32_t adma_closing_apart(uint32_t owner)
{
	uint32_t n = 0;

	pthread_mutex_lock(&closer.lock);
	for (uint32_t i = 0; i < closer.used; i++)
		n += closer.jobs[i].state != JOB_FREE && closer.jobs[i].owner == owner;
	pthread_mutex_unlock(&closer.lock);
	return n;
}

void adma_own_close_socket_apart(int *at, const struct adma_own *own, uint32_t owner)
{
	int fd = *at;

	*at = -1;
	if (fd < 0 || !adma_own_is(own, fd))
		return;
	(void)shutdown(fd, SHUT_RDWR);
	adma_close_apart(fd, owner);
}

void adma_closer_before_fork(void)
{
	pthread_mutex_lock(&closer.lock);
}

void adma_closer_after_fork_parent(void)
{
	pthread_mutex_unlock(&closer.lock);
}

void adma_closer_after_fork_child(void)
{
	for (uint32_t i = 0; i < closer.used; i++) {
		if (closer.jobs[i].state == JOB_CLOSING)
			closer.jobs[i].state = JOB_FREE;
	}
	closer.threads = 0;
	closer.busy = 0;
	pthread_mutex_init(&closer.lock, NULL);
}
