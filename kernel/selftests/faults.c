/* SPDX-License-Identifier: BSD-3-Clause */
/* faults.c - makes allocations fail on purpose; see faults.h. */
#include "faults.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "knob.h"
#include "tap.h"

#define DEBUGFS "/sys/kernel/debug/"

static void set(const char *kind, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", kind, name);
	CHECK(knob(path, value));
}

bool faults_prepare(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

	if (access("/proc/thread-self/fail-nth", W_OK))
		return false;
	for (size_t i = 0; i < 3; i++)
		set(kinds[i], "verbose", "0"); /* a trace in the log would look like a bug */
	for (size_t i = 0; i < 2; i++)
		set(kinds[i], "ignore-gfp-wait", "N");
	set("fail_page_alloc", "min-order", "0");
	set("fail_page_alloc", "ignore-gfp-highmem", "N");
	return true;
}

void faults_at_random(unsigned percent)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", percent);
	set("failslab", "task-filter", "Y");
	set("failslab", "times", "-1");
	set("failslab", "probability", text);
}

void faults_own(void)
{
	CHECK(knob("/proc/self/make-it-fail", "1"));
}
