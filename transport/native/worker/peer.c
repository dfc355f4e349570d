/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer.c - the other end, seen from outside the rings: wake-ups, segments, death.
 *
 * After the handshake the socket carries single bytes: BYTE_WAKE ends a
 * sleep, BYTE_SEGMENT comes with the descriptor of the peer's bulk segment.
 * Nothing is ever waited for here; a socket that is full means that the peer
 * has unread bytes and is awake already, or will be.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/channel.h"

#define BYTE_WAKE 'w'
#define BYTE_SEGMENT 's'

/* Reads of the socket in one go; a peer that floods it is read on at the next look. */
#define READS_MAX 16

void adma_signal_peer(struct adma_chan *chan)
{
	static const char byte = BYTE_WAKE;

	if (!adma_ec_signal(&chan->in.segment->event_count))
		return;
	if (ADMA_FAULT(ADMA_FAULT_WAKE))
		return;
	/* Streams ring without the lock. */
	atomic_fetch_add_explicit(&chan->wakes_sent, 1, memory_order_relaxed);
	(void)!send(chan->config.sock, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool adma_peer_closed(struct adma_chan *chan)
{
	return atomic_load_explicit(&chan->in.segment->closed, memory_order_acquire) != 0;
}

/* ---- bulk segments ---- */

union fd_message {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

void adma_send_bulk(struct adma_chan *chan)
{
	char byte = BYTE_SEGMENT;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	union fd_message control = {0};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &chan->bulk_fd, sizeof(int));
	if (sendmsg(chan->config.sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != ECONNRESET && errno != ENOTCONN)
		return; /* full, or short of something: at the next look */
	close(chan->bulk_fd); /* sent, or the peer is gone and will be found gone */
	chan->bulk_fd = -1;
}

int adma_give_bulk(struct adma_chan *chan, int fd)
{
	int rc = adma_enter(chan);
	void *p;
	int copy;

	if (rc)
		return rc;
	if (chan->bulk_out)
		goto out; /* another thread was first */
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0) {
		rc = -errno;
		goto out;
	}
	p = mmap(NULL, ADMA_BULK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		rc = -errno;
		close(copy);
		goto out;
	}
	chan->bulk_out = p;
	chan->bulk_fd = copy;
	adma_send_bulk(chan);
out:
	adma_leave(chan);
	return rc;
}

static bool good_segment(const struct adma_chan *chan, int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < ADMA_BULK_SIZE)
		return false;
	/* Between processes of one user a POSIX segment will do, which cannot be sealed. */
	return chan->config.same_user || (seals >= 0 && (seals & wanted) == wanted);
}

/* 0, or the errno for which there is no segment. */
static int take_segment(struct adma_chan *chan, int fd)
{
	void *p;

	if (!good_segment(chan, fd))
		return EPROTO;
	p = mmap(NULL, ADMA_BULK_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return errno;
	/* Whoever sees it uses the mapping at once: release, for adma_mech_shared's drain. */
	atomic_store_explicit(&chan->bulk_in, p, memory_order_release);
	return 0;
}

/* The peer's segment did not come through: its messages take another way from now on. */
static void lose_segment(struct adma_chan *chan, int err)
{
	chan->bulk_in_errno = err;
	chan->config.in_mask &= ~ADMA_MECH_BIT(ADMA_MECH_SHARED);
}

/* ---- the socket ---- */

/* Room for a few descriptors: a stranger's surplus is received only to be closed. */
union fds_message {
	char space[CMSG_SPACE(4 * sizeof(int))];
	struct cmsghdr align;
};

static void take_fds(struct adma_chan *chan, struct msghdr *msg, bool segment)
{
	int err = msg->msg_flags & MSG_CTRUNC ? EMFILE : EPROTO;

	segment = segment && !chan->bulk_in;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = c->cmsg_len > CMSG_LEN(0) ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (segment && i == 0)
				err = take_segment(chan, fd);
			close(fd);
		}
	}
	if (segment && err)
		lose_segment(chan, err);
}

/* One read. > 0: go on; 0: nothing more now; < 0: the socket ended. */
static int read_socket(struct adma_chan *chan)
{
	char bytes[64];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	union fds_message control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n = recvmsg(chan->config.sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	/* Descriptors come with the last byte read: the kernel does not read past them. */
	take_fds(chan, &msg, n > 0 && bytes[n - 1] == BYTE_SEGMENT);
	return n > 0 ? 1 : -1;
}

static void note_eof(struct adma_chan *chan)
{
	chan->eof = true;
	if (adma_peer_closed(chan)) {
		adma_terminate(chan, ADMA_E_CLOSED);
		return;
	}
	/* Not dead yet for certain: it may have called exec, or closed the socket by hand. */
	if ((chan->config.mech_found[ADMA_MECH_CMA] & ADMA_CMA_PULL) && adma_peer_nonce_check(chan) == ADMA_E_DIED)
		chan->dead = true;
	adma_terminate(chan, ADMA_E_DIED);
}

static void note_death(struct adma_chan *chan)
{
	chan->dead = true;
	adma_terminate(chan, adma_peer_closed(chan) ? ADMA_E_CLOSED : ADMA_E_DIED);
}

bool adma_peer_check(struct adma_chan *chan)
{
	struct pollfd fds[2] = {
		{.fd = chan->eof ? -1 : chan->config.sock, .events = POLLIN},
		{.fd = chan->dead ? -1 : chan->config.pidfd, .events = POLLIN},
	};
	bool before_eof = chan->eof, before_dead = chan->dead, before_bulk = chan->bulk_in;

	chan->looked_at = adma_now();
	if (poll(fds, 2, 0) <= 0)
		return false;
	if (fds[0].revents) {
		int rc = 1;

		for (int i = 0; i < READS_MAX && rc > 0; i++)
			rc = read_socket(chan);
		if (rc < 0)
			note_eof(chan);
	}
	if (fds[1].revents)
		note_death(chan);
	return chan->eof != before_eof || chan->dead != before_dead || (chan->bulk_in && !before_bulk);
}
