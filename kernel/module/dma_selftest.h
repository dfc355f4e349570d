/* SPDX-License-Identifier: GPL-2.0 */
/* dma_selftest.h - does a DMA channel copy what it is told to, byte for byte? */
#ifndef ADMA_DMA_SELFTEST_H
#define ADMA_DMA_SELFTEST_H

struct adma_dma_channel;

/*
 * Copy between pages of our own: aligned, odd, across pages, and of each length modulo 64 times
 * the alignment that the driver states. A copy may take @timeout jiffies. 0; -EIO: bytes were
 * wrong, missing, or written where they do not belong, or the copy failed; -ETIMEDOUT: then the DMA
 * channel is retired; -ENODEV: it was lost meanwhile; -ENOMEM.
 */
int adma_dma_selftest(struct adma_dma_channel *channel, unsigned long timeout);

#endif
