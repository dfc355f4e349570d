/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_spin.c - a spin that something else than a message ends was not in vain: the wait that follows spins again.
 *
 * A peer signals room in its ring, for example, and is awake then.
 */
#include <pthread.h>
#include <stdio.h>

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

int main(void)
{
	struct adma_nonce *nonce = adma_nonce_new();
	struct adma_segment *segments[ENDS] = {make_segment(), make_segment()};
	struct adma_chan *ends[ENDS];
	int again = 0;
	pthread_t thread;
	char byte;

	REQUIRE(nonce);
	make_ends(ends, segments, nonce, 0);
	REQUIRE(!pthread_create(&thread, NULL, signal_on_and_on, &segments[0]->event_count));
	for (int i = 0; i < CALLS; i++) {
		atomic_store(&ends[0]->progress.waiters.vain_at, 0);
		REQUIRE(adma_read_now(ends[0], ADMA_BYTES, &byte, 1, -1) == -ADMA_E_PENDING);
		again += !atomic_load(&ends[0]->progress.waiters.vain_at);
	}
	atomic_store(&over, true);
	REQUIRE(!pthread_join(thread, NULL));
	REQUIRE(again > CALLS / 10);
	for (int i = 0; i < ENDS; i++)
		adma_chan_free(ends[i]);
	for (int i = 0; i < ENDS; i++)
		free_segment(segments[i]);
	adma_nonce_free(nonce);
	puts("spin: what a signal ends was not in vain");
	return 0;
}
