/* SPDX-License-Identifier: BSD-3-Clause */
/* message.c - small messages in one call: written and read without a request. */
#include "api/message.h"

#include <string.h>

#include "api/channel.h"
#include "base/fault.h"
#include "base/holds.h"
#include "base/trace.h"
#include "progress/poll_descriptor.h"
#include "progress/spin.h"
#include "worker/eager_limit.h"
#include "worker/peer.h"
#include "worker/ring_send.h"
#include "worker/select.h"
#include "worker/transfer.h"

static _Thread_local uint64_t last_needed;

uint64_t adma_needed(void)
{
	return last_needed;
}

void adma_set_needed(uint64_t needed)
{
	last_needed = needed;
}

bool adma_wants_slot(const struct adma_chan *chan, uint64_t n)
{
	return chan && adma_takes_slot(&chan->ep, n);
}

/*
 * Publish it through the ring, or through a bounce buffer if it is too long for that and nothing is pending. As
 * adma_ring_put().
 */
static int message_put_in_ring(struct adma_endpoint *ep, struct adma_desc *desc, const void *p)
{
	if (desc->length <= ADMA_EAGER_MAX)
		return adma_ring_put(&ep->send.ring, desc, p);
	return ep->send.pending ? 0 : adma_ring_put_if_asked(ep, desc, p);
}

/* Publish the message. 0; -ADMA_E_PENDING: that is not possible now; or why the channel is terminated. */
static int message_put(struct adma_endpoint *ep, uint16_t kind, const void *p, uint64_t n)
{
	struct adma_desc desc = {.length = n, .total = n, .kind = kind};
	int rc;

	(void)adma_note_peer_closed(ep);
	(void)adma_note_peer_ending(ep);
	if (ep->control.draining)
		return -ADMA_E_CLOSED_HERE;
	rc = adma_send_error(ep);
	if (rc)
		return -rc;
	if (ep->send.backlog.count)
		return -ADMA_E_PENDING;
	rc = ADMA_FAULT(ADMA_FAULT_PUBLISH);
	if (rc)
		return -rc;
	rc = adma_ring_room(&ep->send.ring);
	if (rc > 0)
		rc = message_put_in_ring(ep, &desc, p);
	if (rc < 0) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return -ADMA_E_PROTOCOL;
	}
	if (rc == 0)
		return -ADMA_E_PENDING;
	adma_ring_count_carry(ep, &desc);
	ep->send.posted++;
	ep->stats.writes++;
	ep->stats.bytes_out += n;
	return 0;
}

/* Are there requests that are complete and that no call saw? Then the binding has to come by (adma_hold.h). */
static bool message_waits_for_binding(void)
{
	return atomic_load_explicit(&adma_holds_listed, memory_order_relaxed);
}

/* May this call carry the message? A binding with buffers to let go does that first. */
static bool message_is_for_now(const struct adma_chan *chan, uint16_t kind, uint64_t n)
{
	bool waits = adma_wants_slot(chan, n) && (kind != ADMA_BYTES || !adma_eager_limit_asked(&chan->ep, n));

	return !(waits || message_waits_for_binding());
}

/* Publish the message, and tell of it. Called with the lock held. */
static int message_write(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n)
{
	int rc = message_put(&chan->ep, kind, p, n);

	if (rc)
		return rc;
	adma_trace_moment(ADMA_TRACE_WRITE_NOW, chan, n, 0, 0);
	adma_signal_peer(&chan->ep);
	/* Every call but a query leaves the descriptor of fileno() as it should be. */
	if (adma_poll_descriptor_is_open(&chan->progress))
		adma_mark(&chan->ep, ADMA_MARK_REARM);
	return 0;
}

int adma_write_now(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n)
{
	int rc;

	if (!message_is_for_now(chan, kind, n))
		return -ADMA_E_PENDING;
	rc = adma_enter(chan);
	if (rc)
		return rc;
	rc = message_write(chan, kind, p, n);
	adma_publish_and_leave(chan);
	return rc;
}

