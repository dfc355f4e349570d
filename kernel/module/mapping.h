/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mapping.h - a descriptor's DMA mappings: made for it alone, while it is on its way.
 *
 * Two transfers may name the same memory. To be read it may be mapped by any number, but to be
 * written by one at a time: so a piece into memory that an engine is writing to, or may
 * still be, after it got stuck, is not mapped, and the CPU copies it.
 */
#ifndef ADMA_MAPPING_H
#define ADMA_MAPPING_H

struct adma_descriptor;

/* For the descriptor's channel. 0, or -EIO: then nothing is mapped. */
int adma_map(struct adma_descriptor *descriptor);

/* In any context. */
void adma_unmap(struct adma_descriptor *descriptor);

#endif
