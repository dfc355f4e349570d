/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer.c - what is sent and received over the socket, and the peer's death.
 *
 * After the handshake the socket carries single bytes. BYTE_WAKE ends a sleep. BYTE_SEGMENT comes
 * with the descriptor of memory that a mechanism of the peer uses for its writes, and BYTE_SUMMARY
 * with that of the summary of the peer's worker. Nothing here ever blocks: if the socket is full, the peer has
 * unread bytes, and so is awake or will wake.
 *
 * Other code of the process may close our descriptors by mistake, and the number of the socket may be
 * a stranger's by now. So a socket that was not used for a second is looked at before it is used. A
 * busy one pays nothing for that. A byte that cannot be sent is not missed for long: a thread
 * that sleeps wakes by itself once a second (api/sleep.c).
 */
#include "worker/peer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/closer.h"
#include "base/fault.h"
#include "base/poll.h"
#include "mech/table.h"
#include "shm/eventcount.h"
#include "shm/summary.h"

#define BYTE_WAKE 'w'
#define BYTE_SEGMENT 's'
#define BYTE_SUMMARY 'y'

/* How often one look reads the socket. If a peer floods it, the next look reads on. */
#define PEER_READS_MAX 16

/* Our bit in the peer's summary. The peer writes it, so it is checked. */
static uint32_t peer_bit(const struct adma_endpoint *ep)
{
	return atomic_load_explicit(&ep->connection.config.remote->bit, memory_order_relaxed) % ADMA_SUMMARY_BITS;
}

/* Threads that copy come here without the lock. Relaxed, here and below: the next look under the lock sees it. */
static void peer_lose_socket(struct adma_endpoint *ep)
{
	atomic_store_explicit(&ep->descriptors.sock_lost, true, memory_order_relaxed);
}

/* May the socket be used? Makes a system call if it was not used lately. */
static bool peer_socket_is_ours(struct adma_endpoint *ep)
{
	struct adma_descriptors *own = &ep->descriptors;
	int64_t now = adma_now();

	if (ep->connection.config.sock < 0 || atomic_load_explicit(&own->sock_lost, memory_order_relaxed))
		return false; /* an endpoint to ourselves has no socket */
	if (now - atomic_exchange_explicit(&own->sock_used_at, now, memory_order_relaxed) < ADMA_REST_NS ||
	    adma_own_is(&own->sock, ep->connection.config.sock))
		return true;
	peer_lose_socket(ep);
	return false;
}

/* The errno of a call on the socket: does it say that the number is not that of our socket? */
static bool peer_error_is_loss(int error)
{
	return error == EBADF || error == ENOTSOCK;
}

