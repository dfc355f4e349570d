/* SPDX-License-Identifier: BSD-3-Clause */
/* soft.h - the software DMA provider, adma_soft, told what to do. */
#ifndef SOFT_H
#define SOFT_H

struct soft {
	unsigned channels;   /* 0: 4 */
	unsigned descs;      /* 0: 32 */
	unsigned copy_align; /* 0: 1 */
	unsigned reorder;
	unsigned delay_us;
	unsigned fail_every;
	unsigned hang_every;
	unsigned terminate_fails;
};

/* A new device of these properties, in place of the one that is there. Skips the test without the module. */
void soft_bind(const struct soft *soft);
void soft_unbind(void);
void soft_set(const char *parameter, unsigned value);

#endif
