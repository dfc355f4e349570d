/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma.h - channels: the contract between the C core and its language bindings.
 *
 * A channel (struct adma_chan) is built from the results of a finished handshake: the socket, the
 * peer's pidfd and identity, the segments of both endpoints, and which mechanisms work in which
 * direction. Requests (struct adma_req) belong to the caller. They stay linked into the channel
 * from a successful post until their `state` is ADMA_DONE_STATE. Until then the caller must not
 * touch the buffers that they name.
 *
 * A result is >= 0, or a negated errno, or, where no errno fits, a negated code of enum adma_error.
 * A NULL channel counts as a closed one. Every function may be called from any thread. Nothing
 * here calls Python, installs a handler, or blocks a signal beyond its own call. Only adma_sleep()
 * and adma_chan_close() block; adma_chan_abandon() and adma_chan_free() wait for a chunk that a
 * thread of this process is copying.
 *
 * A query makes no progress, and no system call unless its comment says so.
 */
#ifndef ADMA_H
#define ADMA_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct adma_segment;
struct adma_chan;
struct adma_mechanism;
struct adma_worker;
struct adma_arrived;

/* A list of the core, or a member of one (base/list.h). */
struct adma_list {
	struct adma_list *next, *prev;
};

/* What makes a request or a copy a member of the list of adma_hold.h; private to the core. */
struct adma_hold {
	struct adma_list link;
	uint8_t wanted; /* list it when it is complete */
	uint8_t listed;
	uint8_t owner; /* the binding's own: the core keeps it, and does not look at it */
	uint8_t notifies; /* tell of it when it is complete: adma_notify.h */
};

/* What a tagged receive asks for if it asks for a message of any source, or for the whole tag. */
#define ADMA_ANY_SOURCE 0xffffffffu
#define ADMA_WHOLE_TAG 0xffffffffffffffffull

/* A member of a table of keys (match/keys.h), and its key. */
struct adma_key {
	struct adma_list same;
	struct adma_key *next, **place;
	uint64_t tag;
	uint32_t source;
};

/* A member of a posted queue (match/posted.h), and what it asks for. */
struct adma_posted_entry {
	struct adma_list all;
	struct adma_key key;
	uint64_t mask;
	uint64_t order;
};

enum adma_error {
	ADMA_E_CLOSED = 1001,   /* the peer closed the channel; nothing more comes */
	ADMA_E_DIED = 1002,     /* the peer is gone, and did not close the channel */
	ADMA_E_TOOLONG = 1003,  /* the read is too short; `needed` is what it needs; the message stays */
	ADMA_E_KIND = 1004,     /* the message is of another kind; it stays */
	ADMA_E_CANCELLED = 1005,
	ADMA_E_PROTOCOL = 1006, /* the peer broke the protocol; the channel is terminated */
	ADMA_E_CLOSED_HERE = 1007, /* this endpoint was closed */
	ADMA_E_FORKED = 1008,   /* this is a forked child's copy of the channel */
	ADMA_E_FULL = 1009,     /* too many requests outstanding */
	ADMA_E_NO_MECHANISM = 1010, /* no mechanism can carry this message (any more) */
	ADMA_E_PENDING = 1011,  /* it cannot be done at once: post a request and wait */
	ADMA_E_BULK = 1012,     /* the channel needs a bulk segment first */
	ADMA_E_MEMORY_HERE = 1021, /* the buffer of this endpoint cannot be accessed (EFAULT) */
	ADMA_E_MEMORY_PEER = 1022, /* the buffer of the peer cannot be accessed (EFAULT) */
	ADMA_E_LOST = 1013, /* the peer closed the channel, and its close took messages back: see adma_get_loss() */
	ADMA_E_ENDED = 1014, /* of a write: the peer has closed, or is about to, and reads no more */
	ADMA_E_BUSY = 1015, /* another thread has the lock: call the function that waits for it */
	ADMA_E_DESCRIPTOR =
		1031, /* other code of this process has closed a descriptor of ours; the channel is terminated */
};

