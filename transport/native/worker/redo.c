/* SPDX-License-Identifier: BSD-3-Clause */
/* redo.c - whether a transfer is made once more, and by which mechanism; see redo.h. */
#include "worker/redo.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/descriptor.h"
#include "mech/table.h"
#include "shm/sealed.h"
#include "worker/peer.h"
#include "worker/select.h"

/* Memory of a kind that the kernel does not copy, or a right that was lost: a filter, a security module, a new user. */
static bool redo_is_refusal(int error)
{
	switch (error) {
	case EFAULT:
	case ADMA_E_MEMORY_HERE:
	case ADMA_E_MEMORY_PEER:
	case EPERM:
	case EACCES:
	case ENOSYS:
		return true;
	default:
		return false;
	}
}

bool adma_redo_is_due(const struct adma_transfer *t, int error)
{
	return !t->req->refused && adma_transfer_is_shared(t) && redo_is_refusal(error);
}

bool adma_redo_is_possible(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	const struct adma_config *config = &ep->connection.config;

	return adma_select_guards(ep, t->span.outbound ? config->out_mask : config->in_mask, t->mechanism_id);
}

/*
 * The binding makes the memory of a mechanism before the first write that wants it. Nobody asked it for this one,
 * and it is not called from here. If the memory cannot be made, the mechanism is not offered.
 */
static void redo_provide_segment(struct adma_endpoint *ep, const struct adma_mechanism *mechanism)
{
	void *map;
	int fd;

	if (ep->send.segment_fd >= 0 || !mechanism->wants_segment || !mechanism->wants_segment(&ep->connection))
		return;
	if (adma_sealed_make("adma-bulk", ADMA_BULK_SIZE, ADMA_BULK_SIZE, &fd, &map))
		return;
	munmap(map, adma_sealed_size(ADMA_BULK_SIZE));
	(void)adma_give_segment(ep, mechanism, &fd);
	adma_descriptor_close(&fd);
}

uint32_t adma_redo_offer(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	uint32_t guards = adma_select_guards(ep, adma_select_working(ep), t->mechanism_id), offer = guards;
	const struct adma_mechanism *mechanism;

	while ((mechanism = adma_mechanism_next(&guards))) {
		if (!mechanism->serves || mechanism->serves(&ep->connection))
			continue;
		redo_provide_segment(ep, mechanism);
		if (!mechanism->serves(&ep->connection))
			offer &= ~ADMA_MECH_BIT(mechanism->id);
	}
	return offer;
}

uint32_t adma_redo_select(const struct adma_endpoint *ep, const struct adma_req *req, uint64_t n, uint32_t offered)
{
	uint32_t mask = offered & ep->connection.config.in_mask & ~ep->receive.lost;

	mask = adma_select_guards(ep, mask, req->refused);

	return adma_select_from(ep, n, mask, ep->control.waits);
}
