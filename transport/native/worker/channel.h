/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chan.h - a channel from the inside; private to the core.
 *
 * One lock guards everything but the words in the halves. It is never held
 * while bytes of a large message are copied: a transfer that a thread copies
 * for is marked busy instead, and stays.
 *
 * Who does what, file by file:
 *   channel.c   life: new, close, free, fork
 *   post.c      requests in: publish, queue, cancel, and the one-call paths
 *   progress.c  one round: what the peer did, what can be published or matched
 *   transfer.c  matched pairs: begin, copy, finish
 *   turn.c      which of them this end could copy of now
 *   peer.c      the socket, the pidfd, the nonce: wake-ups, segments, death
 *   line.c      requests that wait in the kernel helper's line instead of ring and slots
 *   wait.c      drive, arm, sleep; spin.h how long to spin before
 *   attendance.c  who sees to a channel: a call that waits, or else the mover
 *   mover.c     the progress thread: its sleep, and which channel it looks at next
 *   errand.c    what it does for one channel, and when it holds back
 *   signals.c   what a thread of ours lets in
 *   watch.c     the pollable descriptor
 *   choice.c    which mechanism
 */
#ifndef ADMA_WORKER_CHANNEL_H
#define ADMA_WORKER_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "base/clock.h"
#include "base/fault.h"
#include "copy/assist.h"
#include "match/match.h"
#include "mech/mechanism.h"
#include "progress/ownership.h"
#include "progress/progress_thread.h"
#include "shm/eventcount.h"
#include "shm/layout.h"
#include "shm/ring.h"
#include "shm/slot.h"
#include "worker/fifo.h"
#include "worker/transfer.h"

/* What a slot of ours is used for; its words may not be trusted for that. */
enum slot_use { SLOT_FREE, SLOT_POSTED, SLOT_MATCHED, SLOT_LINGERS };

struct own_slot {
	enum slot_use use;
	uint32_t gen;
	struct adma_req *req; /* POSTED */
};

struct adma_chan {
	pthread_mutex_t lock;
	struct adma_config config;

	struct adma_ring_out out;
	struct adma_ring_in in;
	struct own_slot slots[ADMA_SLOTS];
	uint32_t free_slots;
	uint32_t posted_slots;
	uint32_t lingering_slots;

	struct adma_fifo *fifo;     /* of a forced kernel helper, else NULL */
	struct adma_queue reads;    /* pending, unmatched */
	struct adma_queue backlog;  /* writes not yet in the ring */
	uint32_t writes_pending;    /* backlog, posted and matched writes */
	uint32_t reads_pending;
	uint32_t long_reads;        /* of these: for more than comes without our help */
	uint32_t short_reads;       /* and the others, but for open ones */
	uint64_t short_bytes;       /* of their buffers */
	struct adma_transfer *transfers; /* in match order */
	struct adma_transfer *transfers_last;
	uint64_t in_base[ADMA_MECH_MAX];  /* chunks matched so far, per mechanism */
	uint64_t out_base[ADMA_MECH_MAX]; /* chunks filled so far */

	uint8_t *bulk_out;          /* bulk segment of our writes */
	/* These two are looked at without the lock, too, by who drains it. */
	_Atomic(uint8_t *) bulk_in; /* of the peer's, once it came */
	_Atomic int bulk_in_errno;  /* why the peer's could not be taken */
	int bulk_fd;                /* still to be sent to the peer, or -1 */
	uint32_t withdrawn;         /* mechanisms that failed in mid-life */
	uint32_t withdrawn_out;     /* those that only our own writes lost */
	int32_t withdrawn_errno[ADMA_MECH_MAX];

	uint32_t parts_due;         /* parts of an object that was taken or withdrawn, still in line */
	bool parts_spoilt;          /* the object they belong to failed: nobody will read them */

	int over;                   /* 0, or the enum adma_error that ended it */
	bool eof;                   /* the socket has nothing more to say */
	bool dead;                  /* the peer is proven dead or replaced */
	bool closing;               /* adma_chan_close() was called */
	bool torn;                  /* descriptors and maps are gone */
	_Atomic bool forked;        /* this is a child's copy */

	uint32_t users;             /* threads that use maps or descriptors without the lock */
	uint32_t sleepers;          /* threads in ppoll() */
	uint32_t listeners;         /* those of them that wait for a message, not a request */
	uint32_t wakes_left;        /* sleepers that have yet to see the last local wake */
	uint64_t wake_epoch;
	short slept_events;         /* of the TCP socket, that all sleepers wait for */
	int eventfd;                /* local wake-ups */
	int epoll;                  /* fileno(), or -1 */
	bool level;                 /* fileno() is held readable */
	short tcp_events;           /* what fileno() waits for on the TCP socket */
	uint32_t unobserved;        /* done requests nobody looked at */
	int32_t blocked;            /* threads in a blocking write of a large message */
	int64_t looked_at;          /* when the peer was last checked without sleeping */
	_Atomic int64_t spin_ns;    /* spin before a sleep; adapts */

	uint32_t owners;         /* threads in a call that waits, not those between two of them */
	bool delegated;              /* the mover sees to it; never while somebody attends */
	bool waiting;              /* what our half says of that */
	int64_t left_at;            /* when somebody last left it to the mover */
	int64_t resumes_at;         /* left_at of when the mover had it before this attendance, or 0 */
	int64_t owned_at;        /* since when, if so */
	int64_t grace_ns;           /* how long they are waited for; adapts */
	struct adma_progress_entry progress;  /* the mover's own */
	struct adma_assist assist; /* queues that help it */

