/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint.h - one end of a channel: its two sides, its control state, and its operations.
 *
 * One lock guards all of it but the words in the shared segments. It is never held while the
 * bytes of a large message are copied: a transfer that a thread copies for is marked busy
 * instead, and stays.
 *
 * Two kinds of endpoints implement the operations: messages travel through the rings and slots
 * that the two processes share (ring_endpoint.c), or through the FIFO of the kernel helper
 * (fifo_endpoint.c).
 *
 * Nothing in this folder wakes a thread, arms an event count or hands the channel over. What
 * happens here only *marks* that somebody has to be told (enum adma_mark); the entry points of
 * api/ act on the marks before they unlock.
 */
#ifndef ADMA_WORKER_ENDPOINT_H
#define ADMA_WORKER_ENDPOINT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "match/match.h"
#include "mech/mechanism.h"
#include "shm/layout.h"
#include "shm/ring.h"

/* What a slot of ours is used for; its words in shared memory may not be trusted for that. */
enum adma_slot_use { ADMA_SLOT_FREE, ADMA_SLOT_POSTED, ADMA_SLOT_MATCHED, ADMA_SLOT_LINGERS };

struct adma_own_slot {
	enum adma_slot_use use;
	uint32_t gen;
	struct adma_req *req; /* ADMA_SLOT_POSTED */
};

/* Our writes. */
struct adma_send_side {
	struct adma_ring_out ring;
	struct adma_own_slot slots[ADMA_SLOTS];
	uint32_t free_slots;
	uint32_t posted_slots;
	uint32_t lingering_slots;      /* their transfers are over, but the reader is not through with them */
	struct adma_req_queue backlog; /* writes not yet published */
	uint32_t pending;              /* writes in the backlog, posted and matched */
	uint64_t base[ADMA_MECH_MAX];  /* by mechanism: chunks filled so far */
	uint32_t withdrawn;            /* mechanisms that only our writes lost */
	int segment_fd;                /* memory of ours that is still to be passed to the peer, or -1 */
	int32_t blocked;               /* threads in a blocking write of a large message */
};

/* Our reads. */
struct adma_receive_side {
	struct adma_ring_in ring;
	struct adma_req_queue reads;  /* posted, unmatched */
	uint32_t pending;             /* reads posted and matched */
	uint32_t long_reads;          /* of the unmatched ones: for more than comes without our help */
	uint32_t short_reads;         /* and the others, but for open ones */
	uint64_t short_bytes;         /* bytes of the buffers of these */
	uint64_t base[ADMA_MECH_MAX]; /* by mechanism: chunks matched so far */
	uint32_t parts_due;           /* parts of an object that was taken or withdrawn, still to come */
	bool parts_spoilt;            /* the object that they belong to failed: nobody will read them */
};

/* What has to be done before the lock is released. */
enum adma_mark {
	/* A thread of ours may be asleep that waits for what just happened. */
	ADMA_MARK_WAITERS = 1,
	/* What sleepers, pollers and the progress thread rely on may not hold: look again, and rearm. */
	ADMA_MARK_REARM = 2,
};

/* Whether the endpoint can be used, and by whom it is being used. */
struct adma_control {
	int over;             /* 0, or the enum adma_error that ended it */
	bool eof;             /* the socket has nothing more to say */
	bool dead;            /* the peer is proven dead or replaced */
	bool closing;         /* adma_chan_close() was called */
	bool torn_down;       /* descriptors and maps are gone */
	_Atomic bool forked;  /* this is the copy of a forked child */
	bool waits;           /* a thread of ours waits: as our segment says */
	uint32_t users;       /* threads that use maps or descriptors without the lock */
	uint32_t marks;       /* mask of enum adma_mark */
	uint32_t unobserved;  /* completed requests that nobody has looked at */
	int64_t checked_at;   /* when the peer was last checked without sleeping */
};

struct adma_endpoint_ops;

struct adma_endpoint {
	pthread_mutex_t lock;
	const struct adma_endpoint_ops *ops;
	struct adma_connection connection;
	struct adma_fifo *fifo;     /* of the kernel helper's kind, else NULL */
	struct adma_send_side send;
	struct adma_receive_side receive;
	struct adma_control control;
	struct adma_list transfers; /* in match order */
	uint32_t withdrawn;         /* mechanisms that failed in mid-life, in both directions */
	int32_t withdrawn_error[ADMA_MECH_MAX];
	struct adma_stats stats;
	_Atomic uint64_t wakes_sent; /* counted without the lock, too, by threads that copy */
};

