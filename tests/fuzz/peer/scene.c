/* SPDX-License-Identifier: BSD-3-Clause */
/* scene.c - see scene.h. */
#include "scene.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "adma_handshake.h"
#include "base/clock.h"

#define PAGE 4096
#define HANG_NS 5000000000ll
#define FD_RANGE 64 /* more than a program has open */

uint8_t outgoing[LONGEST];
static struct adma_nonce *nonce;
static pid_t other; /* the peer's process */
static bool inside; /* a scene */
static bool fds_before[FD_RANGE];

/* ---- no threads that work, and a guard behind each map ---- */

int __real_adma_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *), void *argument);
int __wrap_adma_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *), void *argument);

/* Threads that only close what nobody may wait for change nothing in a scene. */
int __wrap_adma_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *), void *argument)
{
	return strcmp(name, "adma-closer") ? EAGAIN : __real_adma_thread_start(thread, name, stack, run, argument);
}

void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n);

static size_t guarded(size_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE + PAGE;
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	void *room, *map;

	if (!inside || at)
		return __real_mmap(at, n, prot, flags, fd, offset);
	room = __real_mmap(NULL, guarded(n), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return room;
	map = __real_mmap(room, n, prot, flags | MAP_FIXED, fd, offset);
	if (map == MAP_FAILED)
		__real_munmap(room, guarded(n));
	return map;
}

int __wrap_munmap(void *at, size_t n)
{
	return __real_munmap(at, inside ? guarded(n) : n);
}

uint64_t draw_length(struct program *program)
{
	static const uint32_t lengths[] = {1,
					   8,
					   ADMA_INLINE_MAX,
					   100,
					   4096,
					   ADMA_EAGER_MAX,
					   ADMA_EAGER_MAX + 8,
					   ADMA_BUFFER_SIZE,
					   ADMA_BULK_CELL,
					   3 * ADMA_BULK_CELL,
					   ADMA_BULK_SIZE,
					   LONGEST - 1};
	uint8_t how = (uint8_t)next(program, 1);

	return lengths[how % COUNT(lengths)] + how / COUNT(lengths) % 3 - 1;
}

int make_bulk(void)
{
	int fd = adma_memory_open("adma-bulk");

	REQUIRE(fd >= 0 && !adma_memory_allocate(fd, adma_bulk_size()) && !adma_memory_seal(fd));
	return fd;
}

/* ---- two ends ---- */

static void make_config(struct scene *scene, struct adma_config *config, int e, uint32_t kind)
{
	uint32_t all = ADMA_MECH_BIT(ADMA_MECH_SHARED) | ADMA_MECH_BIT(ADMA_MECH_CMA) | ADMA_MECH_BIT(ADMA_MECH_TCP);
	static const uint32_t forced[] = {ADMA_MECH_NONE, ADMA_MECH_SHARED, ADMA_MECH_CMA, ADMA_MECH_TCP};

	*config = (struct adma_config){
		.sock = fcntl(scene->socks[e], F_DUPFD_CLOEXEC, 0),
		.pid = other,
		.pidfd = (int)syscall(SYS_pidfd_open, other, 0),
		.nonce_address = adma_nonce_address(nonce),
		.forced = forced[kind % 4],
		.same_user = kind & 4,
		.copiers = ADMA_COPY_AS_READER | ADMA_COPY_AS_WRITER,
		.single_copy_from = kind & 8 ? 30000 : 300000,
		.single_copy_from_waiting = 60000,
		.learns = kind & 16,
	};
	if (!config->same_user && config->forced != ADMA_MECH_CMA)
		all &= ~ADMA_MECH_BIT(ADMA_MECH_CMA);
	config->out_mask = config->in_mask = all;
	for (int id = 0; id < ADMA_MECH_MAX; id++)
		config->mech_fd[id] = -1;
	config->mech_fd[ADMA_MECH_TCP] = fcntl(scene->streams[e], F_DUPFD_CLOEXEC, 0);
	config->mech_found[ADMA_MECH_CMA] = ADMA_CMA_PULL | ADMA_CMA_PUSH;
	memcpy(config->nonce, nonce->bytes, sizeof(config->nonce));
}

/* The end's own map of its segment, the other end's, and the attacker's. */
static void make_segment(struct scene *scene, struct adma_config configs[ENDS], int e)
{
	int fd;

	REQUIRE(!adma_segment_make(&fd, &configs[e].local));
	REQUIRE(!adma_segment_map(fd, false, &configs[!e].remote));
	REQUIRE(!adma_segment_map(fd, false, &scene->segments[e]));
	close(fd);
}

void make_scene(struct scene *scene, uint8_t kind)
{
	struct adma_config configs[ENDS];
	int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

	for (int fd = 0; fd < FD_RANGE; fd++)
		fds_before[fd] = fcntl(fd, F_GETFD) >= 0;
	inside = true;
	REQUIRE(!socketpair(AF_UNIX, type, 0, scene->socks) && !socketpair(AF_UNIX, type, 0, scene->streams));
	for (int e = 0; e < ENDS; e++)
		make_config(scene, &configs[e], e, kind);
	for (int e = 0; e < ENDS; e++)
		make_segment(scene, configs, e);
	for (int e = 0; e < ENDS; e++)
		REQUIRE(!adma_chan_new(&configs[e], &scene->ends[e].chan));
}

/* ---- the end ---- */

/* Whatever came over the socket was closed. */
static void check_descriptors(void)
{
	int64_t end = adma_now() + HANG_NS;

	for (int fd = 0; fd < FD_RANGE; fd++) {
		while (!fds_before[fd] && fcntl(fd, F_GETFD) >= 0) {
			REQUIRE(adma_now() < end);
			sched_yield();
		}
	}
}

void end_scene(struct scene *scene)
{
	for (int e = 0; e < ENDS; e++)
		close_end(&scene->ends[e]);
	for (int e = 0; e < ENDS; e++) {
		adma_chan_free(scene->ends[e].chan);
		adma_segment_unmap(scene->segments[e]);
		if (scene->bulk[e])
			munmap(scene->bulk[e], adma_bulk_size());
		close(scene->socks[e]);
		close(scene->streams[e]);
	}
	check_descriptors();
	inside = false;
}

/* ---- the process of mapped:cma ---- */

void make_process(void)
{
	nonce = adma_nonce_new();
	memset(outgoing, 0x11, sizeof(outgoing));
	other = fork();
	REQUIRE(nonce && other >= 0);
	if (!other) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}
