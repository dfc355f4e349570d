/* SPDX-License-Identifier: BSD-3-Clause */
/* table.h - the mechanisms of this process, by number. */
#ifndef ADMA_MECH_TABLE_H
#define ADMA_MECH_TABLE_H

#include "mech/mechanism.h"

/* By enum adma_mechanism_id, or NULL: there is none of this id. */
const struct adma_mechanism *adma_mechanism(uint32_t id);

/* The same, or NULL where the mechanism was registered after the connection was made. */
const struct adma_mechanism *adma_mechanism_of(const struct adma_connection *connection, uint32_t id);

/* Call open() of every mechanism. 0, or a negated errno: none is open then. */
int adma_mechanisms_open(struct adma_connection *connection);

/* Close those that were opened, and the descriptors that their probes left. */
void adma_mechanisms_close(struct adma_connection *connection);

#endif