	struct adma_stats stats;
	_Atomic uint64_t wakes_sent; /* also by who copies, without the lock */
	struct adma_chan *next, *prev; /* of all channels of this process, for fork */
};

/* ---- channel.c ---- */
/* Around a fork (fork.c). */
void adma_chans_before_fork(void);
void adma_chans_after_fork_parent(void);
void adma_chans_after_fork_child(void);

/* Enter with the lock, unless the channel is unusable: 0, or negated why (lock not taken). */
int adma_enter(struct adma_chan *chan);
/* Leave: what sleepers and pollers rely on is put right, the lock released. */
void adma_leave(struct adma_chan *chan);
/* The channel is over for this reason, unless it was before. */
void adma_terminate(struct adma_chan *chan, int why);

/* ---- post.c ---- */
/* A request is through: its final fields, its waiters. It is on no list any more. */
void adma_complete(struct adma_chan *chan, struct adma_req *req, int error, uint64_t nbytes);
/* Publish queued writes while there is room. True when one went out. */
bool adma_flush(struct adma_chan *chan);
/* Withdraw a posted write. True when it was in time. */
bool adma_withdraw(struct adma_chan *chan, struct adma_req *req);

/* ---- progress.c ---- */
/* One round without copying large messages. True when anything changed. */
bool adma_advance(struct adma_chan *chan);
/* Look, and copy at most one chunk (dropping the lock for it). */
bool adma_advance_copying(struct adma_chan *chan);

/* ---- transfer.c ---- */
/* Our read met the message in ring->desc. 0, -ECANCELED (pass it over), or a negated reason. */
int adma_transfer_begin_read(struct adma_chan *chan, struct adma_req *req, const struct adma_desc *desc);
/* The first message is of no use to anybody: tell its writer. 0, -ECANCELED or -EPROTO. */
int adma_transfer_refuse(struct adma_chan *chan, const struct adma_desc *desc, int error);
/* Our posted write was matched. 0, or -EPROTO. */
int adma_transfer_begin_write(struct adma_chan *chan, uint32_t slot_index);
/* Take results; true when a transfer ended. */
bool adma_transfers_settle(struct adma_chan *chan);
/* Copy one chunk of some transfer. True when bytes moved (or a transfer failed). */
bool adma_transfers_copy(struct adma_chan *chan);
/* Copy one chunk of this one. True when bytes moved (or it failed). */
bool adma_transfer_step(struct adma_chan *chan, struct adma_transfer *t);
/* No more chunks, for the channel ends. */
void adma_transfers_close(struct adma_chan *chan);
/* Give up on transfers that a peer holds; bytes held. */
uint64_t adma_transfers_abandon(struct adma_chan *chan);
void adma_slot_release(struct adma_chan *chan, uint32_t index);

/* ---- turn.c ---- */
/* Streams: is it this transfer's turn at this end? */
bool adma_transfer_is_next(const struct adma_chan *chan, const struct adma_transfer *t);
/* Is there a chunk that this end could copy now, of this one? Of any? TCP's socket tells itself. */
bool adma_transfer_ready(const struct adma_chan *chan, const struct adma_transfer *t);
bool adma_transfers_ready(const struct adma_chan *chan);

/* ---- peer.c ---- */
/* Tell the peer that something happened. */
void adma_signal_peer(struct adma_chan *chan);
/* Read wake-ups, segments and the end from the socket; look for death. True when something changed. */
bool adma_peer_check(struct adma_chan *chan);
/* Send the bulk segment if it is still to be sent. */
void adma_send_bulk(struct adma_chan *chan);
/* The peer's half says that it closed. */
bool adma_peer_closed(struct adma_chan *chan);
/* Is the peer's memory still the one we met? 0; ADMA_E_DIED: replaced or gone; or an errno. */
int adma_peer_nonce_check(const struct adma_chan *chan);

/* ---- spin.c ---- */
/* With the lock (dropped meanwhile): spin until a message is there. True when it is. */
bool adma_spin_for_message(struct adma_chan *chan, int64_t spin_ns);

/* ---- wait.c ---- */
/* Wake this process's sleepers on the channel. */
void adma_wake_waiters(struct adma_chan *chan);
/*
 * Under the lock, before leaving: keep the bell armed for sleepers, pollers and the mover, the
 * level right. False: the bell is rung faster than it can be armed.
 */
bool adma_rearm(struct adma_chan *chan);

/* ---- watch.c ---- */
/* Keep fileno() readable exactly while there is something to look at. */
void adma_set_level(struct adma_chan *chan);
/* poll() events of the TCP socket that would let a transfer go on. */
short adma_socket_events(const struct adma_chan *chan);

/* ---- choice.c ---- */
/* Mechanisms this end can serve a write with now. */
uint32_t adma_offer(const struct adma_chan *chan);
/* The mechanism for a read of `length` bytes from what the writer offers; ADMA_MECH_NONE: none is left. */
uint32_t adma_select(const struct adma_chan *chan, uint64_t length, uint32_t offered);
/* It failed in mid-life for good. */
void adma_withdraw_mechanism(struct adma_chan *chan, uint32_t id, int err);
/* Does a write of n bytes take a slot? */
bool adma_takes_slot(const struct adma_chan *chan, uint64_t n);

#endif
