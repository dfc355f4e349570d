/* SPDX-License-Identifier: BSD-3-Clause */
/* held_up.h - copies that are held up by a page that nobody provides (userfaultfd, FUSE). */
#ifndef ADMA_BASE_HELD_UP_H
#define ADMA_BASE_HELD_UP_H

#include <stdbool.h>

#include "base/clock.h"

/*
 * A chunk that takes longer than this is taken to be held up. It is much longer than any chunk takes on a busy machine.
 * Where a chunk is slower all the same, it is completed as any other: meanwhile no other thread copies for its transfer,
 * and another thread is the progress thread.
 */
#define ADMA_HELD_UP_NS 100000000

static inline bool adma_is_held_up(int64_t begun_at)
{
	return adma_now() - begun_at >= ADMA_HELD_UP_NS;
}

#endif
