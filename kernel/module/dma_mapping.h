/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dma_mapping.h - the DMA mappings of one descriptor, made for it alone while it is submitted.
 *
 * Two transfers may name the same memory. Any number of descriptors may map it to be read,
 * but only one at a time may map it to be written. So a piece is not mapped if an engine is
 * writing to its destination, or may still be writing there after a descriptor became stuck.
 * The CPU copies such a piece.
 */
#ifndef ADMA_DMA_MAPPING_H
#define ADMA_DMA_MAPPING_H

struct adma_dma_descriptor;
struct device;

/* Map for @device. 0, or -EIO: then nothing is mapped. */
int adma_dma_map(struct device *device, struct adma_dma_descriptor *descriptor);

/* May be called in any context. */
void adma_dma_unmap(struct device *device, struct adma_dma_descriptor *descriptor);

#endif