enum adma_mechanism_id {
	ADMA_MECH_NONE = 0,
	ADMA_MECH_SHARED = 1,
	ADMA_MECH_CMA = 2,
	ADMA_MECH_TCP = 3,
	ADMA_MECH_DMA = 4, /* the kernel helper copies by DMA channels */
	ADMA_MECH_HELPER = 5, /* the kernel helper copies by the CPU */
	ADMA_MECH_SELF = 6, /* an endpoint to ourselves (adma_worker.h) */
	ADMA_MECH_COUNT = 7, /* the number of built-in mechanisms, and NONE */
	ADMA_MECH_MAX = 16, /* ids from COUNT on are for adma_mechanism_register() */
};
#define ADMA_MECH_BIT(id) (1u << (id))

enum adma_limits {
	ADMA_PENDING_MAX = 1024, /* outstanding requests of each direction, unless another limit is set */
	ADMA_PARTS_MAX = 512, /* parts of an object, which are posted with it, and are not limited by themselves */
	ADMA_NONCE_BYTES = 16,
};

/* What a handshake hands over to a channel, which owns the descriptors afterwards. */
struct adma_config {
	int sock; /* the connected AF_UNIX socket */
	int pidfd; /* the peer's; -1: only the socket tells of its death */
	int32_t pid; /* the peer, in our pid namespace; 0: unknown */
	struct adma_segment *local; /* mapped; unmapped by adma_chan_close() */
	struct adma_segment *remote;
	uint64_t nonce_address; /* the nonce's address in the peer's memory */
	uint8_t nonce[ADMA_NONCE_BYTES];
	uint32_t out_mask; /* mechanisms that can carry our writes */
	uint32_t in_mask; /* mechanisms that can carry our reads */
	uint32_t forced; /* enum adma_mechanism_id, or 0 for auto */
	bool same_user; /* both processes belong to one user */
	uint32_t uid; /* the peer's */
	uint32_t copiers; /* mask of enum adma_copier: the roles in which this endpoint may copy */
	uint64_t single_copy_from; /* auto: bytes from which one copy in the kernel beats two in user space */
	uint64_t single_copy_from_waiting; /* the same, while both endpoints wait and each has a core */
	bool learns; /* auto: these numbers are only where learning begins (see adma_learnt()) */
	/* By enum adma_mechanism_id: the descriptor that the mechanism's probe leaves to the channel, or -1;
	 * and what the probe found out, in bits that each mechanism defines for itself. */
	int mech_fd[ADMA_MECH_MAX];
	uint32_t mech_found[ADMA_MECH_MAX];
};

/* The bits of mech_found for ADMA_MECH_CMA. */
enum adma_cma_found {
	ADMA_CMA_PULL = 1, /* process_vm_readv on the peer works */
	ADMA_CMA_PUSH = 2, /* process_vm_writev on the peer works */
};

enum adma_copier { ADMA_COPY_AS_READER = 1, ADMA_COPY_AS_WRITER = 2 };

enum adma_req_state {
	ADMA_IDLE_STATE = 0,
	ADMA_QUEUED_STATE = 1, /* a write not yet in the ring, or a read not yet matched */
	ADMA_POSTED_STATE = 2, /* a write in the ring, not yet matched */
	ADMA_MATCHED_STATE = 3, /* being copied */
	ADMA_NEED_STATE = 4, /* an open read met a message: its caller has to supply a buffer */
	ADMA_DONE_STATE = 5,
};

/* How long the stages in the kernel helper took, in nanoseconds. Valid if `told`. */
struct adma_req_kernel {
	int64_t post_ns; /* the post, without pinning */
	int64_t pin_ns; /* pinning the pages of this endpoint */
	int64_t start_ns, copy_ns, complete_ns;
	bool told;
};

/*
 * When a request reached each of its stages (figure 7 of the paper): nanoseconds of CLOCK_MONOTONIC. 0: it did
 * not, or this endpoint cannot see that it did. Blocking calls are not timed, because no caller can ask.
 */
struct adma_req_times {
	int64_t posted;
	int64_t published; /* a write entered the ring or the kernel's FIFO; a read entered its queue */
	int64_t matched;
	int64_t started; /* this endpoint began to copy */
	int64_t ended;
	int64_t seen; /* the caller saw that it is complete */
	struct adma_req_kernel kernel;
};

