/* SPDX-License-Identifier: GPL-2.0 */
/* withdraw.h - withdraws requests that have not matched: a cancelled one, or all at a close. */
#ifndef ADMA_WITHDRAW_H
#define ADMA_WITHDRAW_H

#include <linux/types.h>

struct adma_endpoint;

/* ADMA_IOC_CANCEL. */
int adma_withdraw_cancel(struct adma_endpoint *endpoint, u64 cookie);

/* The endpoint is being closed: its requests are withdrawn, and its peer's fail. */
void adma_withdraw_all(struct adma_endpoint *endpoint);

#endif
