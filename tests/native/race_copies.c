/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * race_copies.c - threads that post, wait for, check and cancel copies, their own and each other's,
 * while another thread configures, stops and queries the engine, and forks.
 *
 * Each thread has a memory of its own, in which its copies conflict in every way. When they are
 * all complete, it is compared with a model that makes them one after the other. So this program
 * finds a part that is lost or copied twice, a wrong order, and a copy that was made although it
 * was cancelled. ThreadSanitizer finds accesses without any order. Now and then one thread has the
 * engine to itself, because only copies that are alone are spread as was learnt.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "adma_copy.h"
#include "race.h"
#include "copy/schedule.h"
#include "copy/spread.h"

#define THREADS 4
#define MEMORY (600u << 10)
#define POSTS 40
#define BOARD 16
#define SLICE_NS 2000000

/* A copy, and what the model has to know about it. */
struct job {
	struct adma_copy copy;
	struct adma_dim dims[2];
	uint64_t dst, src, width, rows, dst_step, src_step;
	uint32_t users; /* how many other threads use it; guarded by the board's lock */
	bool now;       /* adma_copy_now() made it */
};

struct poster {
	unsigned long long seed;
	uint8_t *memory, *model, *scratch;
	struct job jobs[POSTS];
	uint32_t posted;
	uint64_t cancelled, done;
};

/* Copies of all threads, which the others wait for, check and cancel. */
static struct {
	pthread_mutex_t lock;
	struct job *jobs[BOARD];
} board = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct poster posters[THREADS];
/* Held exclusively by a thread that has the engine to itself. */
static pthread_rwlock_t turns = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static _Atomic uint64_t limited, recut; /* copies for fewer workers than there are, and with other parts */

/* Cores are always said to suffice: where they do not, nothing is learnt. */
bool __wrap_adma_cpu_was_oversubscribed(int64_t now);
bool __wrap_adma_cpu_was_oversubscribed(int64_t now)
{
	(void)now;
	return false;
}
static int64_t until;

/* ---- the board ---- */

static void show(struct job *job, unsigned long long *seed)
{
	pthread_mutex_lock(&board.lock);
	board.jobs[below(seed, BOARD)] = job;
	pthread_mutex_unlock(&board.lock);
}

static struct job *borrow(unsigned long long *seed)
{
	struct job *job;

	pthread_mutex_lock(&board.lock);
	job = board.jobs[below(seed, BOARD)];
	if (job)
		job->users++;
	pthread_mutex_unlock(&board.lock);
	return job;
}

static void give_back(struct job *job)
{
	pthread_mutex_lock(&board.lock);
	job->users--;
	pthread_mutex_unlock(&board.lock);
}

static void take_down(struct job *job)
{
	bool used = true;

	while (used) {
		pthread_mutex_lock(&board.lock);
		for (int i = 0; i < BOARD; i++)
			if (board.jobs[i] == job)
				board.jobs[i] = NULL;
		used = job->users;
		pthread_mutex_unlock(&board.lock);
		if (used)
			sched_yield();
	}
}

/* ---- posting ---- */

static void draw_job(struct poster *w, struct job *job)
{
	static const uint64_t widths[] = {1, 8, 100, 5000, 16384, 16385, 131072, 200000};
	uint64_t base, room;

	memset(job, 0, sizeof(*job));
	job->rows = below(&w->seed, 3) ? 1 : 2 + below(&w->seed, 60);
	job->width = job->rows > 1 ? 1 + below(&w->seed, 3000) : widths[below(&w->seed, 8)];
	job->dst_step = job->width + below(&w->seed, 500);
	job->src_step = below(&w->seed, 2) ? job->dst_step : job->width + below(&w->seed, 500);
	room = (job->rows - 1) * (job->dst_step > job->src_step ? job->dst_step : job->src_step) + job->width;
	REQUIRE(room < MEMORY);
	base = below(&w->seed, MEMORY - room);
	job->dst = below(&w->seed, 3) ? base : below(&w->seed, MEMORY - room);
	job->src = base + below(&w->seed, 1 + (room < MEMORY - room - base ? room : MEMORY - room - base));
}

/* One that does not overlap itself, and is long enough for several parts. */
static void draw_long_job(struct poster *w, struct job *job)
{
	bool up = below(&w->seed, 2);

	memset(job, 0, sizeof(*job));
	job->rows = 1;
	job->width = MEMORY / 4 + below(&w->seed, MEMORY / 4);
	job->dst = up ? MEMORY / 2 : 0;
	job->src = up ? 0 : MEMORY / 2;
}

