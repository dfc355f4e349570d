/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel.c - `dma` and `mapped:helper`: the kernel helper queues, matches and copies.
 *
 * They are used only where they are asked for, and then by every message of the channel, whatever
 * its size. What becomes of a post is in worker/fifo_endpoint.c.
 */
#include "mech/mechanism.h"

const struct adma_mechanism adma_mech_dma = {
	.name = "dma",
	.id = ADMA_MECH_DMA,
	.flags = ADMA_KERNEL_FIFO,
};

const struct adma_mechanism adma_mech_helper = {
	.name = "mapped:helper",
	.id = ADMA_MECH_HELPER,
	.flags = ADMA_KERNEL_FIFO,
};
