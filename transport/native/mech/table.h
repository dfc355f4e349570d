/* SPDX-License-Identifier: BSD-3-Clause */
/* table.h - the mechanisms of this process, by id. */
#ifndef ADMA_MECH_TABLE_H
#define ADMA_MECH_TABLE_H

#include "mech/mechanism.h"

/* The mechanism with this id; NULL: there is none. */
const struct adma_mechanism *adma_mechanism(uint32_t id);

/* Take the lowest mechanism out of a mask of them. NULL: there is none left. */
static inline const struct adma_mechanism *adma_mechanism_next(uint32_t *left)
{
	const struct adma_mechanism *mechanism = NULL;

	for (; *left && !mechanism; *left &= *left - 1)
		mechanism = adma_mechanism((uint32_t)__builtin_ctz(*left));
	return mechanism;
}

/* The same; NULL also if the mechanism was registered after the connection was made. */
const struct adma_mechanism *adma_mechanism_of(const struct adma_connection *connection, uint32_t id);

/* Open every mechanism. Returns 0, or a negated errno: then none is open. */
int adma_mechanisms_open(struct adma_connection *connection);

/* Close the mechanisms that were opened, and the descriptors that their probes left. */
void adma_mechanisms_close(struct adma_connection *connection);

#endif