static void plan(struct poster *w, struct job *job)
{
	uint8_t *dst = w->memory + job->dst, *src = w->memory + job->src;

	if (job->rows == 1) {
		adma_plan_bytes(&job->copy.plan, dst, src, job->width);
		return;
	}
	job->dims[0] = (struct adma_dim){job->rows, (int64_t)job->dst_step, (int64_t)job->src_step};
	REQUIRE(!adma_plan_strided(&job->copy.plan, dst, src, job->width, job->dims, 1));
}

static void hand_over(struct poster *w, struct job *job)
{
	int rc;

	plan(w, job);
	do {
		rc = adma_copy_post(&job->copy);
		if (rc == -EAGAIN)
			(void)adma_copy_wait_room(SLICE_NS);
	} while (rc == -EAGAIN);
	REQUIRE(rc == 0 || rc == 1);
}

static void post(struct poster *w)
{
	struct job *job = &w->jobs[w->posted++];

	draw_job(w, job);
	if (job->rows == 1 && job->width <= 16384 && below(&w->seed, 2)) {
		job->now = !adma_copy_now(w->memory + job->dst, w->memory + job->src, job->width);
		if (job->now)
			return;
	}
	hand_over(w, job);
	if (below(&w->seed, 2))
		show(job, &w->seed);
}

/* ---- meddling ---- */

static void see(struct job *job, int rc)
{
	REQUIRE(rc == 0 || rc == 1);
	REQUIRE(!rc || adma_copy_done(&job->copy));
}

static void meddle(unsigned long long *seed, struct job *job)
{
	switch (below(seed, 4)) {
	case 0:
		see(job, adma_copy_check(&job->copy));
		break;
	case 1:
		see(job, adma_copy_wait_one(&job->copy, (int64_t)below(seed, 200000)));
		break;
	case 2:
		see(job, adma_copy_wait_one(&job->copy, 0));
		break;
	default:
		if (!below(seed, 3) && adma_copy_cancel(&job->copy))
			REQUIRE(adma_copy_done(&job->copy) && job->copy.error == ECANCELED);
	}
}

static void meddle_with_others(struct poster *w)
{
	struct job *job = borrow(&w->seed);

	if (!job)
		return;
	meddle(&w->seed, job);
	give_back(job);
}

/* Some of our own together: at least `need` are done then. */
static void wait_for_some(struct poster *w)
{
	struct adma_copy *some[POSTS];
	uint64_t n = 0, need, ready = 0;
	int64_t hang = adma_now() + HANG_NS;

	for (uint32_t i = 0; i < w->posted; i++)
		if (!w->jobs[i].now && below(&w->seed, 2))
			some[n++] = &w->jobs[i].copy;
	if (!n)
		return;
	need = 1 + below(&w->seed, n);
	while (!adma_copy_wait(some, n, need, SLICE_NS))
		REQUIRE(adma_now() < hang);
	for (uint64_t i = 0; i < n; i++)
		ready += adma_copy_done(some[i]);
	REQUIRE(ready >= need);
}

/* Wait as a thread does that waits for channels as well: by a descriptor of its own. */
static void wait_by_signal(struct poster *w, struct job *job)
{
	struct adma_copy_signal signal;
	struct adma_copy *copy = &job->copy;
	int64_t hang = adma_now() + HANG_NS;

	if (job->now)
		return;
	REQUIRE(!adma_copy_signal_open(&signal));
	for (;;) {
		struct pollfd fd = {.fd = signal.fd, .events = POLLIN};
		struct adma_engine_state state;

		adma_copy_signal_arm(&signal);
		if (adma_copy_wait(&copy, 1, 1, 0))
			break;
		adma_engine_look(&state);
		/* The workers end while this thread sleeps only if no copy is outstanding. */
		REQUIRE(poll(&fd, 1, state.running ? 10000 : 0) == 1 || !state.running);
		REQUIRE(adma_now() < hang);
	}
	adma_copy_signal_close(&signal);
	w->done++;
}

/* ---- the end of a round ---- */

static void finish(struct poster *w)
{
	int64_t hang = adma_now() + HANG_NS;

	for (uint32_t i = 0; i < w->posted; i++) {
		struct job *job = &w->jobs[i];

		while (!job->now && !adma_copy_wait_one(&job->copy, SLICE_NS))
			REQUIRE(adma_now() < hang);
		take_down(job);
	}
}

