/* SPDX-License-Identifier: GPL-2.0 */
/* pair.h - makes pairs of connected files. */
#ifndef ADMA_PAIR_H
#define ADMA_PAIR_H

#include <linux/fs.h>
#include <linux/types.h>

/*
 * Two connected files with these @operations, of which nobody holds a file descriptor yet. 0 or
 * a negated errno.
 */
int adma_pair_make(u32 policy, const struct file_operations *operations, struct file *files[2]);

#endif