/* If the peer is gone, or has bytes to read, or memory is short, there is nothing to do: it looks by itself, or is gone. */
static void peer_send_byte(struct adma_endpoint *ep)
{
	static const char byte = BYTE_WAKE;

	if (ADMA_FAULT(ADMA_FAULT_WAKE) || !peer_socket_is_ours(ep))
		return;
	/* Threads that copy signal without the lock. */
	atomic_fetch_add_explicit(&ep->wakes_sent, 1, memory_order_relaxed);
	if (send(ep->connection.config.sock, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && peer_error_is_loss(errno))
		peer_lose_socket(ep);
}

void adma_signal_peer(struct adma_endpoint *ep)
{
	struct adma_summary *summary = atomic_load_explicit(&ep->summary, memory_order_acquire);

	if (summary) /* before the event count, which a thread that takes the bits has read before */
		adma_summary_set(summary, peer_bit(ep));
	if (adma_ec_signal(&ep->connection.config.remote->event_count))
		peer_send_byte(ep);
}

void adma_signal_match(struct adma_endpoint *ep)
{
	if (!ep->worker->copies_next)
		adma_signal_peer(ep);
	else if (!adma_list_listed(&ep->untold))
		adma_list_push_back(&ep->worker->untold, &ep->untold);
}

void adma_signal_untold(struct adma_worker *worker, const struct adma_endpoint *but)
{
	worker->copies_next = false;
	adma_list_for_each_safe(at, after, &worker->untold) {
		struct adma_endpoint *ep = adma_container_of(at, struct adma_endpoint, untold);

		if (ep == but)
			continue;
		adma_list_remove(&ep->untold);
		adma_signal_peer(ep);
	}
}

/*
 * The caller has published and signalled. The signal is a read-modify-write in sequential order, and so is
 * the one by which the reader sets `drains` before it drains: either we see it set, or the reader finds
 * what was published.
 */
void adma_ask_for_drain(struct adma_endpoint *ep)
{
	_Atomic uint32_t *drains = &ep->connection.config.local->drains;

	if (!adma_ring_is_half_full(&ep->send.ring) || !atomic_load_explicit(drains, memory_order_seq_cst))
		return;
	if (atomic_exchange_explicit(drains, 0, memory_order_seq_cst))
		peer_send_byte(ep);
}

/* ---- segments ---- */

union peer_fd_message {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* Send a byte with a descriptor. False: the socket is full, or the system lacks resources: the next look tries again. */
static bool peer_pass_fd(struct adma_endpoint *ep, char byte, int fd)
{
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union peer_fd_message control = {0};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	if (!peer_socket_is_ours(ep))
		return true;
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	if (sendmsg(ep->connection.config.sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (peer_error_is_loss(errno)) /* of the socket, or of the descriptor that was to be passed */
		peer_lose_socket(ep);
	/* If the peer is gone, a later look will find that. */
	return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN || peer_error_is_loss(errno);
}

/* Memory of a stranger is not passed: without the segment, the transfers that need it cannot go on. */
void adma_send_segment(struct adma_endpoint *ep)
{
	if (!adma_own_is(&ep->descriptors.segment, ep->send.segment_fd))
		peer_lose_socket(ep);
	if (peer_pass_fd(ep, BYTE_SEGMENT, ep->send.segment_fd))
		adma_own_close(&ep->send.segment_fd, &ep->descriptors.segment);
}

int adma_give_segment(struct adma_endpoint *ep, const struct adma_mechanism *mechanism, int *fd)
{
	int rc = mechanism->give_segment(&ep->connection, *fd);

	if (rc)
		return rc;
	/* Before it is passed: the peer may lose it at once. */
	ep->send.segments_lost = atomic_load_explicit(&ep->connection.config.local->bulk_lost, memory_order_relaxed);
	adma_own_close(&ep->send.segment_fd, &ep->descriptors.segment);
	ep->send.segment_fd = *fd;
	ep->descriptors.segment = adma_own_note(*fd);
	*fd = -1;
	adma_send_segment(ep);
	return 0;
}

void adma_offer_summary(struct adma_endpoint *ep)
{
	atomic_store_explicit(&ep->connection.config.local->bit, ep->bit, memory_order_relaxed);
	ep->summary_passed = adma_own_is(&ep->worker->summary_own, ep->worker->summary_fd) &&
			     peer_pass_fd(ep, BYTE_SUMMARY, ep->worker->summary_fd);
}

/*
 * The peer passed the summary of its worker. If it cannot be used, nothing is lost, because the peer then
 * looks at our ring directly. From the store to `summing` on it relies on our bit, which is therefore set
 * once for what was published before.
 */
static void peer_take_summary(struct adma_endpoint *ep, int fd)
{
	struct adma_summary *summary;

	if (!ep->connection.config.same_user || atomic_load_explicit(&ep->summary, memory_order_relaxed) ||
	    adma_summary_map(fd, &summary))
		return;
	atomic_store_explicit(&ep->summary, summary, memory_order_release);
	atomic_store_explicit(&ep->connection.config.local->summing, 1, memory_order_release);
	adma_signal_peer(ep);
}

/* The mechanism to which a passed segment belongs. The wire format does not name it, since there is only one. */
static const struct adma_mechanism *peer_segment_owner(const struct adma_endpoint *ep)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism_of(&ep->connection, id);

		if (mechanism && mechanism->take_segment)
			return mechanism;
	}
	return NULL;
}

/*
 * The peer's segment was lost: messages travel by another mechanism until it passes another one, for which it is told.
 * Release: once it passes that, it has seen our word, and we know already that the first one was lost.
 */
static void peer_note_lost_segment(struct adma_endpoint *ep, uint32_t id, int error)
{
	ep->receive.lost |= ADMA_MECH_BIT(id);
	ep->receive.lost_error = error;
	atomic_fetch_add_explicit(&ep->connection.config.remote->bulk_lost, 1, memory_order_release);
}

/* The peer's segment came, or could not be received. True when a segment was taken. */
static bool peer_take_segment(struct adma_endpoint *ep, int fd, int error)
{
	const struct adma_mechanism *mechanism = peer_segment_owner(ep);
	enum adma_segment_news news;

	if (!mechanism)
		return false;
	news = mechanism->take_segment(&ep->connection, fd, error);
	if (news == ADMA_SEGMENT_LOST)
		peer_note_lost_segment(ep, mechanism->id, error ? error : EPROTO);
	if (news == ADMA_SEGMENT_TAKEN)
		ep->receive.lost &= ~ADMA_MECH_BIT(mechanism->id);
	return news == ADMA_SEGMENT_TAKEN;
}

/* ---- the socket ---- */

/*
 * There is room for all that one message can carry: what did not fit, the kernel would close here and now, and the
 * last close of a file may block for as long as its maker likes. The kernel puts credentials and a security label
 * before the descriptors, and a pidfd behind them. It does so if somebody has set that on our socket: the peer can, if
 * it made the socket.
 */
union peer_fds_message {
	char space[CMSG_SPACE(ADMA_MESSAGE_FDS_MAX * sizeof(int)) + CMSG_SPACE(ADMA_MESSAGE_LABEL_MAX)];
	struct cmsghdr align;
};

struct peer_fds {
	int n;
	int fd[ADMA_MESSAGE_FDS_MAX];
};

/* The descriptors that came with a message. What the kernel made by itself is closed. */
static void peer_collect_fds(struct msghdr *msg, struct peer_fds *fds)
{
	fds->n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = c->cmsg_len > CMSG_LEN(0) ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
		bool rights = c->cmsg_type == SCM_RIGHTS, pidfd = c->cmsg_type == ADMA_SCM_PIDFD;

		if (c->cmsg_level != SOL_SOCKET || !(rights || pidfd))
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (rights && fds->n < ADMA_MESSAGE_FDS_MAX)
				fds->fd[fds->n++] = fd;
			else if (fd >= 0)
				close(fd);
		}
	}
}

