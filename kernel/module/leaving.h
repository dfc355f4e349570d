/* SPDX-License-Identifier: GPL-2.0 */
/* leaving.h - leaving the memory of a process, which ends if nobody else is in it. */
#ifndef ADMA_LEAVING_H
#define ADMA_LEAVING_H

struct mm_struct;

int adma_leaving_init(void);
void adma_leaving_exit(void);

/*
 * Gives back what mmget_not_zero() took, and never waits. The last one who leaves ends the memory,
 * which waits for instance for reads that a FUSE server has not answered. mmput_async() would have
 * the system's common work queue wait for that, where the works of others are. A work queue of our
 * own does it here.
 */
void adma_leave(struct mm_struct *mm);

#endif
