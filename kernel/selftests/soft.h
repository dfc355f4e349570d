/* SPDX-License-Identifier: BSD-3-Clause */
/* soft.h - controls the software DMA provider, adma_soft. */
#ifndef SOFT_H
#define SOFT_H

struct soft {
	const char *driver;  /* NULL: adma_soft */
	unsigned channels;   /* 0: 4 */
	unsigned descs;      /* 0: 32 */
	unsigned copy_align; /* 0: 1 */
	unsigned reorder;
	unsigned delay_us;
	unsigned fail_every;
	unsigned hang_every;
	unsigned terminate_fails;
	unsigned terminate_lies;
	unsigned submit_fails;
	unsigned secret_align; /* 0: 1 */
	unsigned queues;
};

/*
 * Replaces the device by a new one of these properties, which does not misbehave yet. Skips the test
 * when the module is not loaded.
 */
void soft_bind(const struct soft *soft);
void soft_misbehave(const struct soft *soft);
void soft_unbind(void);
void soft_unbind_queue(unsigned number);
void soft_set(const char *parameter, unsigned value);

#endif
