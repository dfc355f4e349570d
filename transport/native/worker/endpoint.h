/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint.h - one endpoint of a channel: its send and receive sides, its control state, and its
 * operations.
 *
 * The lock of its worker guards all of it but the words in the shared segments. The lock is never
 * held while the bytes of a large message are copied. Instead, a transfer for which a thread copies
 * is marked busy, and is not freed meanwhile.
 *
 * Two kinds of endpoints implement the operations. The messages of the one travel through the
 * rings and slots that the two processes share (ring_endpoint.c), those of the other through the
 * FIFO of the kernel helper (fifo_endpoint.c).
 *
 * Nothing in this folder wakes a thread, arms an event count or hands the worker over. The
 * functions here only *mark* what has to be done (enum adma_mark in worker.h). The entry points of
 * api/ act on the marks before they unlock.
 */
#ifndef ADMA_WORKER_ENDPOINT_H
#define ADMA_WORKER_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "base/own.h"
#include "match/match.h"
#include "match/unexpected.h"
#include "mech/mechanism.h"
#include "shm/eventcount.h"
#include "shm/layout.h"
#include "shm/ring.h"
#include "worker/peer_slots.h"
#include "worker/slots.h"
#include "worker/window.h"
#include "worker/worker.h"

/* So many posted slots, or transfers, are looked at directly. Of more, those are looked at of which there is news. */
#define ADMA_FEW 4

/* The send side: our writes. */
struct adma_send_side {
	struct adma_ring_out ring;
	struct adma_slots slots;
	bool look_again;               /* a matched write found no memory for its transfer: look at all posted ones */
	struct adma_req_queue backlog; /* writes not yet published */
	uint32_t pending;              /* writes that are in the backlog, posted or matched */
	uint64_t base[ADMA_MECH_MAX];  /* by mechanism: how many chunks were filled so far */
	uint32_t withdrawn;            /* mechanisms that are withdrawn for our writes only */
	bool ended;                    /* the peer reads no more: what it has not matched fails */
	uint64_t posted; /* messages that were posted, but for cancelled ones. Parts count with their object */
	uint64_t lost, lost_bytes; /* of these, messages that the peer does not get, and their bytes, parts included */
	int segment_fd; /* our segment, if it is still to be passed to the peer, or -1 */
	uint32_t segments_lost; /* of bulk_lost: those that we have made up for */
	int64_t segment_retry_at; /* when to make a segment again, of which one was refused or lost; or 0 */
	int32_t blocked; /* our threads that are in a blocking write of a large message */
};

/* Size classes of messages of which it is learnt whether they are eager: from 8, 12, 16, 24 and 32 KiB on. */
#define ADMA_EAGER_LIMIT_CLASSES 5

/* What our reads tell the writer: see eager_limit.h. Masks of size classes. */
struct adma_eager_limit {
	uint32_t told; /* the word */
	uint32_t advised; /* a way was chosen for them */
	uint32_t trying; /* the next message is a try */
	uint32_t seen[ADMA_EAGER_LIMIT_CLASSES]; /* messages */
};

/* The receive side: our reads. */
struct adma_receive_side {
	struct adma_ring_in ring;
	struct adma_posted reads; /* reads that are posted and unmatched */
	uint32_t probes; /* threads that wait for a message to look at it */
	bool shown; /* a caller was shown the next message, and no read was posted since */
	struct adma_peer_slots slots;
	uint32_t pending; /* reads that are posted or matched */
	uint32_t long_reads; /* unmatched reads whose messages need our help */
	uint32_t short_reads; /* the other unmatched reads, open ones excepted */
	uint64_t short_bytes; /* bytes of the buffers of short_reads */
	uint64_t base[ADMA_MECH_MAX]; /* by mechanism: how many chunks were matched so far */
	uint32_t lost; /* mechanisms whose segment could not be received; another one will come */
	int lost_error; /* for this errno */
	uint32_t steps; /* so many messages may be passed over or matched until the lock is released */
	uint32_t parts_due; /* parts still to come, of an object that was taken or withdrawn */
	bool parts_spoilt; /* their object failed: nobody will read them */
	bool parts_skipped; /* and nobody wanted to: to their writer it is as if they had been read */
	struct adma_unexpected_source arrived; /* tagged messages that came before their receives */
	uint64_t arrived_bytes; /* what these cost, rendezvous messages excepted */
	uint32_t arrived_slots; /* how many of these wait in slots */
	bool swept; /* this round has looked which of these were withdrawn */
	bool eager_off; /* the peer was told to send by rendezvous */
	bool spoilt; /* the peer's ring broke the protocol: nothing more is taken out of it */
	bool ended; /* the receives that name this endpoint were failed */
	bool hole; /* a message is lost, taken back by the peer's close or gone with the peer: nothing after it is delivered */
	uint64_t peer_posted, peer_lost; /* of so many messages that the peer posted, so many are lost by its close */
	struct adma_eager_limit eager_limit;
	struct adma_list taken; /* messages that matched probes and receives took, and that were not received yet */
};

