/* SPDX-License-Identifier: BSD-3-Clause */
/* visit.h - how threads of the library enter a channel. No lock is held. */
#ifndef ADMA_API_VISIT_H
#define ADMA_API_VISIT_H

#include "progress/channel.h"

/*
 * The progress thread sees to a channel: it does what is to be done now. When to look again, if
 * nobody calls before; ADMA_NEVER. `by_time`: because a time has come, and not for an event.
 */
int64_t adma_visit(struct adma_chan *chan, bool by_time);

/* A copy worker thread copies one chunk for the channel that `assist` belongs to. False: there was none. */
bool adma_visit_assist(struct adma_assist *assist);

#endif