struct adma_req {
	struct adma_hold hold; /* the first member: to the binding its address is that of the request */

	/* filled by the caller */
	void *address;
	uint64_t length;
	uint64_t total; /* writes: see struct adma_desc */
	uint32_t parts; /* writes: see struct adma_desc */
	uint16_t kind; /* enum adma_kind: what a read accepts, or what is written */
	uint8_t is_read;
	uint8_t flags; /* enum adma_req_flags */
	uint64_t limit; /* open reads: the longest message that is accepted */
	uint64_t tag; /* tagged requests: the tag; and what a receive accepts: */
	uint64_t mask; /*   the bits of the tag that have to be equal */
	uint32_t source; /*   the number of an endpoint, or ADMA_ANY_SOURCE */

	/* filled by the core; readable at any time, final once state is DONE */
	int32_t state; /* enum adma_req_state */
	int32_t error; /* 0, errno or enum adma_error (positive) */
	uint64_t done_bytes; /* bytes of the message when done; before that, an estimate */
	uint64_t needed; /* TOOLONG and NEED: bytes in total, parts included; tagged receives: bytes of the message */
	uint64_t need_length; /* NEED: bytes of this message alone */
	uint32_t need_parts; /* NEED: parts that follow */
	uint32_t mechanism; /* enum adma_mechanism_id, 0: inline or eager */
	struct adma_arrived *taken; /* ADMA_REQ_TAKE: the message that it took, or NULL (adma_worker.h) */
	struct adma_req_times times;

	/* private to the core */
	struct adma_list link;
	struct adma_posted_entry posted;
	struct adma_transfer *transfer;
	uint32_t slot_index; /* or the index of the kernel helper's completion entry */
	uint32_t slot_gen;
	uint64_t key; /* kernel helper: the key of a part, or that of an object's first part */
	uint8_t observed;
	uint8_t held; /* done, but others may still touch the buffer, which is kept for ever */
	uint8_t refused; /* enum adma_mechanism_id whose copy was refused, so that another one makes it; or 0 */
	int32_t refused_error; /* why it was */
};

enum adma_req_flags {
	ADMA_REQ_OPEN = 1, /* read: stop at the match and ask for a buffer (NEED) */
	ADMA_REQ_TAKE = 1, /* tagged receive, which is never open: take the message whole (adma_worker.h) */
	ADMA_REQ_SLOT = 2, /* write: take a slot whatever the size (cancellable) */
	ADMA_REQ_BLOCKING = 4, /* a blocking call waits for it: it may exceed the limit of outstanding requests */
	ADMA_REQ_DROPPED = 8, /* no caller will look at it: it is not counted as unobserved */
	ADMA_REQ_LONG = 16, /* private to the core: it is counted in long_reads */
	ADMA_REQ_CONSUME = 64, /* tagged receive: a message that is too long does not stay */
	ADMA_REQ_SHORT = 32, /* private to the core: it is counted in short_reads */
	ADMA_REQ_TELL = 128, /* see adma_hold.h; it is not freed before its post has returned */
};

/* ---- life ---- */

/* 0, and the channel in *out; or a negated errno. The channel takes over descriptors and maps on success only. */
int adma_chan_new(const struct adma_config *config, struct adma_chan **out);

/*
 * Begin an orderly end. Reads that are not matched fail, and no message is read or posted any more.
 * What was posted is carried as before. To wait until that is done, drive with `drained`
 * (struct adma_wait), and then close. A channel that is drained tells nothing to its peer before that.
 */
void adma_chan_drain(struct adma_chan *chan);

/*
 * The same for a channel that nobody will wait for: the progress thread carries what was posted, and
 * then tells the peer that nothing follows. The caller closes and frees the channel some time later.
 * True: it is drained now.
 */
bool adma_chan_linger(struct adma_chan *chan);

/*
 * Close the channel: take back what is unmatched, stop the claiming of chunks, wake every waiter
 * (its wait fails), and then wait for at most timeout_ns until every slot is quiet. 0: the channel
 * is closed, and its descriptors and maps are gone. -EAGAIN: the peer still copies a chunk; call
 * again, or give up with adma_chan_abandon(). Closing a closed channel does nothing.
 */
