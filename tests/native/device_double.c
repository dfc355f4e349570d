// SPDX-License-Identifier: BSD-3-Clause
/*
 * device_double.c - a test double of /dev/adma: threads that copy in any order, completion entries that
 * they store the results in, and a descriptor that becomes readable when a copy completes, as the
 * kernel's does.
 */
#include "device_double.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kdev/device.h"

#define ENGINES 3

struct job {
	void *dst;
	const void *src;
	uint64_t length;
	uint32_t entry, generation;
	int status;
	struct job *next;
};

static struct adma_device_entry entries[ADMA_DEVICE_ENTRIES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t posted = PTHREAD_COND_INITIALIZER;
static struct job *jobs;
static int event = -1; /* our own descriptor of the eventfd: the engine may close its one while a thread here writes */
static unsigned int trouble, dice = 1;

void test_device_trouble(unsigned int one_in)
{
	pthread_mutex_lock(&lock);
	trouble = one_in;
	pthread_mutex_unlock(&lock);
}

static struct job *next_job(void)
{
	struct job *job;

	pthread_mutex_lock(&lock);
	while (!jobs)
		pthread_cond_wait(&posted, &lock);
	job = jobs;
	jobs = job->next;
	pthread_mutex_unlock(&lock);
	return job;
}

static void *copy_jobs(void *unused)
{
	uint64_t one = 1;

	for (;;) {
		struct job *job = next_job();

		if (job->status)
			memset(job->dst, 0xee, job->length / 2); /* a part of it was copied */
		else
			memcpy(job->dst, job->src, job->length);
		entries[job->entry].length = job->length;
		atomic_store_explicit(&entries[job->entry].state,
				      (uint64_t)job->generation << 32 | (uint32_t)job->status, memory_order_release);
		pthread_mutex_lock(&lock);
		(void)!write(event, &one, sizeof(one));
		pthread_mutex_unlock(&lock);
		free(job);
	}
	return unused;
}

static void start_engines(void)
{
	for (int i = 0; i < ENGINES; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, copy_jobs, NULL))
			abort();
	}
}

int adma_device_open(const char *path, struct adma_device_limits *limits)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int device;

	(void)path;
	memset(entries, 0, sizeof(entries)); /* a descriptor has entries of its own */
	pthread_mutex_lock(&lock);
	if (event >= 0)
		close(event);
	event = eventfd(0, EFD_NONBLOCK);
	device = dup(event);
	pthread_mutex_unlock(&lock);
	pthread_once(&once, start_engines);
	*limits = (struct adma_device_limits){.shortest = 4096, .longest = 1 << 20};
	return device;
}

int adma_device_map(int fd, const struct adma_device_entry **mapped)
{
	(void)fd;
	*mapped = entries;
	return 0;
}

void adma_device_unmap(const struct adma_device_entry *mapped)
{
	(void)mapped;
}

/* With the lock held. 0, or the errno with which the command fails (> 0), or the copy (< 0). */
static int draw_failure(void)
{
	static const int some[] = {ENOMEM, EDQUOT, EOPNOTSUPP, ENODEV, -EOPNOTSUPP, -ENOMEM};

	if (!trouble || rand_r(&dice) % trouble)
		return 0;
	return some[(unsigned int)rand_r(&dice) % (sizeof(some) / sizeof(some[0]))];
}

int adma_device_copy(int fd, void *dst, const void *src, uint64_t n, uint32_t entry, uint32_t generation)
{
	struct job *job = malloc(sizeof(*job)), **at = &jobs;
	int error;

	(void)fd;
	if (!job || atomic_load(&entries[entry].state) >> 32 == generation ||
	    (uint32_t)atomic_load(&entries[entry].state) == ADMA_DEVICE_PENDING)
		abort(); /* an entry is used again only after its copy is complete */
	pthread_mutex_lock(&lock);
	error = draw_failure();
	if (error <= 0) {
		*job = (struct job){dst, src, n, entry, generation, error, NULL};
		atomic_store(&entries[entry].state, adma_device_pending(generation));
		for (int behind = rand_r(&dice) % 4; *at && behind; behind--)
			at = &(*at)->next;
		job->next = *at;
		*at = job;
		pthread_cond_signal(&posted);
	}
	pthread_mutex_unlock(&lock);
	if (error <= 0)
		return 0;
	free(job);
	return -error;
}

int adma_device_cancel(int fd, uint32_t entry, uint32_t generation)
{
	(void)fd, (void)entry, (void)generation;
	return -EBUSY; /* a copy cannot be cancelled once it is posted */
}

/* ---- there are no pairs of descriptors here ---- */

int adma_device_peek(int fd, struct adma_device_message *message)
{
	(void)fd, (void)message;
	return -EAGAIN;
}

int adma_device_post(int fd, const struct adma_device_post *post)
{
	(void)fd, (void)post;
	return -ENOTCONN;
}

bool adma_device_keeps_times(int fd)
{
	(void)fd;
	return false;
}

int adma_device_times(int fd, uint32_t entry, uint32_t generation, struct adma_device_times *times)
{
	(void)fd, (void)entry, (void)generation, (void)times;
	return -ENOENT;
}

int adma_device_progress(int fd, uint32_t entry, uint32_t generation, uint64_t *copied)
{
	(void)fd, (void)entry, (void)generation, (void)copied;
	return 0;
}
