/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * provider.h - what the tests of misbehaving DMA engines share: each binds adma_soft with the
 * faults that it is about, and checks data, results and counters of messages from fds[0] to fds[1].
 * No other process may have the device open.
 */
#ifndef PROVIDER_H
#define PROVIDER_H

#include <linux/adma.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "soft.h"
#include "tap.h"

#define MS      1000000ll /* nanoseconds */
#define LARGE   (1 << 20)
#define MARGIN  8192
#define PATIENT 10000u    /* ms: no timeout is expected */
#define HASTY   200u      /* ms: a timeout is expected */

extern char source[4 * LARGE + MARGIN];
extern char sink[4 * LARGE + MARGIN];

/*
 * Connected endpoints over the DMA channels of a new device. It misbehaves as soon as the module has
 * taken its DMA channels, in which it tests them.
 */
void begin(int fds[2], unsigned timeout_ms, const struct soft *soft);
#define BEGIN(fds, timeout_ms, ...) begin(fds, timeout_ms, &(struct soft){ __VA_ARGS__ })

/* The same with a device whose DMA channels are not used. */
void begin_without(int fds[2], const struct soft *soft);
#define BEGIN_WITHOUT(fds, ...) begin_without(fds, &(struct soft){ __VA_ARGS__ })

void pause_ms(long ms);

void post_both(const int fds[2], uint32_t generation, size_t length);
void finish_both(const int fds[2], uint32_t generation, size_t length);
void exchange(const int fds[2], uint32_t generation, size_t length);

/* The counters of the endpoint that made the matches. They have to account for all bytes. */
struct adma_counters count(const int fds[2], uint64_t bytes);

/* Sums of the counters and states of all DMA channels. */
struct sums {
	uint64_t bytes, pieces, errors, timeouts;
	unsigned works, retired, lost, faulty;
};

struct sums sum_channels(int fd);
bool works(int fd);
int module_uses(void);

extern const struct test manners_tests[];
extern const size_t manners_count;

#endif
