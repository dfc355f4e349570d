/* SPDX-License-Identifier: BSD-3-Clause */
/* cpu.h - which cores this process may use, and whether they are oversubscribed. */
#ifndef ADMA_BASE_CPU_H
#define ADMA_BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The number of cores that the calling thread may use. adma_cpu_count() keeps the answer of the kernel for 10 ms,
 * so that a thread that is pinned while it runs is soon noticed. `now` is the time by adma_now().
 */
int adma_cpu_count_now(void);
int adma_cpu_count(int64_t now);

/* The same, with an answer that is `age` ns old at most. */
int adma_cpu_count_within(int64_t age, int64_t now);

/*
 * Does the machine have more runnable tasks than cores? A thread that spins then keeps another
 * one from running. `now` is the time by adma_now().
 */
bool adma_cpu_loaded(int64_t now);

/*
 * The same for a thread that shares its cores with what it waits for, as all threads of a process usually do: then one
 * core is always too few.
 */
bool adma_cpu_oversubscribed(int64_t now);

/*
 * The same for a thread that waits for process `pid` (0: nobody knows it). Launchers of parallel programs bind each
 * process to a core of its own. So one core is enough for this thread unless the other process is bound to the same one.
 * It is called for each large message, and keeps what the kernel says of both for 10 ms.
 */
bool adma_cpu_short_with(int32_t pid, int64_t now);

/*
 * Are this thread and process `pid` bound to one and the same core? The kernel is asked about both, and about the main
 * thread of the process.
 */
bool adma_cpu_shared_with(int32_t pid);

/*
 * The same, for a thread that would spin for so short a time that a look costs more than it saves. It uses what others
 * found, and knows of its own cores what it was told within a second.
 */
bool adma_cpu_was_loaded(int64_t now);
bool adma_cpu_was_oversubscribed(int64_t now);

/*
 * Called by a thread of the library that was just woken: if it woke on `core`, where another
 * thread computes, move it to another core. Linux wakes a thread on the core of its waker, or
 * where it ran before, rather than search for an idle core; a thread that was moved mostly stays
 * on its new core. Threads are not moved often: `moved` is the time of the last move, which the
 * caller keeps, and 0 at first.
 */
void adma_cpu_avoid(int core, int64_t now, int64_t *moved);

#endif
