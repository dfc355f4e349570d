/* SPDX-License-Identifier: BSD-3-Clause */
/* test_notify.c - the descriptors of event loops: what is told, once, and what a fork leaves. */
#include "base/notify.h"

#include <poll.h>
#include <unistd.h>

#include "require.h"

static bool readable(const struct adma_notification *notification)
{
	struct pollfd fd = {.fd = notification->fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void test_once(void)
{
	struct adma_notification notification;

	REQUIRE(!adma_notification_open(&notification));
	REQUIRE(!adma_notification_arm(&notification));
	REQUIRE(!readable(&notification));
	adma_notify_completion();
	adma_notify_completion();
	REQUIRE(readable(&notification));
	REQUIRE(adma_notification_arm(&notification) == 2); /* which empties it */
	REQUIRE(!readable(&notification));
	REQUIRE(!adma_notification_arm(&notification));
	adma_notify_completion();
	REQUIRE(readable(&notification)); /* told again */
	adma_notification_close(&notification);
	adma_notification_close(&notification);
	REQUIRE(notification.fd == -1);
}

/* Whoever is awake is not woken, and still sees that something came. */
static void test_disarmed(void)
{
	struct adma_notification notification;

	REQUIRE(!adma_notification_open(&notification));
	(void)adma_notification_arm(&notification);
	adma_notification_disarm(&notification);
	adma_notify_completion();
	REQUIRE(!readable(&notification));
	REQUIRE(adma_notification_arm(&notification) == 1);
	adma_notify_completion();
	REQUIRE(readable(&notification));
	adma_notification_close(&notification);
}

static void test_each_is_told(void)
{
	struct adma_notification one, other;

	REQUIRE(!adma_notification_open(&one) && !adma_notification_open(&other));
	(void)adma_notification_arm(&one);
	(void)adma_notification_arm(&other);
	adma_notify_completion();
	REQUIRE(readable(&one) && readable(&other));
	adma_notification_close(&one);
	(void)adma_notification_arm(&other);
	adma_notify_completion();
	REQUIRE(readable(&other));
	adma_notification_close(&other);
}

/* A double close elsewhere may have taken the number, which may name a stranger's file. */
static void test_a_stranger_is_not_written_to(void)
{
	struct adma_notification notification;
	int ends[2], number;
	char byte;

	REQUIRE(!adma_notification_open(&notification));
	(void)adma_notification_arm(&notification);
	REQUIRE(!pipe(ends));
	number = notification.fd;
	REQUIRE(dup2(ends[1], number) == number);
	notification.used_at = 0;
	adma_notify_completion();
	close(ends[1]);
	adma_notification_close(&notification); /* it does not close the stranger's either */
	REQUIRE(!close(number));
	REQUIRE(read(ends[0], &byte, 1) == 0);
	close(ends[0]);
}

static void test_a_fork(void)
{
	struct adma_notification notification;

	REQUIRE(!adma_notification_open(&notification));
	adma_notify_before_fork();
	adma_notify_after_fork_parent();
	(void)adma_notification_arm(&notification);
	adma_notify_completion();
	REQUIRE(readable(&notification));
	adma_notify_before_fork();
	adma_notify_after_fork_child();
	REQUIRE(notification.fd == -1);
	(void)adma_notification_arm(&notification);
	adma_notify_completion();
	adma_notification_close(&notification);
}

int main(void)
{
	test_once();
	test_disarmed();
	test_each_is_told();
	test_a_stranger_is_not_written_to();
	test_a_fork();
	puts("notifications: each is told once, and again after it was armed");
	return 0;
}