int adma_chan_close(struct adma_chan *chan, int64_t timeout_ns);

/*
 * Give up on a peer that does not finish its chunks, or on a thread of ours that a page holds up. Requests whose
 * buffers may still be touched are completed with `held` set. Returns the size of these buffers in bytes. The
 * maps and descriptors of the channel are gone then, or with the thread of ours.
 */
uint64_t adma_chan_abandon(struct adma_chan *chan);

/* Free a channel. If it is still open, it is closed first, without waiting for the peer. */
void adma_chan_free(struct adma_chan *chan);

/* ---- small messages, each in one call ---- */

/*
 * Publish at once a message of this kind (ADMA_BYTES, or ADMA_OBJECT without parts) that travels inline or eagerly.
 * Returns 0; or why the channel is terminated; or -ADMA_E_PENDING: nothing was done, so post a write. The message is too
 * large, a mechanism is forced, the ring is full, or other writes are queued before this one.
 */
int adma_write_now(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n);

/*
 * Take a message of this kind that came inline or eagerly. Spin for up to spin_ns until it comes (< 0: for as long as
 * the channel has learned to). Returns its length; -ADMA_E_PENDING: nothing was done, so post a read;
 * -ADMA_E_TOOLONG (see adma_needed()); -ADMA_E_KIND; or why the channel is terminated.
 */
int64_t adma_read_now(struct adma_chan *chan, uint16_t kind, void *p, uint64_t n, int64_t spin_ns);

/* After -ADMA_E_TOOLONG of this thread's last call: how many bytes the read needs. */
uint64_t adma_needed(void);

/*
 * For callers that hold what other threads of the process may wait for, such as the lock of an interpreter. These do
 * what their namesakes do, and return -ADMA_E_BUSY where those would wait for the lock of the channel. They do not
 * spin. After adma_try_post_one() returned -ADMA_E_BUSY, the request is as it was before.
 */
int adma_try_write_now(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n);
int64_t adma_try_read_now(struct adma_chan *chan, uint16_t kind, void *p, uint64_t n);
int adma_try_post_one(struct adma_chan *chan, struct adma_req *req);
int adma_try_observe(struct adma_chan *chan, struct adma_req *req);

/* Does a write of n bytes take a slot? This never changes, so no lock is taken. */
bool adma_wants_slot(const struct adma_chan *chan, uint64_t n);

/* ---- requests ---- */

/* Post `n` requests in order, all or none. 0; -ADMA_E_FULL; or why the channel is terminated. */
int adma_post(struct adma_chan *chan, struct adma_req **reqs, int n);

int adma_post_one(struct adma_chan *chan, struct adma_req *req);

/*
 * Post one request for [p, p + n) and drive it for a moment, in one call. This is for blocking calls;
 * the caller has set kind, is_read and flags. Returns the length of the message if the request is done,
 * or the error of the request; -ADMA_E_PENDING: it is posted, so wait for it; -ADMA_E_BULK or another
 * error of adma_post(): it was not posted (its state is IDLE).
 */
int64_t adma_run(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n);

/*
 * So many requests of each direction may be outstanding, parts of objects not counted. What is outstanding stays so, also
 * if it is more. At first it is ADMA_PENDING_MAX. Returns the limit that held before; 0: the channel is closed.
 */
uint32_t adma_limit_pending(struct adma_chan *chan, uint32_t limit);

/*
 * Give a request in state NEED its buffer, so that it goes on. 0 or -EINVAL. With ADMA_REQ_TELL a request that gets into
 * this state is listed (adma_hold.h), and told of (adma_notify.h), as when it is complete.
 */
int adma_supply(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n);

/* 1: the request is cancelled (it is done, with error ADMA_E_CANCELLED); 0: the cancel came too late. */
int adma_cancel(struct adma_chan *chan, struct adma_req *req);

/* Bring `state` and `done_bytes` of a pending request up to date. Makes a system call where one is needed. */
void adma_refresh(struct adma_chan *chan, struct adma_req *req);

/*
 * Bytes that these requests of one direction, which were posted, have still to move, together with what was
 * matched before them in it: what a matched request waits for. Of a stream that we fill, what its reader has
 * drained counts. The kernel helper is asked by system calls. 0: the channel is closed.
 */
