/* SPDX-License-Identifier: BSD-3-Clause */
/* faults.h - makes allocations, and copies from and to user space, fail on purpose. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

/*
 * Prepare fault injection, so that faults will not be logged; nothing fails yet. False: this
 * kernel has no fault injection.
 */
bool faults_prepare(void);

/*
 * From here on @percent of the allocations fail, of processes that called faults_own() and of their
 * children.
 */
void faults_at_random(unsigned percent);
void faults_own(void);

#endif
