/* SPDX-License-Identifier: BSD-3-Clause */
/* table.c - the built-in mechanisms, one line each, and the registered ones. */
#include "mech/table.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

/* A built-in mechanism: its id, and the object that its file defines. */
#define BUILT_IN(X) \
	X(SHARED, shm) \
	X(CMA, cma) \
	X(TCP, tcp) \
	X(DMA, dma) \
	X(HELPER, helper) \
	X(SELF, self)

#define DECLARE(number, name) extern const struct adma_mechanism adma_mech_##name;
BUILT_IN(DECLARE)

#define ENTRY(number, name) [ADMA_MECH_##number] = &adma_mech_##name,
static const struct adma_mechanism *_Atomic mechanisms[ADMA_MECH_MAX] = {BUILT_IN(ENTRY)};

/* Acquire: pairs with the release of adma_mechanism_register(), so that its fields are seen. */
const struct adma_mechanism *adma_mechanism(uint32_t id)
{
	return id < ADMA_MECH_MAX ? atomic_load_explicit(&mechanisms[id], memory_order_acquire) : NULL;
}

const char *adma_mechanism_name(uint32_t id)
{
	const struct adma_mechanism *mechanism = adma_mechanism(id);

	return mechanism ? mechanism->name : NULL;
}

static bool mechanism_is_whole(const struct adma_mechanism *mechanism)
{
	bool common = mechanism->name && mechanism->rank && mechanism->reason && mechanism->chunk;

	switch (mechanism->flags) {
	case ADMA_EITHER_ENDPOINT:
		return common && mechanism->able && mechanism->copy;
	case ADMA_STREAM:
		return common && mechanism->fill && mechanism->drain && (mechanism->ready || mechanism->pollfd);
	default: /* the core itself does the work of the kernel helper's mechanisms */
		return false;
	}
}

/* The wire format has room for one mechanism that passes memory while the channel is in use: `shared`. */
static bool mechanism_passes_memory(const struct adma_mechanism *mechanism)
{
	return mechanism->wants_segment || mechanism->give_segment || mechanism->take_segment;
}

int adma_mechanism_register(const struct adma_mechanism *mechanism)
{
	const struct adma_mechanism *none = NULL;

	if (!mechanism || mechanism->id < ADMA_MECH_COUNT || mechanism->id >= ADMA_MECH_MAX ||
	    !mechanism_is_whole(mechanism) || mechanism_passes_memory(mechanism))
		return -EINVAL;
	return atomic_compare_exchange_strong_explicit(&mechanisms[mechanism->id], &none, mechanism,
						       memory_order_release, memory_order_relaxed)
		       ? 0
		       : -EEXIST;
}

const struct adma_mechanism *adma_mechanism_of(const struct adma_connection *connection, uint32_t id)
{
	return connection->opened & ADMA_MECH_BIT(id) ? adma_mechanism(id) : NULL;
}

static void mechanisms_close_opened(struct adma_connection *connection)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism_of(connection, id);

		connection->opened &= ~ADMA_MECH_BIT(id);
		if (mechanism && mechanism->close)
			mechanism->close(connection);
	}
}

int adma_mechanisms_open(struct adma_connection *connection)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++)
		connection->own[id] = adma_own_note(connection->config.mech_fd[id]);
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism(id);
		int rc = mechanism && mechanism->open ? mechanism->open(connection) : 0;

		if (rc) {
			mechanisms_close_opened(connection);
			return rc;
		}
		if (mechanism)
			connection->opened |= ADMA_MECH_BIT(id);
	}
	return 0;
}

void adma_mechanisms_close(struct adma_connection *connection)
{
	mechanisms_close_opened(connection);
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++)
		adma_own_close(&connection->config.mech_fd[id], &connection->own[id]);
}