uint64_t adma_remainder(struct adma_chan *chan, struct adma_req **reqs, int n);

/*
 * How many reads the peer has posted that are not matched, as it says; a caller there that waits to look at a
 * message, or has looked, counts as one. This is a hint for a write that is about to be withdrawn; it may be
 * wrong. With the kernel helper it counts only reads that the kernel cannot match by itself.
 */
uint32_t adma_peer_reads(struct adma_chan *chan);

/* Ask the kernel helper, by a system call, for its times of a request that is done. It may have forgotten them. */
void adma_tell_times(struct adma_chan *chan, struct adma_req *req);

/*
 * How long each stage took, by `times`; 0 where a stage was skipped. Where the kernel helper told its times,
 * these are its stages, and match_ns is what they leave of the time from the post to the completion.
 */
struct adma_req_split {
	int64_t post_ns; /* until it was published */
	int64_t match_ns; /* from there until it was matched */
	int64_t pin_ns; /* pinning the pages of this endpoint, if the kernel helper told */
	int64_t start_ns; /* from the match until this endpoint began to copy, if it did */
	int64_t copy_ns; /* from there until the request was complete */
	int64_t complete_ns; /* from there until the caller saw that */
};
void adma_split(const struct adma_req *req, struct adma_req_split *split);

/* The caller has seen that the request is done, or will never look. (See adma_completions_fileno().) */
void adma_observe(struct adma_chan *chan, struct adma_req *req);

/*
 * From now on a pending request has ADMA_REQ_TELL: the call that posted it ends, and leaves it pending. 0; 1: it is
 * complete already.
 */
int adma_tell(struct adma_chan *chan, struct adma_req *req);

/* ---- progress and waiting ---- */

enum adma_drive_result {
	ADMA_READY = 0, /* `need` requests are done (or in state NEED); or a message waits */
	ADMA_BUSY = 1, /* the budget is spent, and there is more to do: call again */
	ADMA_QUIET = 2, /* there is nothing to do for now: sleep */
};

/* What a caller waits for: `need` of `nreqs` requests or, with nreqs 0, a message on the first channel or worker. */
struct adma_wait {
	struct adma_chan **chans;
	struct adma_req **reqs;
	int32_t nchans;
	int32_t nreqs;
	int32_t need;
	int32_t also; /* a descriptor that also ends a sleep, when it is readable; or -1 */
	struct adma_worker **workers; /* shared workers, beside the channels */
	int32_t nworkers;
	int32_t careful; /* copy nothing that a page could hold up, of which nobody knows when it comes */
	int32_t drained; /* wait instead until all endpoints that drain are drained; with nreqs 0 */
};

/*
 * Make progress until ADMA_READY, for at most budget_ns of copying. When there is nothing to do, spin for
 * up to spin_ns (< 0: for as long as the channel has learned to; 0: look once). Returns enum
 * adma_drive_result, or why no channel can be used.
 */
int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns);

/*
 * Arm, look again, and sleep until something happens on any of the channels, for at most timeout_ns
 * (< 0: no limit). Returns 0 (call adma_drive() again), -ETIMEDOUT or -EINTR. `mask`: the signal mask to
 * sleep under, or NULL.
 */
int adma_sleep(const struct adma_wait *wait, int64_t timeout_ns, const sigset_t *mask);

/*
 * A caller to which adma_drive() returned ADMA_BUSY or ADMA_QUIET, or which called adma_sleep(), is expected
 * to come back. Until then nobody else copies for these channels. A caller that will not come back, because of
 * an exception for example, has to call this. (It is not needed after ADMA_READY, or with spin_ns 0.)
 */
void adma_give_up(const struct adma_wait *wait);

/*
 * adma_drive() for one request, once, and with care: what is not in memory is left to the progress thread, because
 * a page that nobody provides (userfaultfd, FUSE) holds up whoever copies.
 */
int adma_check(struct adma_chan *chan, struct adma_req *req);

