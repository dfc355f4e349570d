/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * residency.h - are pages in memory, so that touching them does not wait for whoever provides them?
 *
 * The answers are a moment old, and err on the side of no: also a page that only has to be zeroed, or that another
 * process has mapped, may count as absent.
 */
#ifndef ADMA_BASE_RESIDENCY_H
#define ADMA_BASE_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* These bytes of ours. A system call for each 16 MiB (mincore(2)). */
bool adma_is_resident(const void *p, uint64_t n);

/* These bytes of another process that we may trace. Some system calls (/proc/PID/pagemap). */
bool adma_is_resident_in(pid_t pid, uint64_t address, uint64_t n);

#endif
