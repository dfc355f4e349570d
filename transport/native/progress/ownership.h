/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attendance.h - who sees to a channel while it has requests pending.
 *
 * A thread of this process that waits for something on the channel *attends*
 * it: it makes all progress that there is, and nobody else does any. When
 * the last one leaves for good and requests are pending that need our help
 * (a small message needs none: it lies in the ring), the channel is handed
 * over: the mover *watches* it until somebody attends again.
 *
 *   attend   in adma_drive() and adma_sleep(); takes the channel from the mover
 *   depart   out of them: for good, or to be back in a moment; the way of a
 *            blocking call, drive, sleep, drive, hands over nothing in between
 *   hand over  also in a post that does not block, and a cancel that comes too late
 *
 * Invariant, with wait.c's: whenever the lock is free and the channel is
 * watched, its bell is armed and the mover polls its socket, or the mover has
 * been called and looks before it sleeps. adma_rearm() restores it, too.
 *
 * All functions but adma_disown_all() are called with the channel's lock.
 */
#ifndef ADMA_PROGRESS_OWNERSHIP_H
#define ADMA_PROGRESS_OWNERSHIP_H

#include <stdbool.h>
#include <stdint.h>

struct adma_chan;
struct adma_wait;

/*
 * Who left may be back in a moment, and then the mover would only be in the way: it gives
 * them this long. A wake-up that was in vain doubles it, a chunk that it had to copy takes it back: so
 * a program that posts and waits at once is disturbed once in ADMA_GRACE_MAX_NS at most.
 */
#define ADMA_GRACE_NS 60000
#define ADMA_GRACE_MAX_NS 4000000

/* Is anything pending that will not end without our help? */
bool adma_needs_progress(const struct adma_chan *chan);

void adma_own(struct adma_chan *chan);
void adma_disown(struct adma_chan *chan, bool for_good);
/* From all channels of a wait that were attended. Takes their locks. */
void adma_disown_all(const struct adma_wait *wait, bool for_good);

/* Somebody is about to: the peer may know before it is rung. */
void adma_announce_owner(struct adma_chan *chan);

/* If it needs somebody and has nobody, the mover watches it from now on; adma_leave() then calls it if need be. */
void adma_hand_over(struct adma_chan *chan);

/* Of a watched channel whose bell was just armed: have the mover polling; if there is more to do, come. */
void adma_delegation_rearm(struct adma_chan *chan, bool more);

/* It is not watched any more. */
void adma_delegation_end(struct adma_chan *chan);

/* Does the peer's half say that somebody attends its end? It may lie. */
bool adma_peer_waits(const struct adma_chan *chan);

#endif
