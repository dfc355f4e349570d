/* SPDX-License-Identifier: BSD-3-Clause */
/* event.h - a descriptor by which threads of this process wake each other. */
#ifndef ADMA_BASE_EVENT_H
#define ADMA_BASE_EVENT_H

/*
 * Make one; it is close-on-exec and non-blocking. Writing 8 bytes, a number, makes it readable; reading 8 bytes takes
 * them. It is writable unless it is full. It is an eventfd; where a sandbox refuses these, it is a socket that is
 * connected to itself, which keeps each number that is written instead of adding them up. A descriptor, or a negated
 * errno.
 */
int adma_event_make(void);

#endif
