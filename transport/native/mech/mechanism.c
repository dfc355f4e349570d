/* SPDX-License-Identifier: BSD-3-Clause */
/* mechanism.c - the table; a new mechanism is a line here and a file of its own. */
#include "mech/mechanism.h"

#include <stddef.h>

static const struct adma_mechanism *const mechanisms[ADMA_MECH_COUNT] = {
	[ADMA_MECH_SHARED] = &adma_mech_shared,
	[ADMA_MECH_CMA] = &adma_mech_cma,
	[ADMA_MECH_TCP] = &adma_mech_tcp,
};

const struct adma_mechanism *adma_mechanism(uint32_t id)
{
	return id < ADMA_MECH_COUNT ? mechanisms[id] : NULL;
}