/* adma_drive() for one request of one channel or, with NULL, for a message. */
int adma_drive_one(struct adma_chan *chan, struct adma_req *req, int64_t spin_ns, int64_t budget_ns);
int adma_sleep_one(struct adma_chan *chan, struct adma_req *req, int64_t timeout_ns, const sigset_t *mask);
void adma_give_up_one(struct adma_chan *chan);

/*
 * Block all signals but those that a fault of the thread itself raises, and store the old mask in *old; restore
 * that mask. (A caller that has to handle signals blocks them, looks whether one came, and sleeps under the old mask.)
 */
void adma_signals_block(sigset_t *old);
void adma_signals_restore(const sigset_t *old);

/*
 * For how many nanoseconds may the thread that answers signals sleep at once? -1: for ever. If the process has other threads,
 * not counting the progress thread, the kernel may hand a signal to one of them, which does not end the sleep: look
 * every 100 ms. Whether it has any is asked once a second, by a system call. If there was none when that was last asked,
 * the sleep has to end when it is time to ask again.
 */
int64_t adma_signal_slice(void);

/*
 * Is the caller the first thread of its process (in a child, the one that forked)? That is what the system says, whatever
 * a language binding takes for a thread.
 */
bool adma_is_first_thread(void);

/* ---- looking at a channel ---- */

struct adma_message {
	int32_t present;
	uint32_t kind; /* enum adma_kind */
	uint64_t nbytes; /* parts included */
	uint32_t parts; /* that follow */
};

/* Find the next message, after one round of progress, which may make system calls. 0, or why none will ever come. */
int adma_peek(struct adma_chan *chan, struct adma_message *message);

/* A thread of this endpoint begins (+1) or ends (-1) to wait for a message to look at: adma_peer_reads() counts it. */
void adma_probing(struct adma_chan *chan, int delta);

/*
 * Drop the next message, without a copy and without memory for it, after one round of progress; or what is left of an
 * object whose head was read. To its writer it is as if it had been read. 0, and `message` tells what it was;
 * -ADMA_E_PENDING: there is none, or a posted read gets it; -EOPNOTSUPP: the kernel helper matches, so read it.
 */
int adma_skip(struct adma_chan *chan, struct adma_message *message);

/*
 * True when each endpoint is in a blocking write of a large message that the other one does not read. With
 * the kernel helper, this makes a system call.
 */
bool adma_deadlocked(struct adma_chan *chan);
/* A thread of this endpoint begins (+1) or ends (-1) a blocking write of a large message. */
void adma_blocked(struct adma_chan *chan, int delta);

/*
 * Descriptors to poll, each made by the first call. That of adma_fileno() is readable while a message waits or the
 * channel is terminated; that of adma_completions_fileno() while a completed request is unobserved, or a transfer
 * waits for this endpoint. While there is something of the peer to read, the first one is readable until any call
 * has read that, and so is the second one if a request is pending.
 */
int adma_fileno(struct adma_chan *chan);
int adma_completions_fileno(struct adma_chan *chan);

/* 0 while the channel can be used, or why it cannot (negative). */
int adma_health(struct adma_chan *chan);

/* ---- selection: these queries may look at the load of the machine ---- */

/*
 * Would a write of n bytes travel by a mechanism that needs a bulk segment, and is there none? Also, after a second,
 * when the peer had no descriptor left to receive the one that there was.
 */
bool adma_wants_bulk(struct adma_chan *chan, uint64_t n);

/* Give the channel a bulk segment of adma_bulk_size() bytes. From this call on `fd` is the core's. 0 or -errno. */
int adma_give_bulk(struct adma_chan *chan, int fd);

/*
 * The bulk segment could not be made: the mechanism that needs it carries no more of our writes; for a second only
 * if `err` tells of a shortage.
 */
void adma_no_bulk(struct adma_chan *chan, int err);

/*
 * After EFAULT: is a page of this process's [p, p + n) gone? 1: the kernel cannot read it; 0: it can read all of them;
 * or a negated errno, where that cannot be told. Makes a system call for each 2 MiB.
 */
int adma_memory_is_gone(const void *p, uint64_t n);

/* How a write of n bytes would travel: enum adma_carry | enum adma_mechanism_id << 8; negative: it cannot. */
int adma_choose(struct adma_chan *chan, uint64_t n);