static void model(struct poster *w, const struct job *job)
{
	for (uint64_t row = 0; row < job->rows; row++)
		memcpy(w->scratch + row * job->width, w->model + job->src + row * job->src_step, job->width);
	for (uint64_t row = 0; row < job->rows; row++)
		memcpy(w->model + job->dst + row * job->dst_step, w->scratch + row * job->width, job->width);
}

static void compare(struct poster *w)
{
	for (uint32_t i = 0; i < w->posted; i++) {
		const struct job *job = &w->jobs[i];

		REQUIRE(job->now || !job->copy.error || job->copy.error == ECANCELED);
		if (job->now || !job->copy.error)
			model(w, job);
		else
			w->cancelled++;
		w->done++;
	}
	REQUIRE(!memcmp(w->memory, w->model, MEMORY));
	w->posted = 0;
}

/* Each copy is alone, and most callers wait. */
static void work_alone(struct poster *w)
{
	struct adma_engine_state state;

	pthread_rwlock_wrlock(&turns);
	while (w->posted < POSTS) {
		struct job *job = &w->jobs[w->posted++];
		int64_t hang = adma_now() + HANG_NS;
		bool polls = !below(&w->seed, 8);

		draw_long_job(w, job);
		hand_over(w, job);
		while (!(polls ? adma_copy_check(&job->copy) : adma_copy_wait_one(&job->copy, SLICE_NS)))
			REQUIRE(adma_now() < hang);
		adma_engine_look(&state);
		limited += job->copy.queues < state.running;
		recut += job->copy.plan.part_bytes != ADMA_PART_BYTES;
	}
	finish(w);
	compare(w);
	pthread_rwlock_unlock(&turns);
}

static void *work(void *argument)
{
	struct poster *w = argument;

	while (adma_now() < until) {
		if (!below(&w->seed, 3))
			work_alone(w);
		pthread_rwlock_rdlock(&turns);
		while (w->posted < POSTS) {
			post(w);
			if (!below(&w->seed, 3))
				meddle_with_others(w);
			if (!below(&w->seed, 20))
				wait_for_some(w);
			if (!below(&w->seed, 20))
				wait_by_signal(w, &w->jobs[below(&w->seed, w->posted)]);
			if (!below(&w->seed, 4)) {
				struct job *job = &w->jobs[below(&w->seed, w->posted)];

				if (!job->now)
					meddle(&w->seed, job);
			}
		}
		finish(w);
		compare(w);
		pthread_rwlock_unlock(&turns);
	}
	return NULL;
}

/* ---- the thread that changes the engine ---- */

static void configure(unsigned long long *seed)
{
	struct adma_engine_config config = {
		.engine = below(seed, 4) ? ADMA_ENGINE_THREAD : ADMA_ENGINE_CALLER,
		.queues = 1 + (uint32_t)below(seed, 4),
		.policy = below(seed, 2) ? ADMA_ADAPTIVE : ADMA_ROUND_ROBIN,
		.callers_help = below(seed, 2),
		.at_once = below(seed, 2) ? 16384 : 0,
		.learns = below(seed, 4),
	};
	/* It fails while copies are outstanding, and others post all the time. */
	for (int i = 0; i < 200; i++) {
		int rc = adma_engine_configure(&config);

		REQUIRE(rc == 0 || rc == -EBUSY);
		if (!rc)
			return;
		(void)adma_engine_drain(SLICE_NS / 4);
	}
}

/* Something that another process may have learnt. */
static void teach(unsigned long long *seed)
{
	struct adma_spread found[8];
	struct adma_spread spread = {
		.size_class = 9 + (uint32_t)below(seed, 8),
		.waits = below(seed, 4) > 0,
		.queues = 1 + (uint32_t)below(seed, 2),
		.size = (uint32_t)below(seed, 2),
		.chosen = 1,
		.ns_per_mib = 100000,
	};

	(void)adma_engine_take_up(&spread);
	REQUIRE(adma_engine_learnt(found, 8) >= 0);
}

/* At least here copies are made over fewer workers than there are. */
static void begin(void)
{
	struct adma_engine_config config = {
		.engine = ADMA_ENGINE_THREAD, .queues = 4, .callers_help = true, .learns = true};
	int64_t hang = adma_now() + HANG_NS;

	REQUIRE(!adma_engine_configure(&config));
	for (uint32_t class = 9; class < 17; class++) {
		struct adma_spread spread = {
			.size_class = class, .waits = 1, .queues = 1, .chosen = 1, .ns_per_mib = 100000};

		REQUIRE(!adma_engine_take_up(&spread));
	}
	while (!limited) {
		work_alone(&posters[0]);
		REQUIRE(adma_now() < hang);
	}
}