/* Whether the endpoint can be used, and how it is being used. */
struct adma_control {
	int over; /* 0, or the enum adma_error with which it was terminated */
	bool eof; /* the end of file was read from the socket */
	bool dead; /* the peer is proven dead or replaced */
	bool draining; /* this endpoint reads no more, and closes once its messages were read */
	bool lingers; /* no caller waits for that: the progress thread says so to the peer */
	bool closing; /* what was not read is taken back */
	bool torn_down; /* descriptors and maps are gone */
	bool waits; /* a thread of ours waits: the value in our segment */
	uint32_t users; /* threads that use maps or descriptors without the lock */
	bool data_ended; /* the data descriptor has hung up, or failed: it tells that for ever, and is not polled */
	uint32_t unwanted_fds; /* that a peer of another user passed, and that were of no use */
	uint32_t data_events; /* the events for which an epoll polls the data descriptor (progress/poll_descriptor.c) */
};

/* Whether the endpoint's descriptors are still ours: see base/own.h. */
struct adma_descriptors {
	struct adma_own sock, pidfd, segment; /* what they named at first */
	_Atomic int64_t sock_used_at; /* when the socket was last about to be used */
	bool packets; /* the socket is of SOCK_SEQPACKET: a read takes one packet, however many there are */
	_Atomic bool sock_lost; /* it is not ours any more; threads that copy find that without the lock */
	bool pidfd_lost; /* the same; then only the socket tells of the peer's death */
};

/* Transfers, by what they wait for: see transfer_lists.h. */
struct adma_transfer_lists {
	struct adma_list all; /* in match order */
	struct adma_list touched; /* something may have happened to them: look whether they are over */
	struct adma_list open; /* ADMA_EITHER_ENDPOINT: there may be a chunk that this endpoint could claim */
	struct adma_list heads; /* ADMA_STREAM: the first transfer of each FIFO */
	/* Streams of a mechanism in one direction, in their order, until this endpoint has moved all bytes. */
	struct adma_list fifo[ADMA_MECH_MAX][2];
	uint64_t turns; /* how often a transfer joined `open` or `heads` */
	uint32_t count; /* all of them */
	uint32_t polled; /* those of a mechanism that has a pollfd */
};

struct adma_endpoint_ops;
struct adma_summary;

#define ADMA_NO_BIT UINT32_MAX

struct adma_endpoint {
	struct adma_worker *worker;
	struct adma_list member; /* among the worker's endpoints */
	struct adma_list direct, rearm, active, untold; /* on the worker's lists of these names */
	uint32_t number; /* its name as a source; 0 in a channel */
	uint32_t bit; /* in the worker's summary, or ADMA_NO_BIT */
	bool summary_passed; /* the peer was offered the worker's summary */
	struct adma_summary *_Atomic summary; /* the peer's, if it passed one */
	const struct adma_endpoint_ops *ops;
	struct adma_connection connection;
	struct adma_fifo *fifo; /* set if messages travel through the kernel helper, else NULL */
	struct adma_send_side send;
	struct adma_receive_side receive;
	struct adma_control control;
	struct adma_descriptors descriptors;
	struct adma_transfer_lists transfers;
	uint32_t pending_max; /* outstanding requests of each direction: adma_limit_pending() */
	uint32_t withdrawn; /* mechanisms that failed while in use, for both directions */
	int32_t withdrawn_error[ADMA_MECH_MAX];
	struct adma_stats stats;
	_Atomic uint64_t wakes_sent; /* threads that copy count without the lock */
	uint64_t naps; /* how often a thread of ours was about to sleep */
	uint64_t begun; /* transfers that were begun */
	struct adma_window window; /* inbound ones that are under way beside others */
};