/* Why a mechanism would, or would not, carry a message of a given size. */
enum adma_reason {
	ADMA_REASON_NONE = 0,
	/* It would, because */
	ADMA_REASON_FORCED = 1, /* it was asked for */
	ADMA_REASON_SINGLE_COPY = 2, /* the message is long: one copy costs less than two */
	ADMA_REASON_ONLY_SINGLE_COPY = 3, /* two copies would be quicker, but no mechanism that makes two works */
	ADMA_REASON_TWO_COPIES_SHORT = 4, /* the message is short: two copies in user space beat one in the kernel */
	ADMA_REASON_TWO_COPIES_WAITING = 5, /* both endpoints wait, and each has a core */
	ADMA_REASON_ONLY_TWO_COPIES = 6, /* one copy would cost less, but no mechanism that makes one works */
	ADMA_REASON_LAST = 7, /* nothing better works */
	/* It would not, because */
	ADMA_REASON_WITHDRAWN = 8, /* it failed while in use; `error` tells why */
	ADMA_REASON_UNAVAILABLE = 9, /* the handshake found that it does not work */
	ADMA_REASON_OTHER_FORCED = 10, /* another one was asked for */
	ADMA_REASON_NOT_NEEDED = 11, /* the message travels inline or eagerly */
	ADMA_REASON_SLOW = 12, /* it is slow, and is used only if forced or if nothing else works */
	ADMA_REASON_TWO_COPIES_MORE = 13, /* it copies twice */
	ADMA_REASON_SLOWER_WAITING = 14, /* it copies once, and while both endpoints wait two copies are quicker */
	ADMA_REASON_SLOWER_SHORT = 15, /* it makes a system call for each chunk, and the message is short */
	ADMA_REASON_LEARNT = 16, /* it would, because it was the quickest here: see adma_learnt() */
	ADMA_REASON_SLOWER_LEARNT = 17, /* it would not, because another one was quicker here */
};

struct adma_candidate {
	uint32_t mechanism; /* enum adma_mechanism_id */
	uint32_t reason; /* enum adma_reason */
	int32_t error; /* errno, where there is one */
};

/*
 * Whether each mechanism would carry a write of n bytes, and why. The one that would, if there is one, comes
 * first. `found` has room for ADMA_MECH_MAX. Returns how many there are, or why the channel is terminated.
 */
int adma_candidates(struct adma_chan *chan, uint64_t n, struct adma_candidate *found);

/* A way in which messages of this process were carried: what it took, and how that is known. */
struct adma_learnt_way {
	/*
	 * 0: a way of a transfer. Otherwise the enum adma_carry of messages whose ways of being carried are compared, from
	 * the post on: ADMA_SLOT, a rendezvous by whatever mechanism, and ADMA_BUFFERED, eager ones.
	 */
	uint32_t carry;
	uint32_t mechanism; /* enum adma_mechanism_id */
	uint64_t chunk; /* bytes of a chunk */
	uint32_t aliased; /* buffers that lie a few bytes apart in their pages, for which a detour may be quicker */
	uint32_t detour; /* ... and copies took it */
	uint32_t window; /* messages that were under way beside others */
	uint32_t chosen; /* it is the way that messages of this size take, but for tries */
	uint32_t samples; /* messages of about this size; for those beside others: runs of 4 to 64 of them */
	/*
	 * What n bytes take from the match on, or what each of many such messages adds; 0: unknown. Without samples it is
	 * predicted.
	 */
	uint64_t nanoseconds;
};
enum { ADMA_LEARNT_MAX = 40 };

/*
 * What was learnt of messages of n bytes that this process read from processes of the peer's user, while both ends waited.
 * `found` has room for ADMA_LEARNT_MAX. Returns how many ways there are, or why the channel is terminated.
 */
int adma_learnt(struct adma_chan *chan, uint64_t n, struct adma_learnt_way *found);

/*
 * What was learnt of a way in a size class, to be stored and to be taken up by another process on the same machine. Only
 * messages between endpoints that both waited are told of.
 */
