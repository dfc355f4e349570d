/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_spin.c - a spin that something else than a message ends was not in vain: the wait that follows spins again. A peer
 * signals room in its ring, for example, and is awake then. And whoever is bound to a core spins for peers on other cores.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/channel.h"
#include "pair.h"
#include "progress/spin.h"
#include "race.h"
#include "shm/eventcount.h"
#include "shm/layout.h"

#define CALLS 2000

static _Atomic bool over;

static void *signal_on_and_on(void *event_count)
{
	while (!atomic_load(&over))
		(void)adma_ec_signal(event_count);
	return NULL;
}

static void what_a_signal_ends_was_not_in_vain(struct adma_chan **ends, struct adma_segment **segments)
{
	int again = 0;
	pthread_t thread;
	char byte;

	REQUIRE(!pthread_create(&thread, NULL, signal_on_and_on, &segments[0]->event_count));
	for (int i = 0; i < CALLS; i++) {
		atomic_store(&ends[0]->progress.waiters.vain_at, 0);
		REQUIRE(adma_read_now(ends[0], ADMA_BYTES, &byte, 1, -1) == -ADMA_E_PENDING);
		again += !atomic_load(&ends[0]->progress.waiters.vain_at);
	}
	atomic_store(&over, true);
	REQUIRE(!pthread_join(thread, NULL));
	REQUIRE(again > CALLS / 10);
}

/* ---- a thread that is bound to a core ---- */

static void bind(pid_t pid, int core)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(core, &one);
	REQUIRE(!sched_setaffinity(pid, sizeof(one), &one));
}

/* Wait in vain for a message, with and without a request. Did the thread spin? */
static bool spins(struct adma_chan *end)
{
	struct adma_req req = {.kind = ADMA_BYTES, .is_read = 1};
	bool spun;
	char byte;

	atomic_store(&end->progress.waiters.vain_at, 0);
	REQUIRE(adma_read_now(end, ADMA_BYTES, &byte, 1, -1) == -ADMA_E_PENDING);
	spun = atomic_load(&end->progress.waiters.vain_at);
	atomic_store(&end->progress.waiters.vain_at, 0);
	REQUIRE(adma_run(end, &req, &byte, 1) == -ADMA_E_PENDING);
	REQUIRE(adma_cancel(end, &req) == 1);
	return spun;
}

static void until_it_spins(struct adma_chan *end, bool spins_then)
{
	int64_t hang = adma_now() + HANG_NS;

	while (spins(end) != spins_then)
		REQUIRE(adma_now() < hang);
}

/* It spins for a peer on another core, and not for one on its own core, wherever that one was before. */
static void whoever_is_bound_spins_for_other_cores(struct adma_segment **segments, const struct adma_nonce *nonce)
{
	struct adma_config configs[ENDS];
	struct adma_chan *ends[ENDS];
	int core = sched_getcpu(), other = 0;
	cpu_set_t all;
	pid_t peer;

	REQUIRE(!sched_getaffinity(0, sizeof(all), &all));
	while (other < CPU_SETSIZE && (other == core || !CPU_ISSET(other, &all)))
		other++;
	peer = fork();
	REQUIRE(peer >= 0);
	if (!peer)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!peer)
		(void)pause();
	bind(0, core);
	bind(peer, core);
	make_configs(configs, segments, nonce, 0);
	for (int i = 0; i < ENDS; i++) {
		configs[i].pid = peer;
		REQUIRE(!adma_chan_new(&configs[i], &ends[i]));
	}
	until_it_spins(ends[0], false); /* how many cores a thread has is asked anew after a while only */
	for (int i = 0; i < CALLS / 10; i++)
		REQUIRE(!spins(ends[0]));
	if (other < CPU_SETSIZE) {
		bind(peer, other);
		until_it_spins(ends[0], true);
		bind(peer, core);
		until_it_spins(ends[0], false);
	}
	REQUIRE(!sched_setaffinity(0, sizeof(all), &all));
	REQUIRE(!kill(peer, SIGKILL) && waitpid(peer, NULL, 0) == peer);
	for (int i = 0; i < ENDS; i++)
		adma_chan_free(ends[i]);
}

int main(void)
{
	struct adma_nonce *nonce = adma_nonce_new();
	struct adma_segment *segments[ENDS] = {make_segment(), make_segment()};
	struct adma_chan *ends[ENDS];

	REQUIRE(nonce);
	make_ends(ends, segments, nonce, 0);
	what_a_signal_ends_was_not_in_vain(ends, segments);
	for (int i = 0; i < ENDS; i++)
		adma_chan_free(ends[i]);
	for (int i = 0; i < ENDS; i++) {
		free_segment(segments[i]);
		segments[i] = make_segment();
	}
	whoever_is_bound_spins_for_other_cores(segments, nonce);
	for (int i = 0; i < ENDS; i++)
		free_segment(segments[i]);
	adma_nonce_free(nonce);
	puts("spin: what a signal ends was not in vain, and a core of one's own is enough");
	return 0;
}