static void fail_threads(unsigned long long *seed)
{
	(void)adma_fault_arm(ADMA_FAULT_THREAD, ADMA_FAULT_FAIL, EAGAIN, 1 + (int)below(seed, 3));
}

/* ThreadSanitizer does not check the child, because it does not follow a fork of a process with threads. */
static void make_child(void)
{
	static uint8_t from[40000], to[40000];
	struct adma_engine_config config = {.engine = ADMA_ENGINE_CALLER, .callers_help = true};
	struct adma_copy copy = {0}, *parents = &posters[0].jobs[0].copy;
	int status;
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid) {
		int rc = adma_copy_check(parents);

		if (rc < 0 && adma_copy_cancel(parents))
			_exit(1);
		if (adma_engine_configure(&config))
			_exit(2);
		memset(from, 7, sizeof(from));
		adma_plan_bytes(&copy.plan, to, from, sizeof(to));
		if (adma_copy_post(&copy) != 1 || !adma_copy_wait_one(&copy, HANG_NS))
			_exit(3);
		_exit(memcmp(to, from, sizeof(to)) ? 4 : 0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	if (status)
		fprintf(stderr, "the child ended with %#x\n", (unsigned int)status);
	REQUIRE(!status);
}

static void *govern(void *argument)
{
	unsigned long long *seed = argument;
	struct adma_engine_stats stats;
	struct adma_engine_state state;

	while (adma_now() < until) {
		switch (below(seed, 8)) {
		case 0:
			fail_threads(seed);
			break;
		case 1:
			if (!below(seed, 8))
				make_child();
			break;
		case 2:
			(void)adma_engine_stop();
			break;
		case 3:
			(void)adma_fault_arm(ADMA_FAULT_CHUNK, ADMA_FAULT_DELAY, 2000, 1 + (int)below(seed, 9));
			break;
		default:
			configure(seed);
			for (int i = 0; i < 20; i++)
				teach(seed);
		}
		adma_engine_get_stats(&stats);
		adma_engine_look(&state);
		REQUIRE(state.running <= 4);
		usleep(2000); /* let the others copy for a while */
	}
	return NULL;
}

/* Copies are outstanding when the workers end for good: callers make them. */
static void end(void)
{
	struct poster *w = &posters[0];

	for (; w->posted < POSTS;)
		post(w);
	REQUIRE(!adma_engine_end());
	finish(w);
	compare(w);
	for (int i = 0; i < 5; i++)
		post(w);
	finish(w);
	compare(w);
}

int main(int argc, char **argv)
{
	unsigned long long seed = 20250304;
	pthread_t threads[THREADS + 1];
	struct adma_engine_stats stats;
	uint64_t done = 0, cancelled = 0;

	for (int i = 0; i < THREADS; i++) {
		struct poster *w = &posters[i];

		w->seed = 20250305 + (unsigned int)i;
		w->memory = malloc(MEMORY);
		w->model = malloc(MEMORY);
		w->scratch = malloc(MEMORY);
		for (uint32_t k = 0; k < MEMORY; k++)
			w->memory[k] = w->model[k] = (uint8_t)draw(&w->seed);
	}
	begin();
	until = end_of_run(argc, argv);
	for (int i = 0; i < THREADS; i++)
		start(&threads[i], work, &posters[i]);
	start(&threads[THREADS], govern, &seed);
	for (int i = 0; i <= THREADS; i++)
		join(threads[i]);
	end();
	for (int i = 0; i < THREADS; i++) {
		done += posters[i].done;
		cancelled += posters[i].cancelled;
		free(posters[i].memory);
		free(posters[i].model);
		free(posters[i].scratch);
	}
	adma_engine_get_stats(&stats);
	REQUIRE(!stats.outstanding && !stats.in_line);
	REQUIRE(cancelled && stats.held_back && stats.parts_queues && stats.parts_callers && stats.at_once);
	printf("copies: %llu done, %llu cancelled, %llu held back, %llu over fewer queues, %llu in other parts; "
	       "parts %llu by workers and %llu by callers\n",
	       (unsigned long long)done, (unsigned long long)cancelled, (unsigned long long)stats.held_back,
	       (unsigned long long)limited, (unsigned long long)recut, (unsigned long long)stats.parts_queues,
	       (unsigned long long)stats.parts_callers);
	return 0;
}
