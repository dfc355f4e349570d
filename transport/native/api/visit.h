/* SPDX-License-Identifier: BSD-3-Clause */
/* visit.h - how threads of the library enter a worker. No lock is held. */
#ifndef ADMA_API_VISIT_H
#define ADMA_API_VISIT_H

#include "progress/progress.h"

/*
 * The progress thread makes progress on a worker. Returns when it should visit the worker again,
 * unless it is called before; or ADMA_NEVER. `by_time`: the visit is made by the clock, and not for
 * an event.
 */
int64_t adma_visit(struct adma_progress *progress, bool by_time);

/* A copy worker thread copies one chunk for the worker to which `assist` belongs. False: none was due. */
bool adma_visit_assist(struct adma_assist *assist);

#endif
