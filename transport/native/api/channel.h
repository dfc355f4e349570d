/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.h - what happens to the channels of this process around a fork: see fork.c. */
#ifndef ADMA_API_CHANNEL_H
#define ADMA_API_CHANNEL_H

/* Take the locks that a fork must not find held, and release them in the parent. */
void adma_channels_before_fork(void);
void adma_channels_after_fork_parent(void);

/* In the child: close its copies of the parent's channels, which refuse all use from then on. */
void adma_channels_after_fork_child(void);

#endif
