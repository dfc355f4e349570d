/* SPDX-License-Identifier: GPL-2.0 */
/* debugfs.h - /sys/kernel/debug/adma. It is meant for people to read, and its text may change. */
#ifndef ADMA_DEBUGFS_H
#define ADMA_DEBUGFS_H

void adma_debugfs_init(void);
void adma_debugfs_exit(void);

#endif
