/* SPDX-License-Identifier: BSD-3-Clause */
/* table.h - the mechanisms of this process, by number. */
#ifndef ADMA_MECH_TABLE_H
#define ADMA_MECH_TABLE_H

#include "mech/mechanism.h"

/* By enum adma_mechanism_id, or NULL: there is none of this id. */
const struct adma_mechanism *adma_mechanism(uint32_t id);

/* Call open() of each mechanism of which the connection makes use. 0, or a negated errno: none is open then. */
int adma_mechanisms_open(struct adma_connection *connection);

/* Close those that were opened, and the descriptors that their probes left. */
void adma_mechanisms_close(struct adma_connection *connection);

#endif
