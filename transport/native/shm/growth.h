/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * growth.h - the pages of slots beyond the first block, and of the bounce buffers.
 *
 * The maker of a segment allocates the pages of more blocks through its own mapping, before it posts
 * in them. So the growth needs no descriptor, and the peer need not be told. If there is no memory,
 * the maker gets an error, where a mere access would raise SIGBUS.
 *
 * The reader makes sure of the pages in the same way before it looks at a slot of a block that it
 * has not looked at before. An honest maker has allocated them, so this costs the reader nothing but
 * the entries of its page table. A dishonest one may name a slot that has no pages. The bounce
 * buffers are made sure of in the same way, all at once, before the first message of their kind.
 */
#ifndef ADMA_SHM_GROWTH_H
#define ADMA_SHM_GROWTH_H

#include <stdint.h>

#include "shm/layout.h"

/* Allocate, and map, the pages of the slots [from, to). 0 or a negated errno: -ENOMEM; -EINVAL before Linux 5.14. */
int adma_slots_populate(struct adma_segment *segment, uint32_t from, uint32_t to);

/* The same for the bounce buffers. */
int adma_buffers_populate(struct adma_segment *segment);

#endif
