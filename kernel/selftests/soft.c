/* SPDX-License-Identifier: BSD-3-Clause */
/* soft.c - controls the software DMA provider; see soft.h. */
#include "soft.h"

#include <stdio.h>
#include <unistd.h>

#include "knob.h"
#include "tap.h"

#define PLATFORM "/sys/bus/platform"
#define DEVICE   PLATFORM "/devices/adma_soft"
#define QUEUES   "/sys/bus/adma_soft/drivers/adma_soft_queue"

void soft_set(const char *parameter, unsigned value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/module/adma_soft/parameters/%s", parameter);
	snprintf(text, sizeof(text), "%u", value);
	CHECK(knob(path, text));
}

void soft_unbind(void)
{
	CHECK(knob(DEVICE "/driver/unbind", "adma_soft"));
}

void soft_unbind_queue(unsigned number)
{
	char name[16];

	snprintf(name, sizeof(name), "queue%u", number);
	CHECK(knob(QUEUES "/unbind", name));
}

static void soft_bind_to(const char *driver)
{
	char path[128];

	CHECK(knob(DEVICE "/driver_override", driver));
	snprintf(path, sizeof(path), PLATFORM "/drivers/%s/bind", driver);
	CHECK(knob(path, "adma_soft"));
}

void soft_bind(const struct soft *soft)
{
	static const struct soft harmless = { 0 };

	if (access(DEVICE, F_OK))
		tap_skip("no adma_soft");
	/* Before the device goes, hanging copies have to complete, and DMA channels have to stop. */
	soft_misbehave(&harmless);
	if (!access(DEVICE "/driver", F_OK))
		soft_unbind();
	soft_set("channels", soft->channels ? soft->channels : 4);
	soft_set("descs", soft->descs ? soft->descs : 32);
	soft_set("copy_align", soft->copy_align ? soft->copy_align : 1);
	soft_set("secret_align", soft->secret_align ? soft->secret_align : 1);
	soft_set("reorder", soft->reorder);
	soft_set("queues", soft->queues);
	soft_set("terminate_lies", soft->terminate_lies);
	soft_bind_to(soft->driver ? soft->driver : "adma_soft");
}

void soft_misbehave(const struct soft *soft)
{
	soft_set("delay_us", soft->delay_us);
	soft_set("fail_every", soft->fail_every);
	soft_set("hang_every", soft->hang_every);
	soft_set("terminate_fails", soft->terminate_fails);
	soft_set("terminate_lies", soft->terminate_lies);
	soft_set("submit_fails", soft->submit_fails);
}
