/* SPDX-License-Identifier: BSD-3-Clause */
/* tap.c - a small test harness; see tap.h. */
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED         77
#define DEFAULT_SECONDS 30

void tap_fail(const char *file, int line, const char *what, ...)
{
	va_list list;

	printf("# %s:%d: ", file, line);
	va_start(list, what);
	vprintf(what, list);
	va_end(list);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void tap_skip(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(SKIPPED);
}

int spawn(void (*run)(void *), void *argument)
{
	int pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	run(argument);
	_exit(0);
}

static int wait_exit(int pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	return status;
}

void join(int pid)
{
	int status = wait_exit(pid);

	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

void join_killed(int pid)
{
	int status = wait_exit(pid);

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The time limits are meant for a real machine. An emulated one is given more time. */
static unsigned slowness(void)
{
	const char *value = getenv("ADMA_TEST_SLOWNESS");

	return value ? (unsigned)atoi(value) : 1;
}

/* Returns the exit status of the test, or 1 when a signal ended it. */
static int run_one(const struct test *test)
{
	int pid, status;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return 1;
	if (!pid) {
		setpgid(0, 0);
		alarm((test->seconds ? test->seconds : DEFAULT_SECONDS) * slowness());
		test->run();
		fflush(stdout);
		_exit(0);
	}
	setpgid(pid, pid);
	status = wait_exit(pid);
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status)) {
		printf("# ended by signal %d%s\n", WTERMSIG(status),
		       WTERMSIG(status) == SIGALRM ? " (its time limit)" : "");
		return 1;
	}
	return WEXITSTATUS(status);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool wanted(const char *name, int argc, char **argv)
{
	if (argc < 2)
		return true;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return false;
}

int tap_main(int argc, char **argv, const struct test *tests, size_t count)
{
	unsigned number = 0, failed = 0;

	for (size_t i = 0; i < count; i++) {
		double start = now();
		int status;

		if (!wanted(tests[i].name, argc, argv))
			continue;
		status = run_one(&tests[i]);
		failed += status && status != SKIPPED;
		printf("%sok %u - %s (%.1f s)%s\n", status && status != SKIPPED ? "not " : "", ++number, tests[i].name,
		       now() - start, status == SKIPPED ? " # SKIP" : "");
	}
	printf("1..%u\n", number);
	return failed || !number;
}
