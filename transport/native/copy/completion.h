/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * completion.h - a copy from its admission to its completion. All functions but adma_copy_seen()
 * are called with the engine lock held.
 */
#ifndef ADMA_COPY_COMPLETION_H
#define ADMA_COPY_COMPLETION_H

#include "adma_copy.h"

/*
 * Make the copy outstanding, or put it at the end of the backlog. It is submitted to the engine
 * now, or when the copies that it waits for are complete.
 */
void adma_copy_enter(struct adma_copy *copy);

/*
 * The copy is complete, with `error` 0 or an errno. Copies that waited for it are submitted to
 * the engine. The caller may free the copy as soon as it is complete.
 */
void adma_copy_complete(struct adma_copy *copy, int error);

/* Complete a copy with ECANCELED that was not started. It may still be in the backlog. */
void adma_copy_withdraw(struct adma_copy *copy);

/* Note that a caller has found the copy complete, if it is the first one to. */
void adma_copy_seen(struct adma_copy *copy);

/* Free the copy's stage, if it has one. */
void adma_copy_free_stage(struct adma_copy *copy);

#endif
