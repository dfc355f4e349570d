/* SPDX-License-Identifier: BSD-3-Clause */
/* crew.c - threads that serve, stand by, take over and end; see crew.h. */
#include "progress/crew.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/held_up.h"
#include "base/thread.h"

#define STACK_BYTES (512 << 10)
#define RETRY_NS 1000000000 /* after no thread could be started to stand by */

/* The one crew of this process, for the functions with which its threads begin. */
static struct adma_crew *the_crew;

static void crew_init_conditions(struct adma_crew *crew)
{
	adma_condition_init(&crew->call);
	adma_condition_init(&crew->changed);
}

void adma_crew_init(struct adma_crew *crew)
{
	crew_init_conditions(crew);
	the_crew = crew;
}

void adma_crew_forget(struct adma_crew *crew)
{
	*crew = (struct adma_crew){.registry = crew->registry, .serve = crew->serve, .number = crew->number};
	crew_init_conditions(crew);
}

bool adma_crew_await_change(struct adma_crew *crew, int64_t end)
{
	return adma_condition_wait(&crew->changed, crew->registry, end);
}

/* ---- serving ---- */

/* A thread that was replaced has ended its visit. Nobody joins it. */
static void crew_leave(struct adma_crew *crew, uint32_t number)
{
	if (adma_crew_serves(crew, number))
		return;
	crew->held_up--;
	if (crew->stands_by)
		pthread_cond_signal(&crew->call); /* there is room for another takeover */
}

static void *crew_serve(void *argument)
{
	struct adma_crew *crew = the_crew;
	uint32_t number = (uint32_t)(uintptr_t)argument;

	pthread_mutex_lock(crew->registry);
	crew->serve(number, NULL);
	crew_leave(crew, number);
	pthread_mutex_unlock(crew->registry);
	return NULL;
}

int adma_crew_start(struct adma_crew *crew)
{
	int err = ADMA_FAULT(ADMA_FAULT_PROGRESS_THREAD);

	if (crew->joinable) /* it has ended, and needs nothing that is held here */
		pthread_join(crew->serving, NULL);
	crew->joinable = false;
	if (!err)
		err = adma_thread_start(&crew->serving, "adma-progress", STACK_BYTES, crew_serve,
					(void *)(uintptr_t)(crew->number + 1));
	if (err)
		return err;
	crew->number++;
	crew->visiting = NULL;
	crew->alive = crew->joinable = true;
	return 0;
}

void adma_crew_dismiss(struct adma_crew *crew)
{
	crew->alive = false;
	pthread_cond_signal(&crew->call);
	pthread_cond_broadcast(&crew->changed);
}

/* ---- standing by ---- */

static bool crew_is_held_up(const struct adma_crew *crew)
{
	return crew->visiting && crew->held_up < ADMA_HELD_UP_MAX && adma_is_held_up(crew->since);
}

/* Sleep until a visit may have taken too long. */
static void standby_sleep(struct adma_crew *crew)
{
	int64_t from = crew->visiting && crew->held_up < ADMA_HELD_UP_MAX ? crew->since : adma_now();

	crew->called = crew->visited || crew->visiting;
	crew->visited = false;
	if (crew->called)
		(void)adma_condition_wait(&crew->call, crew->registry, from + ADMA_HELD_UP_NS);
	else
		pthread_cond_wait(&crew->call, crew->registry);
}

/* From now on this thread serves. Returns its number. */
static uint32_t standby_take_over(struct adma_crew *crew)
{
	if (crew->joinable)
		pthread_detach(crew->serving);
	crew->serving = crew->standby;
	crew->joinable = crew->standby_joinable; /* somebody may have let go of it */
	crew->standby_joinable = crew->stands_by = crew->called = false;
	crew->visiting = NULL;
	crew->held_up++;
	crew->takeovers++;
	(void)pthread_setname_np(crew->serving, "adma-progress");
	return ++crew->number;
}

static void *crew_stand_by(void *nothing)
{
	struct adma_crew *crew = the_crew;
	struct adma_progress *held_up;
	uint32_t number;

	pthread_mutex_lock(crew->registry);
	while (crew->alive && !crew_is_held_up(crew))
		standby_sleep(crew);
	if (crew->alive) {
		held_up = crew->visiting;
		number = standby_take_over(crew);
		crew->serve(number, held_up);
		crew_leave(crew, number);
	} else {
		crew->stands_by = crew->called = false;
		pthread_cond_broadcast(&crew->changed);
	}
	pthread_mutex_unlock(crew->registry);
	return nothing;
}

static void crew_post_standby(struct adma_crew *crew)
{
	int64_t now = adma_now();

	if (crew->failed_at && now - crew->failed_at < RETRY_NS)
		return;
	if (crew->standby_joinable) /* it has ended */
		pthread_join(crew->standby, NULL);
	crew->standby_joinable = !adma_thread_start(&crew->standby, "adma-standby", STACK_BYTES, crew_stand_by, NULL);
	crew->stands_by = crew->called = crew->standby_joinable;
	if (!crew->stands_by)
		crew->failed_at = now;
}

/* ---- visits ---- */

void adma_crew_begin_visit(struct adma_crew *crew, struct adma_progress *progress)
{
	crew->visiting = progress;
	crew->visited = true;
	crew->since = adma_now();
	if (!crew->stands_by) {
		crew_post_standby(crew);
	} else if (!crew->called) {
		crew->called = true;
		pthread_cond_signal(&crew->call);
	}
}

void adma_crew_end_visit(struct adma_crew *crew, uint32_t number)
{
	if (adma_crew_serves(crew, number))
		crew->visiting = NULL;
	pthread_cond_broadcast(&crew->changed);
}

/* ---- the end ---- */

/* A thread that this one is to join, or to let go of if it has not ended. */
struct crew_end {
	pthread_t id;
	bool joinable, ended;
};

static void crew_part(const struct crew_end *end)
{
	if (!end->joinable)
		return;
	if (end->ended)
		pthread_join(end->id, NULL);
	else
		pthread_detach(end->id);
}

void adma_crew_await_end(struct adma_crew *crew, int64_t end, bool (*needed)(void))
{
	struct crew_end serving = {0}, standby = {0};

	while ((crew->alive || crew->stands_by) && !needed() && adma_crew_await_change(crew, end))
		;
	if (!needed()) {
		serving = (struct crew_end){crew->serving, crew->joinable, !crew->alive};
		standby = (struct crew_end){crew->standby, crew->standby_joinable, !crew->stands_by};
		crew->joinable = crew->standby_joinable = false;
	}
	pthread_mutex_unlock(crew->registry);
	crew_part(&serving);
	crew_part(&standby);
}
