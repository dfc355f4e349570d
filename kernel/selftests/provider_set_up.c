/* SPDX-License-Identifier: BSD-3-Clause */
/* provider_set_up.c - what the tests of misbehaving DMA engines share; see provider.h. */
#include "provider.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "tap.h"

char source[4 * LARGE + MARGIN] __attribute__((aligned(4096)));
char sink[4 * LARGE + MARGIN] __attribute__((aligned(4096)));

/* ---- set-up ---- */

static int connect_to(int fds[2], unsigned channels)
{
	struct adma_info i;

	pair_open(fds, ADMA_BY_ANY);
	i = info(fds[0]);
	if ((i.features & ADMA_FEATURE_DMA) && i.channels == channels && !i.retired)
		return 0;
	close(fds[0]);
	close(fds[1]);
	return -EAGAIN;
}

/* The DMA channels of a former device go with their last reference, which may take a moment. */
void begin(int fds[2], unsigned timeout_ms, const struct soft *soft)
{
	parameter_set("timeout_ms", timeout_ms);
	soft_bind(soft);
	while (connect_to(fds, soft->channels ? soft->channels : 4))
		sched_yield();
	soft_misbehave(soft);
}

void begin_without(int fds[2], const struct soft *soft)
{
	parameter_set("timeout_ms", PATIENT);
	soft_bind(soft);
	do {
		close(device_open());
	} while (module_uses());
	pair_open(fds, ADMA_BY_ANY);
	soft_misbehave(soft);
}

void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS }, NULL);
}

/* ---- messages, from fds[0] to fds[1] ---- */

void post_both(const int fds[2], uint32_t generation, size_t length)
{
	fill(source, length, generation);
	memset(sink, 0, length);
	SAME(post_write(.fd = fds[0], .generation = generation, .buffer = source, .length = length), 0);
	SAME(post_read(.fd = fds[1], .generation = generation, .buffer = sink, .length = length), 0);
}

void finish_both(const int fds[2], uint32_t generation, size_t length)
{
	SAME(wait_for(fds[0], 0, generation).status, 0);
	SAME(wait_for(fds[1], 0, generation).status, 0);
	CHECK(filled(sink, length, generation));
}

void exchange(const int fds[2], uint32_t generation, size_t length)
{
	post_both(fds, generation, length);
	finish_both(fds, generation, length);
}

struct adma_counters count(const int fds[2], uint64_t bytes)
{
	struct adma_counters counts = counters(fds[1], 0);

	SAME(counts.bytes_dma + counts.bytes_cpu, bytes);
	return counts;
}

struct sums sum_channels(int fd)
{
	struct adma_channel channel = { .size = sizeof(channel) };
	struct sums sums = { 0 };

	for (; !command(fd, ADMA_IOC_CHANNEL, &channel); channel.index++) {
		CHECK(!strncmp(channel.driver, "adma_soft", strlen("adma_soft")));
		sums.bytes += channel.bytes;
		sums.pieces += channel.pieces;
		sums.errors += channel.errors;
		sums.timeouts += channel.timeouts;
		sums.works += channel.state == ADMA_CHANNEL_WORKS;
		sums.retired += channel.state == ADMA_CHANNEL_RETIRED;
		sums.lost += channel.state == ADMA_CHANNEL_LOST;
		sums.faulty += channel.state == ADMA_CHANNEL_FAULTY;
	}
	return sums;
}

bool works(int fd)
{
	return info(fd).features & ADMA_FEATURE_DMA;
}

int module_uses(void)
{
	FILE *file = fopen("/sys/module/adma/refcnt", "r");
	int uses;

	CHECK(file && fscanf(file, "%d", &uses) == 1);
	fclose(file);
	return uses;
}
