/* SPDX-License-Identifier: BSD-3-Clause */
/* soft.c - controls the software DMA provider; see soft.h. */
#include "soft.h"

#include <stdio.h>
#include <unistd.h>

#include "knob.h"
#include "tap.h"

#define DRIVER "/sys/bus/platform/drivers/adma_soft"

void soft_set(const char *parameter, unsigned value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/module/adma_soft/parameters/%s", parameter);
	snprintf(text, sizeof(text), "%u", value);
	CHECK(knob(path, text));
}

void soft_unbind(void)
{
	CHECK(knob(DRIVER "/unbind", "adma_soft"));
}

void soft_bind(const struct soft *soft)
{
	if (access(DRIVER, F_OK))
		tap_skip("no adma_soft");
	/* Before the device goes, hanging copies have to complete, and DMA channels have to stop. */
	soft_set("hang_every", 0);
	soft_set("terminate_fails", 0);
	if (!access(DRIVER "/adma_soft", F_OK))
		soft_unbind();
	soft_set("channels", soft->channels ? soft->channels : 4);
	soft_set("descs", soft->descs ? soft->descs : 32);
	soft_set("copy_align", soft->copy_align ? soft->copy_align : 1);
	soft_set("reorder", soft->reorder);
	soft_set("delay_us", soft->delay_us);
	soft_set("fail_every", soft->fail_every);
	soft_set("hang_every", soft->hang_every);
	soft_set("terminate_fails", soft->terminate_fails);
	CHECK(knob(DRIVER "/bind", "adma_soft"));
}
