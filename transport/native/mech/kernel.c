/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel.c - `dma` and `mapped:helper`: the kernel helper queues, matches and copies.
 *
 * They are used only when they are forced, and then for every message of the channel, whatever
 * its size. worker/fifo_endpoint.c posts the requests and sees what becomes of them.
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
