/* SPDX-License-Identifier: BSD-3-Clause */
/* pair.c - see pair.h; in place of the core's shm/segment.c. */
#include "pair.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "adma_handshake.h"
#include "shm/layout.h"
#include "race.h"

/* ---- half.c, with segments of this process alone ---- */

uint64_t adma_segment_size(void)
{
	return sizeof(struct adma_segment);
}

void adma_segment_init(struct adma_segment *segment)
{
	adma_shared_store_u64(&segment->magic, ADMA_SEGMENT_MAGIC);
}

/* Both ends have it; who made it frees it. */
void adma_segment_unmap(struct adma_segment *segment)
{
	(void)segment;
}

/* Most of a segment is never touched, and so takes no memory. */
struct adma_segment *make_segment(void)
{
	struct adma_segment *segment = mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(segment != MAP_FAILED);
	adma_segment_init(segment);
	return segment;
}

void free_segment(struct adma_segment *segment)
{
	munmap(segment, sizeof(*segment));
}

/* ---- two ends ---- */

static void tcp_pair(int tcp[ENDS])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(listener >= 0 && !bind(listener, (struct sockaddr *)&at, n) && !listen(listener, 1));
	REQUIRE(!getsockname(listener, (struct sockaddr *)&at, &n));
	tcp[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(!connect(tcp[0], (struct sockaddr *)&at, n));
	tcp[1] = accept(listener, NULL, NULL);
	REQUIRE(tcp[1] >= 0);
	close(listener);
	for (int i = 0; i < ENDS; i++) {
		REQUIRE(!fcntl(tcp[i], F_SETFL, O_NONBLOCK));
		REQUIRE(!setsockopt(tcp[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	}
}

void make_configs(struct adma_config configs[ENDS], struct adma_segment *segments[ENDS], const struct adma_nonce *nonce,
		  uint32_t forced)
{
	int socks[ENDS], tcp[ENDS];
	uint32_t all = ADMA_MECH_BIT(ADMA_MECH_SHARED) | ADMA_MECH_BIT(ADMA_MECH_CMA) | ADMA_MECH_BIT(ADMA_MECH_TCP);

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, socks));
	tcp_pair(tcp);
	for (int i = 0; i < ENDS; i++) {
		struct adma_config *config = &configs[i];

		*config = (struct adma_config){
			.sock = socks[i],
			.pid = getpid(),
			.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0),
			.local = segments[i],
			.remote = segments[!i],
			.nonce_address = adma_nonce_address(nonce),
			.out_mask = all,
			.in_mask = all,
			.forced = forced,
			.same_user = true,
			.copiers = ADMA_COPY_AS_READER | ADMA_COPY_AS_WRITER,
			.single_copy_from = 300000,
			.single_copy_from_waiting = 600000,
			.learns = true,
		};

		for (int id = 0; id < ADMA_MECH_MAX; id++)
			config->mech_fd[id] = -1;
		config->mech_fd[ADMA_MECH_TCP] = tcp[i];
		config->mech_found[ADMA_MECH_CMA] = ADMA_CMA_PULL | ADMA_CMA_PUSH;
		memcpy(config->nonce, nonce->bytes, sizeof(config->nonce));
	}
}

void make_ends(struct adma_chan *ends[ENDS], struct adma_segment *segments[ENDS], const struct adma_nonce *nonce,
	       uint32_t forced)
{
	struct adma_config configs[ENDS];

	make_configs(configs, segments, nonce, forced);
	for (int i = 0; i < ENDS; i++)
		REQUIRE(!adma_chan_new(&configs[i], &ends[i]));
}

int make_bulk(void)
{
	int fd = memfd_create("test-bulk", MFD_CLOEXEC);

	REQUIRE(fd >= 0 && !ftruncate(fd, (off_t)adma_bulk_size()));
	return fd;
}

int bring_bulk(struct adma_chan *chan, uint64_t n)
{
	return adma_wants_bulk(chan, n) ? adma_give_bulk(chan, make_bulk()) : 0;
}
