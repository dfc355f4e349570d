/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_hold.h - requests that are complete, and that no call saw: for bindings that hold buffers.
 *
 * A binding holds the buffers of a request until that is complete. If it asks to be told (ADMA_REQ_TELL of a request,
 * `tell` of a copy), a request that completes after its post has returned is listed, until adma_holds_remove()
 * takes it off the list. The binding lets the buffers of what is listed go.
 *
 * The binding is told when something was listed, but not by adma_post(), adma_drive(), adma_observe() and
 * adma_copy_wait(): for their callers it takes less time to look at the list (adma_holds_any()), or to let go of what
 * they waited for.
 *
 * A request that is listed must not be freed. The list has a lock of its own, a leaf. How the binding learns that something is listed is its own matter: adma_interpreter.h.
 */
#ifndef ADMA_HOLD_H
#define ADMA_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"

/* The request or copy that was listed first, by its address; NULL: none. It stays listed. */
void *adma_holds_first(void);

/* Is any listed? Takes no lock. */
bool adma_holds_any(void);

/* Take the request or copy at this address off the list, if it is there. */
void adma_holds_remove(void *hold);

#endif