struct adma_learnt_cost {
	uint32_t size_class;
	uint32_t mechanism; /* enum adma_mechanism_id; ADMA_MECH_NONE: whether messages are eager is compared */
	uint32_t choice; /* 0: the built-in size of chunks; others by their number. Without a mechanism, 1: eager */
	uint32_t aliased, detour, window; /* as in struct adma_learnt_way */
	uint32_t chosen;
	uint64_t ns_per_mib; /* nanoseconds for each MiB */
};

/* The costs that were learnt with peers of this user. Returns how many there are, of which `room` are stored. */
int adma_learnt_tell(uint32_t uid, struct adma_learnt_cost *found, int room);

/* Take one up. It has no effect on a size class that messages were carried of. 0; -EINVAL; -ENOMEM. */
int adma_learnt_take_up(uint32_t uid, const struct adma_learnt_cost *cost);

/* The smallest message of a size class; 0: there is no such class. */
uint64_t adma_learnt_size(uint32_t size_class);

/*
 * Add a mechanism that is not built in. Its id is ADMA_MECH_COUNT or more, and it stays for the life of
 * the process. 0; -EEXIST: the id is taken; -EINVAL: the id is out of range, or an operation is missing.
 */
int adma_mechanism_register(const struct adma_mechanism *mechanism);

/* The name of a mechanism; NULL: there is none with this id. */
const char *adma_mechanism_name(uint32_t id);

/* The mask of the mechanisms that failed while in use and are withdrawn; the errno of each in errs[ADMA_MECH_MAX]. */
uint32_t adma_withdrawn(struct adma_chan *chan, int32_t *errs);

/* What closes took back. The peer's numbers are known once it has closed. Parts of objects do not count. */
struct adma_loss {
	uint64_t messages, bytes; /* ours */
	uint64_t peer_posted, peer_withdrawn; /* of so many messages that the peer posted, it took so many back */
};
void adma_get_loss(struct adma_chan *chan, struct adma_loss *loss);

struct adma_stats {
	uint64_t writes, reads; /* messages that were carried */
	uint64_t bytes_out, bytes_in;
	uint64_t inlined, eager, rendezvous; /* messages written, by carry */
	uint64_t mechanism[16]; /* transfers, either direction, by enum adma_mechanism_id */
	uint64_t chunks_copied; /* chunks that this endpoint copied */
	uint64_t chunks_peer; /* chunks that the peer copied */
	uint64_t chunks_mover; /* of chunks_copied: those that the progress thread copied */
	uint64_t chunks_queues; /* ... and those that assisting copy worker threads copied */
	uint64_t redone; /* transfers that one mechanism could not make, and another one did */
	uint64_t wakes_sent, sleeps;
	uint64_t pending_reads, pending_writes;
	/* Sums in nanoseconds over requests that succeeded, those of blocking calls excepted: figure 7 of the paper. */
	uint64_t timed; /* how many requests these are */
	int64_t post_ns, match_ns, start_ns, copy_ns, complete_ns;
};
void adma_get_stats(struct adma_chan *chan, struct adma_stats *stats);

/*
 * The progress thread of this process, which makes progress on requests that no thread waits for. It is started
 * for the first such request, and ends when all channels that have had one are closed.
 */
struct adma_progress_stats {
	uint64_t wakeups; /* how often it woke, for an event or by the clock */
	uint64_t looks; /* how often it woke only to look whether its descriptors are still its own */
	uint64_t starts;
	uint64_t takeovers; /* how often another thread took over from one that a page held up */
	uint64_t failures; /* how often it could not be started, or could not take a channel on */
	int32_t error; /* errno of the last of these */
	int32_t running;
	uint32_t channels; /* open channels that it has taken on */
};
void adma_get_progress_stats(struct adma_progress_stats *stats);

/* The errno for which the progress thread could not be started, or not take a channel on, the last time; 0: never. */
int adma_progress_error(void);

/* ---- constants, and facts about this build ---- */

uint64_t adma_segment_size(void);
void adma_segment_init(struct adma_segment *segment);
uint64_t adma_bulk_size(void);
uint64_t adma_eager_max(void);
uint64_t adma_inline_max(void);
int64_t adma_spin_max_ns(void); /* a waiter spins for at most this long before it sleeps */
bool adma_faults_built(void);

#endif