/* Close what the peer passed. This is under the lock, and the progress thread may be here. */
static void peer_close_fd(const struct adma_endpoint *ep, int fd)
{
	const struct adma_config *config = &ep->connection.config;

	if (config->same_user)
		close(fd);
	else
		adma_close_apart(fd, config->uid);
}

/*
 * No byte comes with more than one descriptor, and most bytes with none. A peer of another user that breaks this rule
 * is read no more, so that it can leave only one message of descriptors here. Surplus ones of the same user are closed.
 */
static bool peer_fds_are_sound(const struct adma_endpoint *ep, char byte, int n)
{
	bool same_user = ep->connection.config.same_user;

	return same_user || n <= (byte == BYTE_SEGMENT ? 1 : 0);
}

/* Use the descriptors that came with a byte. True when a segment was taken. `lack`: why there may be none. */
static bool peer_use_fds(struct adma_endpoint *ep, const struct peer_fds *fds, char byte, int lack)
{
	if (byte == BYTE_SEGMENT)
		return peer_take_segment(ep, fds->n ? fds->fd[0] : -1, fds->n ? 0 : lack);
	if (byte == BYTE_SUMMARY && fds->n)
		peer_take_summary(ep, fds->fd[0]);
	return false;
}

enum peer_read {
	PEER_READ_SPOILT = -3,
	PEER_READ_LOST = -2,
	PEER_READ_END = -1,
	PEER_READ_NOTHING = 0, /* nothing is left there */
	PEER_READ_SOME = 1,    /* there may be more */
};

