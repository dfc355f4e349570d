/* SPDX-License-Identifier: BSD-3-Clause */
/* message.h - what blocking calls share with the calls for small messages. */
#ifndef ADMA_API_MESSAGE_H
#define ADMA_API_MESSAGE_H

#include <stdint.h>

/* Set what adma_needed() returns in this thread from now on. */
void adma_set_needed(uint64_t needed);

#endif