/* A word that changes when something ends, for who spins; NULL: there is none. */
struct adma_poll_word {
	const _Atomic uint64_t *word;
	uint64_t seen;
};

/* All are called with the lock. */
struct adma_endpoint_ops {
	/* Optional. A request joins its queue: give it what its kind needs. */
	void (*enqueue)(struct adma_endpoint *ep, struct adma_req *req);

	/* Publish the first write of the backlog. 1: it left the backlog; 0: not now; -EPROTO. */
	int (*post)(struct adma_endpoint *ep, struct adma_req *req);

	/* Some writes were published: tell the peer, if it is not told yet. */
	void (*published)(struct adma_endpoint *ep);

	/* Optional. A write failed before it was published: what belongs to it fails, too. */
	void (*drop_parts)(struct adma_endpoint *ep, const struct adma_req *req, int error);

	/* True: nothing of this published request will happen, and it is on no list. */
	bool (*cancel)(struct adma_endpoint *ep, struct adma_req *req);

	/* The next message that a read could take. False: there is none. */
	bool (*peek)(struct adma_endpoint *ep, struct adma_message *message);

	/* The same without taking it over, as a hint: no checks. May make a system call. */
	bool (*has_message)(struct adma_endpoint *ep);

	/* One round: take note of what the peer did, publish, match, complete. True when anything changed. */
	bool (*advance)(struct adma_endpoint *ep);

	/* Is anything pending that will not end without our help? */
	bool (*needs_progress)(const struct adma_endpoint *ep);

	/* Is a large write of ours in line that the peer does not read, and a message that we do not read? */
	bool (*is_stuck)(struct adma_endpoint *ep);

	/* Does the peer, or the kernel, still use buffers of ours? */
	bool (*is_busy)(const struct adma_endpoint *ep);

	/* The descriptor that tells of data beside socket and event count, always the same one, or -1. */
	int (*data_fd)(const struct adma_endpoint *ep);

	/* The poll() events of data_fd() to sleep on, 0: none. `listener`: for a message, not a request. */
	short (*events)(const struct adma_endpoint *ep, bool listener);

	/* Optional. poll() found these events there. */
	void (*polled)(struct adma_endpoint *ep, short revents);

	struct adma_poll_word (*poll_word)(const struct adma_endpoint *ep);

	/* Optional. Bring `state` and `done_bytes` of a pending request up to date, by a system call. */
	void (*refresh)(struct adma_endpoint *ep, struct adma_req *req);

	/* Optional. Ask for the kernel's part of the times of a completed request. */
	void (*tell_times)(struct adma_endpoint *ep, struct adma_req *req);

	/* Complete what the peer or the kernel still uses, `held`. Bytes of the buffers that are held. */
	uint64_t (*abandon)(struct adma_endpoint *ep);

	/* Unmap what the operations use. Also in a forked child. */
	void (*close)(struct adma_endpoint *ep);

	/* Completions signal no event count: whoever waits has to look from time to time. */
	bool silent;
	/* Messages are in the ring: small ones can be read and written in one call. */
	bool ring;
};

/* ---- endpoint.c ---- */

static inline void adma_mark(struct adma_endpoint *ep, uint32_t marks)
{
	ep->control.marks |= marks;
}

/* The endpoint is over for this reason, unless it was over before. */
void adma_terminate(struct adma_endpoint *ep, int why);

/* The peer's segment says that the peer closed the channel. */
bool adma_peer_closed(const struct adma_endpoint *ep);

/* Terminate the endpoint if the peer has closed. True when that is news. */
bool adma_note_peer_closed(struct adma_endpoint *ep);

/* Does the peer's segment say that a thread waits there? It is a hint, and may be a lie. */
bool adma_peer_waits(const struct adma_endpoint *ep);

/* Our segment says whether a thread of ours waits. */
void adma_tell_waits(struct adma_endpoint *ep, bool waits);

/* With the lock, dropped on return: the maps and descriptors stay where they are until adma_endpoint_retake(). */
void adma_endpoint_release_for_use(struct adma_endpoint *ep);
void adma_endpoint_retake(struct adma_endpoint *ep);

static inline bool adma_endpoint_advance(struct adma_endpoint *ep)
{
	adma_mark(ep, ADMA_MARK_REARM);
	return ep->ops->advance(ep);
}

#endif
