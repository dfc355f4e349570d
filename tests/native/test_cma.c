/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_cma.c - short pulls through the peer's /proc/PID/mem, and what takes their place where that is not possible;
 * and what the peer has shown before a push.
 *
 * The peer is a child with memory at a known address. It may call exec: it runs this program again then, with memory
 * of other contents at the same address. No byte of that may be taken for a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mech/mechanism.h"
#include "race.h"

#define AREA ((uint8_t *)0x200000000000)
#define AREA_BYTES (64u << 10)
#define NONCE_AT (AREA_BYTES - 4096)
#define SHORT 4096u
#define OTHER "other" /* the argument after which this program is the peer's next image */

extern const struct adma_mechanism adma_mech_cma;

static uint8_t byte_at(uint64_t at, bool other)
{
	return (uint8_t)(at * 31 + at / 251 + (other ? 128 : 0));
}

static void make_area(bool other)
{
	uint8_t *area = mmap(AREA, AREA_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	REQUIRE(area == AREA);
	for (uint64_t i = 0; i < AREA_BYTES; i++)
		area[i] = byte_at(i, other);
}

/* ---- the peer ---- */

struct peer {
	pid_t pid;
	int says, hears; /* what it says to us, and what it hears of us */
};

static void say(int fd)
{
	REQUIRE(write(fd, "x", 1) == 1);
}

static void hear(int fd)
{
	char byte;

	REQUIRE(read(fd, &byte, 1) == 1);
}

static void be_peer(int says, int hears)
{
	char numbers[2][12];

	REQUIRE(!prctl(PR_SET_PDEATHSIG, SIGKILL));
	make_area(false);
	say(says);
	hear(hears);
	(void)snprintf(numbers[0], sizeof(numbers[0]), "%d", says);
	(void)snprintf(numbers[1], sizeof(numbers[1]), "%d", hears);
	execl("/proc/self/exe", "test_cma", OTHER, numbers[0], numbers[1], (char *)NULL);
	abort();
}

static int be_other(char **numbers)
{
	make_area(true);
	say(atoi(numbers[0]));
	hear(atoi(numbers[1]));
	return 0;
}

static struct peer peer_start(void)
{
	int up[2], down[2];
	struct peer peer;

	REQUIRE(!pipe(up) && !pipe(down));
	peer.pid = fork();
	REQUIRE(peer.pid >= 0);
	if (!peer.pid)
		be_peer(up[1], down[0]);
	close(up[1]);
	close(down[0]);
	peer.says = up[0];
	peer.hears = down[1];
	hear(peer.says);
	return peer;
}

/* It runs another program from now on. */
static void peer_exec(const struct peer *peer)
{
	say(peer->hears);
	hear(peer->says);
}

static void peer_end(const struct peer *peer)
{
	REQUIRE(!kill(peer->pid, SIGKILL) && waitpid(peer->pid, NULL, 0) == peer->pid);
	close(peer->says);
	close(peer->hears);
}

/* ---- a connection to it ---- */

static struct adma_connection connect_to(const struct peer *peer)
{
	struct adma_connection connection = {0};

	connection.config.pid = peer->pid;
	connection.config.nonce_address = (uintptr_t)AREA + NONCE_AT;
	for (uint64_t i = 0; i < sizeof(connection.config.nonce); i++)
		connection.config.nonce[i] = byte_at(NONCE_AT + i, false);
	connection.config.mech_found[ADMA_MECH_CMA] = ADMA_CMA_PULL | ADMA_CMA_PUSH;
	REQUIRE(!adma_mech_cma.open(&connection));
	return connection;
}

static uint8_t local[AREA_BYTES];

/* Pull n bytes from that place of the peer. 0 or an error. */
static int pull(struct adma_connection *connection, uint64_t from, uint64_t n)
{
	struct adma_span span = {.local = local, .remote = (uintptr_t)AREA + from, .length = n, .chunk = n};

	memset(local, 0, sizeof(local));
	return adma_mech_cma.copy(connection, &span, 0, n);
}

static void require_bytes(uint64_t from, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		REQUIRE(local[i] == byte_at(from + i, false));
	REQUIRE(!local[n]);
}

/* Our descriptor of the peer's memory, or -1. */
static int memory_of(const struct peer *peer)
{
	char wanted[32], path[32], found[64];

	(void)snprintf(wanted, sizeof(wanted), "/proc/%d/mem", peer->pid);
	for (int fd = 0; fd < 100; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, found, sizeof(found) - 1);
		found[n > 0 ? n : 0] = 0;
		if (!strcmp(found, wanted))
			return fd;
	}
	return -1;
}

/* ---- tests ---- */

static void test_lengths(void)
{
	static const uint64_t lengths[] = {1, 8, 100, SHORT - 1, SHORT, SHORT + 1, 3 * SHORT};
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		REQUIRE(!pull(&connection, 4000, lengths[i]));
		require_bytes(4000, lengths[i]);
	}
	REQUIRE(memory_of(&peer) >= 0);
	adma_mech_cma.close(&connection);
	REQUIRE(memory_of(&peer) < 0);
	peer_end(&peer);
}

