/* SPDX-License-Identifier: GPL-2.0 */
/* cookie.h - looks at requests, and waits for them, by their cookies. */
#ifndef ADMA_COOKIE_H
#define ADMA_COOKIE_H

struct adma_check;
struct adma_endpoint;

/* ADMA_IOC_CHECK and ADMA_IOC_WAIT. */
int adma_cookie_check(struct adma_endpoint *endpoint, struct adma_check *check);
int adma_cookie_wait(struct adma_endpoint *endpoint, struct adma_check *check);

#endif
