/* SPDX-License-Identifier: BSD-3-Clause */
/* faults.h - allocations, and copies from and to user space, that fail on purpose. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

/* False: this kernel has no fault injection. Nothing fails yet, and nothing will be logged. */
bool faults_prepare(void);

/* From here on @percent of the allocations of processes that called faults_mine() fail. */
void faults_at_random(unsigned percent);
void faults_mine(void); /* and of their children */

#endif
