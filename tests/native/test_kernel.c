/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_kernel.c - the streams of the kernel helper's mechanisms: what is posted, what its results
 * mean, and when a buffer is taken back. The device is a double that does what the test says.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kdev/device.h"
#include "mech/mechanism.h"
#include "require.h"
#include "shm/layout.h"

#define CHUNK (64ull << 20)

extern const struct adma_mechanism adma_mech_dma, adma_mech_helper;
static const struct adma_mechanism *const mechanism = &adma_mech_dma;

/* ---- the device ---- */

static struct adma_device_entry entries[ADMA_DEVICE_ENTRIES];
static struct adma_device_post posted; /* the last one */
static int posts, cancels, maps;
static int post_error;    /* what a post returns */
static bool completes;    /* ... or it is complete when the post returns */
static bool matched;      /* a cancel is too late */
static int event;         /* readable while a completion was not counted */

static void complete(const struct adma_device_post *post, int status)
{
	uint64_t one = 1;

	entries[post->entry].length = post->length;
	atomic_store(&entries[post->entry].state, (uint64_t)post->generation << 32 | (uint32_t)status);
	REQUIRE(write(event, &one, sizeof(one)) == sizeof(one));
}

int adma_device_post(int fd, const struct adma_device_post *post)
{
	REQUIRE(fd == event && post->kind == ADMA_TAGGED && post->generation > 1);
	REQUIRE((uint32_t)entries[post->entry].state != ADMA_DEVICE_PENDING);
	REQUIRE(entries[post->entry].state >> 32 != post->generation);
	posts++;
	if (post_error)
		return post_error;
	posted = *post;
	atomic_store(&entries[post->entry].state, adma_device_pending(post->generation));
	if (completes)
		complete(post, 0);
	return 0;
}

int adma_device_cancel(int fd, uint32_t entry, uint32_t generation)
{
	REQUIRE(fd == event && entry == posted.entry && generation == posted.generation);
	cancels++;
	if (matched)
		return -EBUSY;
	complete(&posted, -ECANCELED);
	return 0;
}

int adma_device_map(int fd, const struct adma_device_entry **mapped)
{
	REQUIRE(fd == event);
	maps++;
	*mapped = entries;
	return 0;
}

void adma_device_unmap(const struct adma_device_entry *mapped)
{
	REQUIRE(mapped == entries);
	maps--;
}

/* ---- what the core does ---- */

static uint8_t buffer[16];
static struct adma_connection connection;

static void begin(void)
{
	uint64_t one = 1;

	memset(entries, 0, sizeof(entries));
	posts = cancels = post_error = 0;
	completes = matched = false;
	event = eventfd(0, EFD_NONBLOCK);
	REQUIRE(event >= 0 && write(event, &one, sizeof(one)) == sizeof(one));
	connection = (struct adma_connection){.config.forced = mechanism->id};
	connection.config.mech_fd[mechanism->id] = event;
	REQUIRE(!adma_mech_dma.open(&connection) && !adma_mech_helper.open(&connection) && maps == 1);
	REQUIRE(mechanism->pollfd(&connection) == event);
}

static void end(void)
{
	adma_mech_dma.close(&connection);
	adma_mech_helper.close(&connection);
	REQUIRE(!maps && !connection.state[mechanism->id]);
	close(event);
}

/* A descriptor that stays readable would wake a thread that sleeps again and again. */
static bool event_is_left(void)
{
	struct pollfd fd = {.fd = event, .events = POLLIN};

	return poll(&fd, 1, 0) > 0;
}

static struct adma_span span_of(bool outbound, uint64_t length, uint64_t base)
{
	return (struct adma_span){
		.outbound = outbound,
		.local = buffer,
		.length = length,
		.chunk = mechanism->chunk(length),
		.base = base,
	};
}

static int move(const struct adma_span *span, uint64_t *at)
{
	return span->outbound ? mechanism->fill(&connection, span, at) : mechanism->drain(&connection, span, at);
}

/* ---- the tests ---- */

static void chunks_are_posted_one_after_the_other(bool outbound)
{
	const struct adma_span span = span_of(outbound, 2 * CHUNK + 5, 7);
	uint64_t at = 0;

	begin();
	REQUIRE(!event_is_left());
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t n = i < 2 ? CHUNK : 5;

		REQUIRE(mechanism->ready(&connection, &span, at));
		REQUIRE(move(&span, &at) == 0 && move(&span, &at) == 0 && at == i * CHUNK);
		REQUIRE(!mechanism->ready(&connection, &span, at));
		REQUIRE(posts == (int)i + 1 && posted.key == 1 + 7 + i && posted.read == !outbound);
		REQUIRE(posted.address == buffer + i * CHUNK && posted.length == n);
		complete(&posted, 0);
		REQUIRE(mechanism->ready(&connection, &span, at));
		REQUIRE(move(&span, &at) == ADMA_MOVED && at == i * CHUNK + n && !event_is_left());
	}
	REQUIRE(at == span.length && mechanism->stop(&connection, &span) == 0 && !cancels);
	end();
}

static void what_is_copied_in_the_post_is_seen_at_once(void)
{
	const struct adma_span span = span_of(true, 8, 0);
	uint64_t at = 0;

	begin();
	completes = true;
	REQUIRE(move(&span, &at) == ADMA_MOVED && at == 8 && !event_is_left());
	end();
}