int adma_try_write_now(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n)
{
	int rc;

	if (!message_is_for_now(chan, kind, n))
		return -ADMA_E_PENDING;
	rc = adma_try_enter(chan);
	if (rc)
		return rc;
	rc = message_write(chan, kind, p, n);
	adma_publish_and_leave(chan);
	return rc;
}

/* May the message in the ring not be taken, because one before it is lost, or may be; or because we read no more? */
static bool message_is_held_back(const struct adma_endpoint *ep)
{
	return ep->receive.hole || ep->control.draining || (adma_has_transfers(ep) && adma_peer_closed(ep));
}

/* Take the next message if it has come and can be taken at once; otherwise -ADMA_E_PENDING. */
static int64_t message_take(struct adma_chan *chan, uint16_t kind, void *p, uint64_t n)
{
	struct adma_endpoint *ep = &chan->ep;
	const struct adma_desc *desc = &ep->receive.ring.desc;
	uint64_t length;
	int rc;

	if (ep->receive.reads.count || message_is_held_back(ep))
		return -ADMA_E_PENDING;
	rc = adma_ring_peek(&ep->receive.ring);
	if (rc < 0) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return -ADMA_E_PROTOCOL;
	}
	if (rc == 0 || desc->carry == ADMA_SLOT || desc->kind >= ADMA_PART || desc->parts || ep->receive.parts_due)
		return -ADMA_E_PENDING;
	if (desc->kind != kind)
		return -ADMA_E_KIND;
	if (desc->length > n) {
		adma_set_needed(desc->length);
		return -ADMA_E_TOOLONG;
	}
	length = desc->length;
	if (length)
		memcpy(p, adma_ring_payload(&ep->receive.ring), length);
	if (desc->carry == ADMA_BUFFERED)
		adma_eager_limit_took(ep, desc);
	ep->stats.reads++;
	ep->stats.bytes_in += length;
	adma_note_read(ep);
	adma_trace_moment(ADMA_TRACE_READ_NOW, chan, length, 0, 0);
	adma_mark(ep, ADMA_MARK_REARM); /* fileno() may be readable for this message alone */
	if (adma_ring_take(&ep->receive.ring))
		adma_signal_peer(ep);
	return (int64_t)length;
}

/* If there is more to do than to wait for one message, the wait is left to adma_drive(). */
static bool message_may_spin(const struct adma_endpoint *ep)
{
	return !ep->control.over && !ep->send.pending && !ep->receive.pending && !ep->receive.ring.held;
}

/* Does a look at the ring do, or do others match? A binding with buffers to let go does that first. */
static bool message_is_in_ring(const struct adma_chan *chan)
{
	return chan->ep.ops->ring && !message_waits_for_binding();
}

bool adma_message_spin(struct adma_chan *chan, int64_t spin_ns)
{
	return message_is_in_ring(chan) && message_may_spin(&chan->ep) &&
	       !adma_spin_starves_peer(&chan->progress, spin_ns, adma_now()) &&
	       adma_spin_for_message(&chan->progress, &chan->ep, spin_ns);
}

int64_t adma_read_now(struct adma_chan *chan, uint16_t kind, void *p, uint64_t n, int64_t spin_ns)
{
	int64_t result = adma_enter(chan);

	if (result)
		return result;
	result = -ADMA_E_PENDING;
	chan->progress.worker.watched_since = 0;
	if (message_is_in_ring(chan)) {
		result = message_take(chan, kind, p, n);
		if (result == -ADMA_E_PENDING && spin_ns && message_may_spin(&chan->ep) &&
		    adma_spin_for_message(&chan->progress, &chan->ep, spin_ns))
			result = message_take(chan, kind, p, n);
	}
	adma_publish_and_leave(chan);
	return result;
}

int64_t adma_try_read_now(struct adma_chan *chan, uint16_t kind, void *p, uint64_t n)
{
	int64_t result = adma_try_enter(chan);

	if (result)
		return result;
	chan->progress.worker.watched_since = 0;
	result = message_is_in_ring(chan) ? message_take(chan, kind, p, n) : -ADMA_E_PENDING;
	adma_publish_and_leave(chan);
	return result;
}
