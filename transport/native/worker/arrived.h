/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * arrived.h - messages that came before their receives, or before their buffers. Called with the lock held.
 *
 * What a peer's eager messages cost is limited. Before the limit is reached, by as much as may be
 * under way, the peer is told to send by rendezvous, and below half of the limit that it may send
 * eagerly again (tests/model/unexpected.pml). A peer that does not obey breaks the protocol. The
 * limit on rendezvous messages is the number of slots that a peer has. Between users it is smaller,
 * and an honest peer has no more slots.
 */
#ifndef ADMA_WORKER_ARRIVED_H
#define ADMA_WORKER_ARRIVED_H

#include "worker/queues.h"

#define ADMA_ARRIVED_BYTES_MAX (1u << 20) /* that eager messages of one peer may cost */
#define ADMA_ARRIVED_SLOTS_MAX 4096       /* rendezvous messages of a peer of another user */

/* The message of an entry of the unexpected queue; NULL for NULL. */
struct adma_arrived *adma_arrived_of(struct adma_unexpected_entry *entry);

/* Keep a message that no posted receive accepts. 0; -ENOMEM, -EAGAIN: it stays in the ring; -EPROTO: the peer breaks a limit. */
int adma_arrived_store(const struct adma_offer *offer);

/*
 * Keep a message for a receive that takes it now. It is on the list of the taken ones, and its sender cannot
 * withdraw it any more. It counts against no limit of the peer: no more of them can be there than receives were posted
 * for. 0; -ENOMEM: it stays in the ring; -ECANCELED: it was withdrawn; -EPROTO.
 */
int adma_arrived_take(const struct adma_offer *offer, struct adma_arrived **taken);

/* The slot in which it waits, and its descriptor. */
struct adma_slot *adma_arrived_slot(const struct adma_arrived *arrived);
struct adma_desc adma_arrived_desc(const struct adma_arrived *arrived);

/* The message as it is offered to a receive. `desc`: what adma_arrived_desc() returned. */
struct adma_offer adma_arrived_offer(const struct adma_arrived *arrived, const struct adma_desc *desc);

/*
 * Look whether the sender has withdrawn this message, which waits in a slot, and drop it then. If the
 * sender's close took it back, what arrived later from the same endpoint is dropped, too. True when it is gone.
 */
bool adma_arrived_drop_withdrawn(struct adma_arrived *arrived);

/* Take it out of the unexpected queue; the same, and free it. */
void adma_arrived_leave(struct adma_arrived *arrived);
void adma_arrived_drop(struct adma_arrived *arrived);

/* There is news of a slot of the peer. If a message waits there that was withdrawn, drop it. True when that was so. */
bool adma_arrived_note_news(struct adma_endpoint *ep, uint32_t slot_index);

/* Drop what arrived from this endpoint: all of it, or what is lost with the peer: from the first one that waits in a slot. */
void adma_arrived_drop_source(struct adma_endpoint *ep, bool all);

/* Free what arrived from this endpoint, of a worker that is freed. Touches nothing that is shared with the peer. */
void adma_arrived_forget_source(struct adma_endpoint *ep);

/* Free the messages of a list of taken ones. */
void adma_arrived_free_taken(struct adma_list *list);

#endif
