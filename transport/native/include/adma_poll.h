/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_poll.h - poll sets: waiting for messages on many channels. It is a part of the contract of adma.h.
 *
 * A poll set (struct adma_poll_set) keeps channels between waits, so that a wait costs nothing for a channel
 * on which nothing happens. It belongs to one thread at a time; a channel may be in several poll sets. A
 * channel that is closed leaves all of them. A poll set has two descriptors while there are channels in it.
 * After a fork, the child's copy is empty.
 */
#ifndef ADMA_POLL_H
#define ADMA_POLL_H

#include "adma.h"

struct adma_poll_set;

/* 0, and an empty poll set in *out; or -ENOMEM. */
int adma_poll_set_new(struct adma_poll_set **out);

void adma_poll_set_free(struct adma_poll_set *set);

/*
 * From now on the set is made of these `n` channels, which are all different. Those that were in it before are
 * kept as they are. 0; why a channel cannot be used; or a negated errno, when there is no descriptor or memory
 * left. After an error some of the channels are in the set: update it again before the next wait.
 */
int adma_poll_set_update(struct adma_poll_set *set, struct adma_chan **chans, int32_t n);

/*
 * Which channels are ready? A channel is ready when a message waits, or when it is terminated. Stores the places
 * of these channels, in the order of adma_poll_set_update(), in ready[], which has room for all, and their number
 * in *nready. While none is ready, spin for up to spin_ns (< 0: for as long as the set has learned to). Makes
 * system calls. The channels of the last update must not be freed during the call. Returns ADMA_READY, or
 * ADMA_QUIET, or -ADMA_E_CLOSED_HERE when a channel has left the set since the last update.
 */
int adma_poll_set_drive(struct adma_poll_set *set, int64_t spin_ns, int32_t *ready, int32_t *nready);

/*
 * Sleep until adma_poll_set_drive() may find something, for at most timeout_ns (< 0: no limit). `also`, unless it
 * is NULL, ends the sleep as well, as in adma_sleep(); it may be without requests and channels. `mask`: the signal
 * mask to sleep under, or NULL. Returns 0 (call adma_poll_set_drive() again), -ETIMEDOUT, -EINTR, or another
 * negated errno.
 */
int adma_poll_set_sleep(struct adma_poll_set *set, const struct adma_wait *also, int64_t timeout_ns,
			const sigset_t *mask);

/*
 * The rest is for event loops, which sleep in a poll of their own. Such a set is filled by adma_poll_set_join() alone.
 */

/* What an event loop looks for on a channel. */
enum adma_wants {
	ADMA_WANTS_MESSAGES = 1, /* a message waits, or the channel is terminated */
	ADMA_WANTS_PROGRESS = 2, /* something has happened, and adma_check() of a pending request may go on with it */
};

/*
 * The channel is in the set from now on, until it is closed, and is looked at next. `place` names it in what is found; `wants`:
 * enum adma_wants, which a second call changes. 0; why the channel cannot be used; or a negated errno.
 */
int adma_poll_set_join(struct adma_poll_set *set, struct adma_chan *chan, int32_t place, uint32_t wants);

/* The descriptor that the loop polls for input; -1: there is none yet. It is the same one until adma_poll_set_turn() says else. */
int adma_poll_set_fileno(struct adma_poll_set *set);

/*
 * One look of an event loop. `told`: the descriptor was readable. Stores the places of up to `room` channels on which there is
 * what is wanted in ready[], and their number in *nready. Never sleeps or spins. Returns ADMA_READY; ADMA_BUSY: nothing is
 * there, and the loop should look again in its next turn, after other work that it has; ADMA_QUIET: nothing is there, and the
 * descriptor tells of what comes; -ADMA_E_CLOSED_HERE: channels that were in the set are closed; or -ADMA_E_DESCRIPTOR: somebody
 * else has closed the descriptor, and there is another one: after both, look again. After all but ADMA_QUIET the descriptor tells
 * nothing that can be relied on.
 */
int adma_poll_set_turn(struct adma_poll_set *set, bool told, int32_t *ready, int32_t room, int32_t *nready);

/*
 * A task is about to wait for a message on this channel, and for nothing else that the set knows of. Spin for a moment, if that
 * has paid lately: less than a turn of the loop, and less in all between two of its turns than a thread would spin. Returns
 * ADMA_READY: a message is there; ADMA_QUIET: wait; or why the channel cannot be used.
 */
int adma_poll_set_spin(struct adma_poll_set *set, struct adma_chan *chan);

/* The waiter does not go on with its wait: an exception struck between a sleep and the look that follows. */
void adma_poll_set_give_up(struct adma_poll_set *set);

#endif