/* A long pull needs no descriptor, and an idle connection has none. */
static void test_opened_late(void)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	REQUIRE(!pull(&connection, 0, SHORT + 1) && memory_of(&peer) < 0);
	REQUIRE(!pull(&connection, 0, SHORT) && memory_of(&peer) >= 0);
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

static void test_exec(uint64_t n, bool opened)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	if (opened)
		REQUIRE(!pull(&connection, 0, 1));
	peer_exec(&peer);
	REQUIRE(pull(&connection, 0, n) == ADMA_E_DIED);
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

static void test_death(void)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	REQUIRE(!pull(&connection, 0, 1));
	peer_end(&peer);
	REQUIRE(pull(&connection, 0, 1) == ADMA_E_DIED);
	adma_mech_cma.close(&connection);
}

/* A page that is not there: the same error as without the descriptor. */
static void test_no_page(void)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	REQUIRE(pull(&connection, AREA_BYTES, 8) == ADMA_E_MEMORY_PEER);
	REQUIRE(pull(&connection, AREA_BYTES - 8, 16) == ADMA_E_MEMORY_PEER);
	REQUIRE(!pull(&connection, 0, 8));
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

/* Where it cannot be opened, short messages are pulled as long ones are. */
static void test_no_descriptor(void)
{
	struct rlimit before, none = {0};
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	REQUIRE(!getrlimit(RLIMIT_NOFILE, &before));
	none.rlim_max = before.rlim_max;
	REQUIRE(!setrlimit(RLIMIT_NOFILE, &none));
	REQUIRE(!pull(&connection, 10, 100));
	REQUIRE(!setrlimit(RLIMIT_NOFILE, &before));
	require_bytes(10, 100);
	REQUIRE(!pull(&connection, 20, 100) && memory_of(&peer) < 0);
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

/* Its number names a stranger's file, which reads zeros at any place. */
static void test_stray_close(void)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);
	int fd, stranger = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	REQUIRE(!pull(&connection, 0, 1));
	fd = memory_of(&peer);
	REQUIRE(stranger >= 0 && fd >= 0 && dup2(stranger, fd) == fd);
	atomic_store(&connection.used_at[ADMA_MECH_CMA], 0); /* it has not been used for long */
	REQUIRE(!pull(&connection, 0, 100));
	require_bytes(0, 100);
	adma_mech_cma.close(&connection);
	REQUIRE(fcntl(fd, F_GETFD) >= 0); /* the stranger's file is still open */
	close(fd);
	close(stranger);
	peer_end(&peer);
}

/* Push n bytes to that place of the peer, of a write that was posted then. 0 or an error. */
static int push(struct adma_connection *connection, uint64_t to, uint64_t n, int64_t posted_at)
{
	struct adma_span span = {.outbound = true,
				 .local = local,
				 .remote = (uintptr_t)AREA + to,
				 .length = n,
				 .chunk = n,
				 .posted_at = posted_at};

	return adma_mech_cma.copy(connection, &span, 0, n);
}

static bool peer_has(struct adma_connection *connection, uint64_t at, uint8_t byte)
{
	return !pull(connection, at, 1) && local[0] == byte;
}

/* Before a push the peer shows its nonce, unless it was there a moment ago. */
static void test_push(void)
{
	const int64_t long_ago = adma_now() - 1000000000;
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);
	uint8_t *nonce = connection.config.nonce;

	memset(local, 7, 100);
	nonce[0] ^= 1;
	REQUIRE(push(&connection, 0, 100, long_ago) == ADMA_E_DIED);
	REQUIRE(push(&connection, 0, 100, 0) == ADMA_E_DIED);
	nonce[0] ^= 1;
	REQUIRE(peer_has(&connection, 0, byte_at(0, false)));
	memset(local, 7, 100);
	REQUIRE(!push(&connection, 0, 100, long_ago));
	REQUIRE(peer_has(&connection, 99, 7));
	nonce[0] ^= 1;
	memset(local, 8, 100);
	REQUIRE(!push(&connection, 100, 100, adma_now() + HANG_NS)); /* it has matched this since */
	nonce[0] ^= 1;
	REQUIRE(peer_has(&connection, 199, 8));
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

static void test_push_after_exec(void)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	peer_exec(&peer);
	memset(local, 7, 100);
	REQUIRE(push(&connection, 0, 100, 0) == ADMA_E_DIED);
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

/* Of another process's memory nothing is read, whatever its pid is. */
static void test_wrong_nonce(void)
{
	struct peer peer = peer_start();
	struct adma_connection connection = connect_to(&peer);

	connection.config.nonce[15] ^= 1;
	REQUIRE(pull(&connection, 0, 8) == ADMA_E_DIED && memory_of(&peer) < 0);
	adma_mech_cma.close(&connection);
	peer_end(&peer);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OTHER))
		return be_other(argv + 2);
	test_lengths();
	test_opened_late();
	test_exec(8, true);
	test_exec(8, false);
	test_exec(3 * SHORT, true);
	test_death();
	test_no_page();
	test_no_descriptor();
	test_stray_close();
	test_wrong_nonce();
	test_push();
	test_push_after_exec();
	printf("cma: short pulls, and pushes\n");
	return 0;
}
