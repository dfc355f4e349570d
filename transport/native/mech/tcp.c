/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mech_tcp.c - through the network stack and back: the paper's NIC loopback.
 *
 * One connected, non-blocking TCP socket carries the transfers of both
 * directions as bare bytes, in match order; the slots tell where each ends.
 * A transfer that breaks off leaves the stream out of step, so the core
 * withdraws this mechanism at the first error.
 */
#include <errno.h>
#include <sys/socket.h>

#include "worker/channel.h"

#define CHUNK (256ull << 10)

static uint64_t chunk(uint64_t length)
{
	(void)length;
	return CHUNK;
}

/* What is left of the chunk that begins before or at `at`. */
static size_t left(const struct adma_transfer *t, uint64_t at)
{
	uint32_t i = (uint32_t)(at / t->chunk);

	return (size_t)(i * t->chunk + adma_chunk_bytes(t, i) - at);
}

static int moved(ssize_t n, uint64_t *at)
{
	if (n > 0) {
		*at += (uint64_t)n;
		return 1;
	}
	if (n == 0)
		return -ECONNRESET;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int fill(struct adma_chan *chan, const struct adma_transfer *t, uint64_t *at)
{
	return moved(send(chan->config.mech_fd[ADMA_MECH_TCP], t->local + *at, left(t, *at), MSG_DONTWAIT | MSG_NOSIGNAL), at);
}

static int drain(struct adma_chan *chan, const struct adma_transfer *t, uint64_t *at)
{
	return moved(recv(chan->config.mech_fd[ADMA_MECH_TCP], t->local + *at, left(t, *at), MSG_DONTWAIT), at);
}

static int waitfd(const struct adma_chan *chan)
{
	return chan->config.mech_fd[ADMA_MECH_TCP];
}

const struct adma_mechanism adma_mech_tcp = {
	.name = "loopback:tcp",
	.flags = ADMA_STREAM,
	.chunk = chunk,
	.fill = fill,
	.drain = drain,
	.waitfd = waitfd,
};