/* A word that a spinning thread looks at, because it changes when a request completes. NULL: there is none. */
struct adma_poll_word {
	const _Atomic uint64_t *word;
	uint64_t seen;
};

/* All operations are called with the lock held. */
struct adma_endpoint_ops {
	/* Optional. The request joins its queue: prepare it for that. */
	void (*enqueue)(struct adma_endpoint *ep, struct adma_req *req);

	/* Publish the first write of the backlog. 1: it left the backlog; 0: it cannot be published now; -EPROTO. */
	int (*post)(struct adma_endpoint *ep, struct adma_req *req);

	/* Some writes were published: tell the peer, unless the publishing did. */
	void (*published)(struct adma_endpoint *ep);

	/* Optional. A write failed before it was published: its parts fail, too. */
	void (*drop_parts)(struct adma_endpoint *ep, const struct adma_req *req, int error);

	/* Withdraw a published request. True: it will not be carried out, and it is on no list. */
	bool (*cancel)(struct adma_endpoint *ep, struct adma_req *req);

	/* Find the next message that a read could take. False: there is none. */
	bool (*peek)(struct adma_endpoint *ep, struct adma_message *message);

	/*
	 * Drop the next message, or what is left of the object that was begun, and describe it. 0; -ADMA_E_PENDING: there
	 * is none, or a read gets it; -EOPNOTSUPP: it can only be read. To its writer it is as if it had been read.
	 */
	int (*skip)(struct adma_endpoint *ep, struct adma_message *message);

	/* Is there a message? This is a hint, without any check. May make a system call. */
	bool (*has_message)(struct adma_endpoint *ep);

	/* Make one round: take note of what the peer did, publish, match, complete. True when anything changed. */
	bool (*advance)(struct adma_endpoint *ep);

	/* Is anything pending that will not complete without our help? */
	bool (*needs_progress)(const struct adma_endpoint *ep);

	/* Is there a large write of ours that the peer does not read, and a message that we do not read? */
	bool (*is_stuck)(struct adma_endpoint *ep);

	/* Complete the reads that are not matched with ADMA_E_CLOSED_HERE, and match no more. */
	void (*stop_reading)(struct adma_endpoint *ep);

	/* Does the peer, or the kernel, still use our buffers? */
	bool (*is_busy)(const struct adma_endpoint *ep);

	/* The *data descriptor*, which is polled beside the socket: always the same one, or -1. */
	int (*data_fd)(const struct adma_endpoint *ep);

	/* The poll() events of data_fd() to sleep on; 0: none. `listener`: to wait for a message, not a request. */
	short (*events)(const struct adma_endpoint *ep, bool listener);

	/* Optional. poll() found these events on the data descriptor, and on no other one. */
	void (*polled)(struct adma_endpoint *ep, short revents);

	struct adma_poll_word (*poll_word)(const struct adma_endpoint *ep);

	/* Optional. Bring `state` and `done_bytes` of a pending request up to date, which may take a system call. */
	void (*refresh)(struct adma_endpoint *ep, struct adma_req *req);

	/*
	 * Not for tags. Bytes that these published requests of one direction have still to move, together with
	 * what was matched before them in it. May take a system call for each request.
	 */
	uint64_t (*remainder)(struct adma_endpoint *ep, struct adma_req **reqs, int n);

	/* Optional. Ask the kernel for its times of a completed request. */
	void (*tell_times)(struct adma_endpoint *ep, struct adma_req *req);

	/* Complete, with `held` set, requests whose buffers are still in use. Returns the bytes of these buffers. */
	uint64_t (*abandon)(struct adma_endpoint *ep);

	/* Unmap what the operations use. Called in a forked child, too. */
	void (*close)(struct adma_endpoint *ep);

	/* Completions signal no event count: a thread that waits has to look from time to time. */
	bool silent;
	/* Messages travel through the ring: small ones can be read and written in one call. */
	bool ring;
};

/* ---- endpoint.c ---- */