/*
 * Descriptors of another user that were of no use. An honest peer passes one segment, and perhaps others when that was
 * lost. Each may be one that blocks when it is closed, and stays open until then.
 */
#define PEER_UNWANTED_MAX 4

static bool peer_note_unwanted(struct adma_endpoint *ep, int n)
{
	ep->control.unwanted_fds += (uint32_t)n;
	return ep->connection.config.same_user || ep->control.unwanted_fds <= PEER_UNWANTED_MAX;
}

/* Take note of what came with `n` bytes, of which `byte` is the last. */
static enum peer_read peer_note_message(struct adma_endpoint *ep, struct msghdr *msg, ssize_t n, char byte,
					bool *segment_taken)
{
	struct peer_fds fds;
	bool sound, taken = false;

	peer_collect_fds(msg, &fds);
	sound = peer_fds_are_sound(ep, byte, fds.n);
	if (sound)
		taken = peer_use_fds(ep, &fds, byte, msg->msg_flags & MSG_CTRUNC ? EMFILE : EPROTO);
	*segment_taken |= taken;
	sound = sound && (taken || peer_note_unwanted(ep, fds.n));
	for (int i = 0; i < fds.n; i++)
		peer_close_fd(ep, fds.fd[i]);
	if (!sound)
		return PEER_READ_SPOILT;
	return n > 0 ? PEER_READ_SOME : PEER_READ_END;
}

/*
 * Did a read of `n` bytes leave nothing behind? A stream gives as many bytes as there are, but stops at what comes with
 * descriptors or credentials. Packets come one by one.
 */
static bool peer_read_all(const struct adma_endpoint *ep, const struct msghdr *msg, ssize_t n)
{
	return !ep->descriptors.packets && (size_t)n < msg->msg_iov->iov_len && !msg->msg_controllen &&
	       !(msg->msg_flags & MSG_CTRUNC);
}

/* `hung_up`: the end of file follows what there is. */
static enum peer_read peer_read_socket(struct adma_endpoint *ep, bool hung_up, bool *segment_taken)
{
	enum peer_read found;
	char bytes[64];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	union peer_fds_message control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	if (!peer_socket_is_ours(ep))
		return PEER_READ_LOST;
	n = recvmsg(ep->connection.config.sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && peer_error_is_loss(errno))
		return PEER_READ_LOST;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? PEER_READ_NOTHING : PEER_READ_END;
	/* Descriptors belong to the last byte that was read, because the kernel does not read past them. */
	found = peer_note_message(ep, &msg, n, n > 0 ? bytes[n - 1] : 0, segment_taken);
	return found == PEER_READ_SOME && !hung_up && peer_read_all(ep, &msg, n) ? PEER_READ_NOTHING : found;
}

/* What is known of the memory of the peer's process? The first mechanism that can tell is asked. */
static enum adma_peer_memory peer_memory(const struct adma_endpoint *ep)
{
	enum adma_peer_memory known = ADMA_PEER_MEMORY_UNKNOWN;

	for (uint32_t id = 0; id < ADMA_MECH_MAX && known == ADMA_PEER_MEMORY_UNKNOWN; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism_of(&ep->connection, id);

		if (mechanism && mechanism->peer_memory)
			known = mechanism->peer_memory(&ep->connection);
	}
	return known;
}

/*
 * The socket is at its end. Is the peer's process dead? It may have closed the socket itself, and still copy. Its
 * pidfd will tell. Where the system refuses pidfds, and nobody can look at its memory, nothing else tells of its
 * death, so the end of the socket is taken for that.
 */
static bool peer_is_dead_at_eof(const struct adma_endpoint *ep)
{
	enum adma_peer_memory memory = peer_memory(ep);

	if (memory == ADMA_PEER_MEMORY_UNKNOWN)
		return ep->connection.config.pidfd < 0 || ep->descriptors.pidfd_lost;
	return memory == ADMA_PEER_MEMORY_GONE;
}

