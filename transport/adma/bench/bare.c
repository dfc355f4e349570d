// SPDX-License-Identifier: BSD-3-Clause
/*
 * Ping-pongs without a library: what a machine gives to whoever passes messages between processes.
 *
 * Two processes map a `struct bare_shared`. Each also has a `struct bare_end` of its own, which Python
 * fills in. The loops spin without limit, know both buffers before, and check nothing: so they are
 * limits, and no way to pass messages. bare.py compiles this file when a benchmark starts.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>

#define PAIR 128 /* bytes: cache lines are fetched in pairs */
#define RING (1 << 20)
#define PIECES_MAX 8
#define SPINS 20000 /* before others get the core, if there are any */
#define THREADS_MAX 64

/* A counter that one end writes and the other one reads, alone in its cache lines. */
struct word {
	_Alignas(PAIR) _Atomic uint64_t value;
	uint64_t payload;
};

/* One direction. */
struct way {
	struct word sent; /* messages */
	struct word taken;
	struct word claimed; /* chunks */
	struct word copied;
	struct word produced; /* pieces in the ring */
	struct word consumed;
	_Alignas(PAIR) unsigned char ring[RING];
};

struct bare_shared {
	struct way way[2]; /* by the rank that sends */
};

enum bare_how { BARE_LINE, BARE_COPIER, BARE_CLAIM, BARE_SHARED };

struct bare_end {
	struct bare_shared *shared;
	void *out, *into;
	void *peer_out, *peer_into;
	uint64_t size, chunk;
	int32_t rank, pid; /* its own rank, and the peer's process */
	int32_t how, unused;
	uint64_t messages[2], chunks[2], pieces[2]; /* so far, by direction */
};

typedef int bare_write(void *chan, uint16_t kind, const void *p, uint64_t n);
typedef int64_t bare_read(void *chan, uint16_t kind, void *p, uint64_t n, int64_t spin_ns);

static void relax(uint64_t *spins)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
	if (++*spins % SPINS == 0)
		sched_yield();
}

/* What the other end wrote before it made the word this large is seen from here on. */
static void await(struct word *word, uint64_t least)
{
	uint64_t spins = 0;

	while (atomic_load_explicit(&word->value, memory_order_acquire) < least)
		relax(&spins);
}

