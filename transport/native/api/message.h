/* SPDX-License-Identifier: BSD-3-Clause */
/* message.h - what blocking calls share with the calls for small messages. */
#ifndef ADMA_API_MESSAGE_H
#define ADMA_API_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"

/*
 * Spin for a message for up to `spin_ns`, unless its writer could not run meanwhile. True when one has come. Called with the
 * channel's lock held, which is dropped meanwhile.
 */
bool adma_message_spin(struct adma_chan *chan, int64_t spin_ns);

/* Set what adma_needed() returns in this thread from now on. */
void adma_set_needed(uint64_t needed);

#endif
