/* SPDX-License-Identifier: BSD-3-Clause */
/* cores.h - the cores this process may use, and whether they are all taken. */
#ifndef ADMA_BASE_CPU_H
#define ADMA_BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

/* Cores this process may use; asked anew by each call, or as it was at the first one. */
int adma_cpu_count_now(void);
int adma_cpu_count(void);

/* More runnable tasks than cores on the machine: who spins keeps somebody from running. `now` as by adma_now(). */
bool adma_cpu_oversubscribed(int64_t now);

/*
 * A thread of ours that was just woken on `core`, where somebody computes, goes to another one. Linux wakes on
 * the core of the waker, or where a thread ran before, rather than look far for an idle one; once it
 * is elsewhere it mostly stays there. Not often: `moved` is when it last went, the caller's own, 0 at first.
 */
void adma_cpu_avoid(int core, int64_t now, int64_t *moved);

#endif
