/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcp.c - `loopback:tcp`: through the network stack and back, the paper's NIC loopback.
 *
 * One connected, non-blocking TCP socket carries the transfers of both directions as bare bytes,
 * in match order; the slots tell where each transfer ends. A transfer that breaks off leaves the
 * stream out of step, so the first error ends the use of this mechanism.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "mech/mechanism.h"

#define TCP_CHUNK (256ull << 10)
#define TCP_RANK 5

static uint64_t tcp_chunk(uint64_t length)
{
	(void)length;
	return TCP_CHUNK;
}

static int tcp_socket(const struct adma_connection *connection)
{
	return connection->config.mech_fd[ADMA_MECH_TCP];
}

/* How many bytes are left of the chunk in which `at` lies. */
static size_t tcp_left(const struct adma_span *span, uint64_t at)
{
	uint32_t i = (uint32_t)(at / span->chunk);

	return (size_t)(i * span->chunk + adma_chunk_bytes(span, i) - at);
}

/*
 * Other code of the process may have closed the socket, and its number may be a stranger's: so it is looked at
 * before it is used after a second without use. Relaxed: two threads at most look both.
 */
static bool tcp_is_ours(struct adma_connection *connection)
{
	int64_t now = adma_now();
	int64_t before = atomic_exchange_explicit(&connection->used_at[ADMA_MECH_TCP], now, memory_order_relaxed);

	return now - before < ADMA_REST_NS || adma_own_is(&connection->own[ADMA_MECH_TCP], tcp_socket(connection));
}

/* The socket itself tells the peer that bytes came, so the event count is not signalled. */
static int tcp_moved(ssize_t n, uint64_t *at)
{
	if (n > 0) {
		*at += (uint64_t)n;
		return ADMA_MOVED;
	}
	if (n == 0)
		return -ECONNRESET;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int tcp_fill(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	const uint8_t *from = span->local + *at;

	if (!tcp_is_ours(connection))
		return -EBADF;
	return tcp_moved(send(tcp_socket(connection), from, tcp_left(span, *at), MSG_DONTWAIT | MSG_NOSIGNAL), at);
}

static int tcp_drain(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	if (!tcp_is_ours(connection))
		return -EBADF;
	return tcp_moved(recv(tcp_socket(connection), span->local + *at, tcp_left(span, *at), MSG_DONTWAIT), at);
}

/* It is the slowest mechanism: it is used if it is forced, or if no other one works. */
static int tcp_rank(const struct adma_connection *connection, uint64_t n, bool both_wait)
{
	(void)connection, (void)n, (void)both_wait;
	return TCP_RANK;
}

static enum adma_reason tcp_reason(const struct adma_connection *connection, uint64_t n, bool chosen, bool single_copy)
{
	(void)connection, (void)n, (void)single_copy;
	return chosen ? ADMA_REASON_LAST : ADMA_REASON_SLOW;
}

static enum adma_on_error tcp_on_error(int error)
{
	(void)error;
	return ADMA_ON_ERROR_BREAK;
}

const struct adma_mechanism adma_mech_tcp = {
	.name = "loopback:tcp",
	.id = ADMA_MECH_TCP,
	.flags = ADMA_STREAM,
	.guards = true, /* send() and recv() touch our buffer, and nothing else does */
	.rank = tcp_rank,
	.reason = tcp_reason,
	.on_error = tcp_on_error,
	.chunk = tcp_chunk,
	.fill = tcp_fill,
	.drain = tcp_drain,
	.pollfd = tcp_socket,
};