static void directions_do_not_disturb_each_other(void)
{
	const struct adma_span out = span_of(true, 8, 3), in = span_of(false, 8, 3);
	struct adma_device_post write;
	uint64_t filled = 0, drained = 0;

	begin();
	REQUIRE(move(&out, &filled) == 0);
	write = posted;
	REQUIRE(move(&in, &drained) == 0 && write.entry != posted.entry && write.key == posted.key);
	complete(&posted, 0);
	complete(&write, 0);
	REQUIRE(move(&in, &drained) == ADMA_MOVED && !event_is_left());
	REQUIRE(mechanism->ready(&connection, &out, filled) && move(&out, &filled) == ADMA_MOVED);
	end();
}

static void a_post_fails(int error, int result)
{
	const struct adma_span span = span_of(true, 8, 0);
	uint64_t at = 0;

	begin();
	post_error = error;
	REQUIRE(move(&span, &at) == result && at == 0);
	REQUIRE(mechanism->stop(&connection, &span) == 0 && !cancels);
	post_error = 0;
	REQUIRE(move(&span, &at) == 0 && posts == 2);
	complete(&posted, 0);
	REQUIRE(move(&span, &at) == ADMA_MOVED);
	end();
}

static void a_copy_fails(int status, int result)
{
	const struct adma_span span = span_of(false, 8, 0);
	uint64_t at = 0;

	begin();
	REQUIRE(move(&span, &at) == 0);
	complete(&posted, status);
	REQUIRE(move(&span, &at) == result && at == 0 && !event_is_left());
	REQUIRE(mechanism->stop(&connection, &span) == (result == -EIO ? -EIO : 0) && !cancels);
	REQUIRE(mechanism->stop(&connection, &span) == 0);
	end();
}

/* The reader's buffer may still be written. The writer's is only read. */
static void an_engine_does_not_stop(bool outbound)
{
	const struct adma_span span = span_of(outbound, 8, 0);
	uint64_t at = 0;

	begin();
	REQUIRE(move(&span, &at) == 0);
	matched = true;
	REQUIRE(mechanism->stop(&connection, &span) == -EBUSY);
	complete(&posted, -EIO);
	REQUIRE(mechanism->stop(&connection, &span) == (outbound ? 0 : -EIO));
	end();
}

static void the_peer_posted_something_else(void)
{
	const struct adma_span span = span_of(false, 8, 0);
	uint64_t at = 0;

	begin();
	REQUIRE(move(&span, &at) == 0);
	posted.length = 7;
	complete(&posted, 0);
	REQUIRE(move(&span, &at) == -EPROTO && at == 0);
	end();
}

static void another_process_reused_the_entry(void)
{
	const struct adma_span span = span_of(true, 8, 0);
	uint64_t at = 0;

	begin();
	REQUIRE(move(&span, &at) == 0);
	posted.generation += 5;
	complete(&posted, 0);
	REQUIRE(move(&span, &at) == -EPROTO && at == 0);
	end();
}

static void a_buffer_is_taken_back(void)
{
	const struct adma_span span = span_of(false, 8, 0), next = span_of(false, 8, 1);
	uint64_t at = 0;

	begin();
	REQUIRE(mechanism->stop(&connection, &span) == 0 && !cancels); /* nothing is posted */
	REQUIRE(move(&span, &at) == 0);
	REQUIRE(mechanism->stop(&connection, &span) == 0 && cancels == 1 && !event_is_left());
	REQUIRE(move(&next, &at) == 0 && posts == 2 && posted.key == 2);
	end();
}

static void it_is_too_late_for_that(void)
{
	const struct adma_span span = span_of(false, 8, 0);
	uint64_t at = 0;

	begin();
	REQUIRE(move(&span, &at) == 0);
	matched = true;
	REQUIRE(mechanism->stop(&connection, &span) == -EBUSY && mechanism->stop(&connection, &span) == -EBUSY);
	REQUIRE(cancels == 1 && !mechanism->ready(&connection, &span, at));
	complete(&posted, 0);
	REQUIRE(mechanism->ready(&connection, &span, at));
	REQUIRE(mechanism->stop(&connection, &span) == 0 && cancels == 1 && !event_is_left());
	end();
}

/* Another mechanism's state is left alone. */
static void nothing_is_done_unless_it_is_forced(void)
{
	static char state;
	struct adma_connection other = {.config.forced = ADMA_MECH_CMA, .state = {[ADMA_MECH_CMA] = &state}};

	REQUIRE(!mechanism->open(&other) && !maps && mechanism->pollfd(&other) == -1);
	mechanism->close(&other);
	REQUIRE(other.state[ADMA_MECH_CMA] == &state);
}

int main(void)
{
	chunks_are_posted_one_after_the_other(true);
	chunks_are_posted_one_after_the_other(false);
	what_is_copied_in_the_post_is_seen_at_once();
	directions_do_not_disturb_each_other();
	a_post_fails(-EFAULT, -EFAULT);
	a_post_fails(-EDQUOT, -EDQUOT);
	a_post_fails(-EPIPE, -EPIPE);
	a_post_fails(-EINTR, 0);
	a_copy_fails(-EFAULT, -EFAULT);
	a_copy_fails(-ENOMEM, -ENOMEM);
	a_copy_fails(-EIO, -EIO);
	a_copy_fails(-ESRCH, -EPIPE);
	a_copy_fails(-EMSGSIZE, -EPROTO);
	a_copy_fails(-EPROTOTYPE, -EPROTO);
	an_engine_does_not_stop(true);
	an_engine_does_not_stop(false);
	the_peer_posted_something_else();
	another_process_reused_the_entry();
	a_buffer_is_taken_back();
	it_is_too_late_for_that();
	nothing_is_done_unless_it_is_forced();
	puts("kernel: what is posted, what its results mean, and when a buffer is taken back");
	return 0;
}
