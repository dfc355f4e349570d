/* SPDX-License-Identifier: BSD-3-Clause */
/* self.c - the mechanism of an endpoint to ourselves: both buffers are in our memory. */
#include <string.h>

#include "base/residency.h"
#include "mech/mechanism.h"

/* After so many bytes a thread that copies looks at what else there is to do. */
#define CHUNK (1u << 20)

static int self_rank(const struct adma_connection *connection, uint64_t n, bool both_wait)
{
	(void)connection, (void)n, (void)both_wait;
	return 0;
}

static enum adma_reason self_reason(const struct adma_connection *connection, uint64_t n, bool chosen, bool single_copy)
{
	(void)connection, (void)n, (void)single_copy;
	return chosen ? ADMA_REASON_LAST : ADMA_REASON_UNAVAILABLE;
}

static uint64_t self_chunk(uint64_t length)
{
	(void)length;
	return CHUNK;
}

static bool self_resident(const struct adma_connection *connection, const struct adma_span *span)
{
	(void)connection;
	return adma_is_resident((const void *)(uintptr_t)span->remote, span->length);
}

static bool self_able(const struct adma_connection *connection, bool outbound)
{
	(void)connection;
	return !outbound; /* the transfer is listed twice, and once is enough */
}

static int self_copy(struct adma_connection *connection, const struct adma_span *span, uint64_t at, uint64_t n)
{
	(void)connection;
	/* A program may receive into a part of what it sends. */
	memmove(span->local + at, (const uint8_t *)(uintptr_t)span->remote + at, n);
	return 0;
}

const struct adma_mechanism adma_mech_self = {
	.name = "self",
	.id = ADMA_MECH_SELF,
	.flags = ADMA_EITHER_ENDPOINT,
	.internal = true,
	.rank = self_rank,
	.reason = self_reason,
	.chunk = self_chunk,
	.resident = self_resident,
	.able = self_able,
	.copy = self_copy,
};
