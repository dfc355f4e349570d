/* SPDX-License-Identifier: BSD-3-Clause */
/* poll_member.h - a look at the members of a poll set: by a thread that waits (poll_set.c), or an event loop (loop_set.c). */
#ifndef ADMA_API_POLL_MEMBER_H
#define ADMA_API_POLL_MEMBER_H

#include "progress/poll_set.h"

enum adma_looked { ADMA_LOOKED_READY, ADMA_LOOKED_IDLE, ADMA_LOOKED_QUIET, ADMA_LOOKED_CLOSED };

/* May a look make the member quiet? If so, is it only because its event loop is about to sleep? */
enum adma_rest { ADMA_REST_NOT, ADMA_REST_QUIET, ADMA_REST_DOZES };

/* Is the member ready? If not, and if it may rest, make it quiet, unless something has happened just now. */
enum adma_looked adma_poll_member_look(struct adma_poll_member *member, enum adma_rest rest);

/* Make all members quiet, since the waiter is about to sleep. False: there is something to look at. */
bool adma_poll_members_rest(struct adma_poll_set *set);

#endif
