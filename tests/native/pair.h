/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pair.h - a channel, or two connected endpoints of workers, in one process.
 *
 * What two processes share lies at the same addresses for both, so that ThreadSanitizer
 * watches the protocol between them as well as the locks within each.
 */
#ifndef PAIR_H
#define PAIR_H

#include "adma.h"
#include "adma_handshake.h"

#define ENDS 2

/* Whoever makes it frees it, after both ends. */
struct adma_segment *make_segment(void);
void free_segment(struct adma_segment *segment);

/* What two connected ends are made of. With all mechanisms but the kernel helper's; `forced` as in struct adma_config. */
void make_configs(struct adma_config configs[ENDS], struct adma_segment *segments[ENDS], const struct adma_nonce *nonce,
		  uint32_t forced);

void make_ends(struct adma_chan *ends[ENDS], struct adma_segment *segments[ENDS], const struct adma_nonce *nonce,
	       uint32_t forced);

/* Memory for adma_give_bulk(). */
int make_bulk(void);

/* What Python does before a write of n bytes. 0 or a negated errno. */
int bring_bulk(struct adma_chan *chan, uint64_t n);

#endif