static void publish(struct word *word, uint64_t value)
{
	atomic_store_explicit(&word->value, value, memory_order_release);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

typedef ssize_t copy_call(pid_t pid, const struct iovec *local, unsigned long locals, const struct iovec *remote,
			  unsigned long remotes, unsigned long flags);

/* Copy by the kernel, in as many calls as it takes. Returns 0 or an errno. */
static int copy_across(copy_call *call, int pid, void *local, void *remote, uint64_t n)
{
	while (n > 0) {
		struct iovec here = {local, n}, there = {remote, n};
		ssize_t done = call(pid, &here, 1, &there, 1, 0);

		if (done <= 0)
			return done < 0 ? errno : EIO;
		local = (char *)local + done;
		remote = (char *)remote + done;
		n -= (uint64_t)done;
	}
	return 0;
}

static int pull(struct bare_end *end, uint64_t at, uint64_t n)
{
	return copy_across(process_vm_readv, end->pid, (char *)end->into + at, (char *)end->peer_out + at, n);
}

static int push(struct bare_end *end, uint64_t at, uint64_t n)
{
	return copy_across(process_vm_writev, end->pid, (char *)end->out + at, (char *)end->peer_into + at, n);
}

/* Both ends copy: each takes the next chunk, until none is left, and waits for those of the other. */
static int claim_all(struct bare_end *end, struct way *way, int direction,
		     int copy(struct bare_end *end, uint64_t at, uint64_t n))
{
	uint64_t first = end->chunks[direction];
	uint64_t last = first + (end->size + end->chunk - 1) / end->chunk;
	uint64_t next = atomic_load_explicit(&way->claimed.value, memory_order_relaxed);
	int rc = 0;

	end->chunks[direction] = last;
	while (next < last) {
		uint64_t at, n;

		if (!atomic_compare_exchange_weak_explicit(&way->claimed.value, &next, next + 1, memory_order_relaxed,
							   memory_order_relaxed))
			continue;
		at = (next - first) * end->chunk;
		n = end->size - at < end->chunk ? end->size - at : end->chunk;
		if (!rc)
			rc = copy(end, at, n);
		atomic_fetch_add_explicit(&way->copied.value, 1, memory_order_acq_rel);
		next = atomic_load_explicit(&way->claimed.value, memory_order_relaxed);
	}
	await(&way->copied, last);
	return rc;
}

static uint64_t piece_of(const struct bare_end *end)
{
	return end->chunk < RING / PIECES_MAX ? end->chunk : RING / PIECES_MAX;
}

static void ring_fill(struct bare_end *end, struct way *way, int direction)
{
	uint64_t piece = piece_of(end), n;

	for (uint64_t at = 0; at < end->size; at += n) {
		uint64_t number = end->pieces[direction]++;

		n = end->size - at < piece ? end->size - at : piece;
		if (number >= PIECES_MAX)
			await(&way->consumed, number - PIECES_MAX + 1);
		memcpy(way->ring + number % PIECES_MAX * (RING / PIECES_MAX), (char *)end->out + at, n);
		publish(&way->produced, number + 1);
	}
}

static void ring_drain(struct bare_end *end, struct way *way, int direction)
{
	uint64_t piece = piece_of(end), n;

	for (uint64_t at = 0; at < end->size; at += n) {
		uint64_t number = end->pieces[direction]++;

		n = end->size - at < piece ? end->size - at : piece;
		await(&way->produced, number + 1);
		memcpy((char *)end->into + at, way->ring + number % PIECES_MAX * (RING / PIECES_MAX), n);
		publish(&way->consumed, number + 1);
	}
}

static int message_send(struct bare_end *end)
{
	int direction = end->rank;
	struct way *way = &end->shared->way[direction];
	uint64_t number = ++end->messages[direction];

	if (end->how == BARE_SHARED) {
		ring_fill(end, way, direction);
		return 0;
	}
	if (end->how == BARE_LINE)
		memcpy(&way->sent.payload, end->out, sizeof(way->sent.payload));
	publish(&way->sent, number);
	if (end->how == BARE_COPIER)
		await(&way->taken, number);
	return end->how == BARE_CLAIM ? claim_all(end, way, direction, push) : 0;
}

static int message_receive(struct bare_end *end)
{
	int direction = 1 - end->rank, rc;
	struct way *way = &end->shared->way[direction];
	uint64_t number = ++end->messages[direction];

	if (end->how == BARE_SHARED) {
		ring_drain(end, way, direction);
		return 0;
	}
	await(&way->sent, number);
	if (end->how == BARE_LINE) {
		memcpy(end->into, &way->sent.payload, sizeof(way->sent.payload));
		return 0;
	}
	if (end->how == BARE_CLAIM)
		return claim_all(end, way, direction, pull);
	rc = pull(end, 0, end->size);
	publish(&way->taken, number);
	return rc;
}

/* ---- for Python ---- */

/* How much memory both ends have to share. */
uint64_t bare_shared_size(void)
{
	return sizeof(struct bare_shared);
}

/* What Python has to fill in. */
uint64_t bare_end_size(void)
{
	return sizeof(struct bare_end);
}

/* Lets the process `pid` access the memory of this one, where Yama asks for that. */
void bare_allow(int pid)
{
	prctl(PR_SET_PTRACER, (unsigned long)pid, 0, 0, 0);
}

/* `count` round trips, begun by rank 0. Returns the nanoseconds they took; a negative errno. */
int64_t bare_pingpong(struct bare_end *end, uint64_t count)
{
	int64_t begin = now_ns();
	int rc = 0;

	for (uint64_t i = 0; i < count; i++) {
		int first = end->rank == 0 ? message_send(end) : message_receive(end);
		int second = end->rank == 0 ? message_receive(end) : message_send(end);

		/* The loop goes on, so that the other end does not wait for ever. */
		if (!rc)
			rc = first ? first : second;
	}
	return rc ? -(int64_t)rc : now_ns() - begin;
}

/* The same by two functions of a library, which say `not_now` where they have to be called again. */
int64_t bare_calls(void *chan, bare_write *write, bare_read *read, uint16_t kind, int not_now, int rank, void *buffer,
		   uint64_t n, uint64_t count)
{
	int64_t begin = now_ns();
	uint64_t turns = 2 * count;

	for (uint64_t i = 0; i < turns; i++) {
		int64_t rc;

		do
			rc = i % 2 == (uint64_t)rank ? write(chan, kind, buffer, n) : read(chan, kind, buffer, n, -1);
		while (rc == not_now);
		if (rc < 0)
			return rc;
	}
	return now_ns() - begin;
}

enum start { START_WAIT, START_GO, START_GIVE_UP };

struct job {
	_Atomic int *start;
	char *dst;
	const char *src;
	uint64_t n;
	int64_t end;
};

static void *job_run(void *opaque)
{
	struct job *job = opaque;
	uint64_t spins = 0;
	int start;

	while ((start = atomic_load_explicit(job->start, memory_order_acquire)) == START_WAIT)
		relax(&spins);
	if (start == START_GO)
		memcpy(job->dst, job->src, job->n);
	job->end = now_ns();
	return NULL;
}

/*
 * Copies by so many threads, each an equal part; the caller is one of them. Returns the nanoseconds
 * until the last one was done, without those that it took to make them; or a negative errno.
 */
int64_t bare_threads(void *dst, const void *src, uint64_t n, unsigned int threads)
{
	_Atomic int start = START_WAIT;
	pthread_t others[THREADS_MAX];
	struct job jobs[THREADS_MAX];
	unsigned int made = 1;
	uint64_t part;
	int64_t begin, end;
	int rc = 0;

	if (threads == 0 || threads > THREADS_MAX)
		return -EINVAL;
	part = n / threads;
	for (unsigned int i = 0; i < threads; i++) {
		uint64_t at = i * part;

		jobs[i] = (struct job){&start, (char *)dst + at, (const char *)src + at, part, 0};
		if (i + 1 == threads)
			jobs[i].n = n - at;
	}
	for (; made < threads && !rc; made += !rc)
		rc = pthread_create(&others[made], NULL, job_run, &jobs[made]);
	begin = now_ns();
	atomic_store_explicit(&start, rc ? START_GIVE_UP : START_GO, memory_order_release);
	job_run(&jobs[0]);
	end = jobs[0].end;
	for (unsigned int i = 1; i < made; i++) {
		pthread_join(others[i], NULL);
		end = jobs[i].end > end ? jobs[i].end : end;
	}
	return rc ? -(int64_t)rc : end - begin;
}