/*
 * Of many endpoints only those are listed whose event count is not armed: a signal disarms it, and sends a
 * byte, and reading that comes here again. Relaxed: whoever arms the event count looks first.
 */
static inline bool adma_needs_rearming(const struct adma_endpoint *ep)
{
	return !ep->worker->summary ||
	       !(atomic_load_explicit(&ep->connection.config.local->event_count, memory_order_relaxed) & ADMA_EC_ARMED);
}

static inline void adma_mark(struct adma_endpoint *ep, uint32_t marks)
{
	struct adma_worker *worker = ep->worker;

	worker->marks |= marks;
	if (marks & ADMA_MARK_REARM && !adma_list_listed(&ep->rearm) && adma_needs_rearming(ep))
		adma_list_push_back(&worker->rearm, &ep->rearm);
}

/* Terminate the endpoint with this enum adma_error, unless it is terminated already. */
void adma_terminate(struct adma_endpoint *ep, int why);

/* The descriptors to poll for bytes and for the peer's death. -1: it has nothing more to tell, or is not ours any more. */
static inline int adma_polled_sock(const struct adma_endpoint *ep)
{
	/* Relaxed: a thread that polls it once more finds out when it wakes. */
	bool lost = atomic_load_explicit(&ep->descriptors.sock_lost, memory_order_relaxed);

	return ep->control.eof || lost ? -1 : ep->connection.config.sock;
}

static inline int adma_polled_pidfd(const struct adma_endpoint *ep)
{
	return ep->control.dead || ep->descriptors.pidfd_lost ? -1 : ep->connection.config.pidfd;
}

/* Does the peer's segment say that the peer closed the channel? */
bool adma_peer_closed(const struct adma_endpoint *ep);

/* Terminate the endpoint if the peer has closed. True when that is news. */
bool adma_note_peer_closed(struct adma_endpoint *ep);

/* Has the peer stopped reading? Then the sends that it has not matched fail. True when that is news. */
bool adma_note_peer_ending(struct adma_endpoint *ep);

/* Why no message can be sent any more, as an enum adma_error, or 0. */
int adma_send_error(const struct adma_endpoint *ep);

/* Why no message comes any more, or 0. ADMA_E_LOST: the peer closed, and its close took some back. */
int adma_receive_error(const struct adma_endpoint *ep);

/*
 * Is it not known yet whether a message is lost? The peer has closed, and a transfer that it may have
 * broken off is not over. Nothing after it is delivered before that, and no read fails.
 */
bool adma_is_undecided(const struct adma_endpoint *ep);

/* The peer does not get this message of so many bytes, because of our close. Parts count with their object. */
void adma_note_lost(struct adma_endpoint *ep, uint16_t kind, uint64_t bytes);
void adma_note_lost_request(struct adma_endpoint *ep, const struct adma_req *req);
/* The same of one that was published in a slot: what follows its descriptor in the ring is cut off. */
void adma_note_lost_slot(struct adma_endpoint *ep, const struct adma_req *req, uint32_t slot_index);

/* Does the peer's segment say that one of the peer's threads waits? It is a hint, and may be wrong. */
bool adma_peer_waits(const struct adma_endpoint *ep);

/* Store in our segment whether a thread of ours waits. */
void adma_tell_waits(struct adma_endpoint *ep, bool waits);

/* Store in our segment how many reads of ours are posted, or are about to be because a caller looks first. */
void adma_tell_reads(struct adma_endpoint *ep);

/* A caller was shown the next message. */
void adma_note_shown(struct adma_endpoint *ep);

/* A message was read in one call: it may be the one that was shown. */
static inline void adma_note_read(struct adma_endpoint *ep)
{
	if (!ep->receive.shown)
		return;
	ep->receive.shown = false;
	adma_tell_reads(ep);
}

/* The same of the peer, as its segment says. It is a hint, and may be wrong. */
uint32_t adma_reads_of_peer(const struct adma_endpoint *ep);

/*
 * Called with the lock held, which is not held on return. The maps and descriptors stay in place
 * until adma_endpoint_retake(), which takes the lock again.
 */
void adma_endpoint_release_for_use(struct adma_endpoint *ep);
void adma_endpoint_retake(struct adma_endpoint *ep);

#endif