static void peer_note_eof(struct adma_endpoint *ep)
{
	ep->control.eof = true;
	/* A peer that closes in order closes the socket after its last chunk: it touches nothing any more, either. */
	if (peer_is_dead_at_eof(ep))
		ep->control.dead = true;
	adma_terminate(ep, adma_peer_closed(ep) ? ADMA_E_CLOSED : ADMA_E_DIED);
}

static void peer_note_death(struct adma_endpoint *ep)
{
	ep->control.dead = true;
	adma_terminate(ep, adma_peer_closed(ep) ? ADMA_E_CLOSED : ADMA_E_DIED);
}

/* The socket is not ours any more: neither end can wake the other, and nothing would tell us that the peer closed. */
static bool peer_note_loss(struct adma_endpoint *ep)
{
	if (!atomic_load_explicit(&ep->descriptors.sock_lost, memory_order_relaxed) || ep->control.eof)
		return false;
	ep->control.eof = true; /* nothing more is read */
	adma_terminate(ep, ADMA_E_DESCRIPTOR);
	return true;
}

/* The peer passed what it must not. Nothing more is read, so it cannot go on with that. */
static void peer_note_spoilt(struct adma_endpoint *ep)
{
	ep->control.eof = true;
	adma_terminate(ep, ADMA_E_PROTOCOL);
}

/* The pidfd has something to tell, or its number is not ours any more: a stranger's file tells of no death. */
static bool peer_read_pidfd(struct adma_endpoint *ep)
{
	ep->descriptors.pidfd_lost = !adma_own_is(&ep->descriptors.pidfd, ep->connection.config.pidfd);
	if (ep->descriptors.pidfd_lost)
		return false;
	peer_note_death(ep);
	return true;
}

bool adma_peer_check_own(struct adma_endpoint *ep)
{
	const struct adma_config *config = &ep->connection.config;
	struct adma_descriptors *own = &ep->descriptors;

	if (config->sock >= 0 && !ep->control.eof && !adma_own_is(&own->sock, config->sock))
		peer_lose_socket(ep);
	if (adma_polled_pidfd(ep) >= 0)
		own->pidfd_lost = !adma_own_is(&own->pidfd, config->pidfd);
	return peer_note_loss(ep);
}

static void peer_read(struct adma_endpoint *ep, bool hung_up, bool *changed)
{
	enum peer_read found = PEER_READ_SOME;

	for (int i = 0; i < PEER_READS_MAX && found == PEER_READ_SOME; i++)
		found = peer_read_socket(ep, hung_up, changed);
	if (found == PEER_READ_END)
		peer_note_eof(ep);
	if (found == PEER_READ_LOST)
		peer_lose_socket(ep);
	if (found == PEER_READ_SPOILT)
		peer_note_spoilt(ep);
}

bool adma_peer_look(struct adma_endpoint *ep, short sock, short pidfd)
{
	bool eof_before = ep->control.eof, changed = peer_note_loss(ep);

	/* The byte that is read here may have been another thread's wake-up. */
	adma_mark(ep, ADMA_MARK_REARM);
	if (sock && adma_polled_sock(ep) >= 0)
		peer_read(ep, sock & (POLLHUP | POLLERR), &changed);
	changed |= peer_note_loss(ep);
	if (pidfd && adma_polled_pidfd(ep) >= 0)
		changed |= peer_read_pidfd(ep);
	return ep->control.eof != eof_before || changed;
}

bool adma_peer_check(struct adma_endpoint *ep)
{
	struct pollfd fds[2] = {
		{.fd = adma_polled_sock(ep), .events = POLLIN},
		{.fd = adma_polled_pidfd(ep), .events = POLLIN},
	};

	if (adma_poll(fds, 2, 0) <= 0)
		return peer_note_loss(ep);
	return adma_peer_look(ep, fds[0].revents, fds[1].revents);
}
