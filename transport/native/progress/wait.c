/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wait.c - drive, spin, arm, sleep.
 *
 * Invariant: whenever the lock is free and the channel has sleepers or a
 * polled descriptor, its bell is armed, or a byte is on its way, or a thread
 * is inside that will look again before it leaves. adma_rearm() restores it.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "progress/spin.h"
#include "worker/channel.h"

#define SPIN_CHANS 8          /* more channels than this are not worth polling by hand */
#define PEER_CHECK_NS 1000000 /* look for death this often while never sleeping */
#define SETTLE_TRIES 1000
#define CLOSED_NAP_NS 10000000

/* ---- drive ---- */

static bool request_ready(const struct adma_req *req)
{
	int32_t state = __atomic_load_n(&req->state, __ATOMIC_ACQUIRE);

	return state == ADMA_DONE_STATE || state == ADMA_NEED_STATE;
}

static bool line_ready(struct adma_chan *chan)
{
	struct adma_message first;

	return chan->fifo && adma_fifo_head(chan, &first);
}

static bool message_ready(struct adma_chan *chan)
{
	bool ready;

	if (adma_enter(chan))
		return true;
	ready = chan->over || chan->in.held || adma_ring_fresh(&chan->in) || line_ready(chan);
	adma_leave(chan);
	return ready;
}

static bool satisfied(const struct adma_wait *wait)
{
	int ready = 0;

	if (wait->nreqs == 0)
		return message_ready(wait->chans[0]);
	for (int i = 0; i < wait->nreqs; i++)
		if (request_ready(wait->reqs[i]) && ++ready >= wait->need)
			return true;
	return false;
}

/* The channel of a wait that is over: on the way out, under the lock that the round has anyway. */
static bool depart_early(const struct adma_wait *wait)
{
	if (wait->nchans > 1 || !wait->nreqs || !satisfied(wait))
		return false;
	adma_disown(wait->chans[0], true);
	return true;
}

/* What drive() knows of the channels between two rounds. */
struct visit {
	bool in;  /* all are attended */
	bool out; /* and departed from */
	struct adma_hint hints[SPIN_CHANS];
};

/* One round over all channels, with hints for spinning. 1 moved, 0 not; negated why when none can be used. */
static int make_round(const struct adma_wait *wait, struct visit *visit)
{
	int moved = 0, usable = 0, why = -ADMA_E_CLOSED_HERE;

	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];
		int rc = adma_enter(chan);
		uint64_t bell;

		if (rc) {
			why = rc;
			continue;
		}
		usable++;
		if (!visit->in)
			adma_own(chan);
		bell = adma_ec_read(&chan->out.segment->event_count); /* before the look: later rings count */
		moved |= adma_advance_copying(chan);
		if (!moved && adma_now() - chan->looked_at > PEER_CHECK_NS)
			moved |= adma_peer_check(chan);
		if (i < SPIN_CHANS)
			visit->hints[i] = adma_take_hint(chan, bell, chan->reads.first || !wait->nreqs);
		visit->out = depart_early(wait);
		adma_leave(chan);
	}
	visit->in = true;
	return usable ? moved : why;
}

/* Is there something to wait for that rings no bell? */
static bool has_quiet_work(const struct adma_chan *chan)
{
	if (chan->fifo)
		return true;
	for (const struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (t->mechanism && t->mechanism->waitfd)
			return true;
	return false;
}

/* Keep the maps of all channels in place without their locks. False: one is closed. */
static bool hold_maps(const struct adma_wait *wait, bool *quiet)
{
	for (int i = 0; i < wait->nchans; i++) {
		struct adma_chan *chan = wait->chans[i];

		if (adma_enter(chan)) {
			while (--i >= 0) {
				pthread_mutex_lock(&wait->chans[i]->lock);
				wait->chans[i]->users--;
				pthread_mutex_unlock(&wait->chans[i]->lock);
			}
			return false;
		}
		*quiet |= has_quiet_work(chan);
		chan->users++;
		pthread_mutex_unlock(&chan->lock);
	}
	return true;
}

static void let_maps_go(const struct adma_wait *wait)
{
	for (int i = 0; i < wait->nchans; i++) {
		pthread_mutex_lock(&wait->chans[i]->lock);
		wait->chans[i]->users--;
		adma_leave(wait->chans[i]);
	}
}

/* True when a new round is worth it; false when `end` passed in silence. */
static bool spin(const struct adma_wait *wait, const struct adma_hint *hints, int64_t end)
{
	bool found = false, quiet = false;

	if (wait->nchans > SPIN_CHANS)
		return false;
	if (!hold_maps(wait, &quiet))
		return true; /* closed meanwhile: see what became of the requests */
	for (unsigned int i = 1; !found; i++) {
		adma_relax();
		for (int c = 0; c < wait->nchans && !found; c++)
			found = adma_message_came(&hints[c]) || adma_hint_signalled(&hints[c]) ||
				adma_entry_ended(&hints[c]);
		if (i % 32)
			continue;
		if (adma_now() > end)
			break;
		/* Sockets and the kernel ring no bell; another thread may have completed ours. */
		found |= quiet || (wait->nreqs == 1 && request_ready(wait->reqs[0]));
	}
	let_maps_go(wait);
	return found;
}

static int drive(const struct adma_wait *wait, struct visit *visit, int64_t spin_ns, int64_t budget_ns)
{
	int64_t begin = adma_now(), end = -1;

	for (;;) {
		int moved = make_round(wait, visit);
		int64_t now = adma_now();

		if (visit->out || satisfied(wait))
			return ADMA_READY;
		if (moved < 0)
			return moved;
		if (moved) {
			end = -1;
			if (now - begin >= budget_ns)
				return ADMA_BUSY;
			continue;
		}
		if (end < 0)
			end = now + adma_spin_limit(wait->chans[0], spin_ns, now);
		if (now >= end || !spin(wait, visit->hints, end))
			return ADMA_QUIET;
	}
}

int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns)
{
	struct visit visit; /* its hints are set before they are looked at */
	int result;

	visit.in = visit.out = false;
	result = drive(wait, &visit, spin_ns, budget_ns);
	if (!visit.out)
		adma_disown_all(wait, result == ADMA_READY || result < 0 || spin_ns == 0);
	return result;
}

/* ---- sleep ---- */

enum { FDS_PER_CHAN = 4 };

struct sleeper {
	uint64_t epoch;
	bool in;       /* counted among the channel's sleepers */
	bool listener; /* waits for a message */
};

/* One channel has only one of these: TCP's socket, or the end of the kernel helper's pair. */
static struct pollfd data_fd(const struct adma_chan *chan, bool listener)
{
	short tcp = adma_socket_events(chan);

	if (chan->fifo)
		return (struct pollfd){.fd = chan->config.mech_fd[chan->config.forced], .events = adma_fifo_events(chan, listener)};
	return (struct pollfd){.fd = tcp ? chan->config.mech_fd[ADMA_MECH_TCP] : -1, .events = tcp};
}

static void fill_fds(struct adma_chan *chan, struct pollfd *fds, bool listener)
{
	fds[0] = (struct pollfd){.fd = chan->eventfd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = chan->eof ? -1 : chan->config.sock, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = chan->dead ? -1 : chan->config.pidfd, .events = POLLIN};
	fds[3] = data_fd(chan, listener);
	chan->slept_events = chan->sleepers ? chan->slept_events & fds[3].events : fds[3].events;
}

enum rest { STAY_UP, LIE_DOWN, NAP };

/* Arm and look again: may the caller sleep on this channel? */
static enum rest lie_down(struct adma_chan *chan, struct sleeper *sleeper, struct pollfd *fds)
{
	uint64_t bell;
	bool nap;

	for (int i = 0; i < FDS_PER_CHAN; i++)
		fds[i].fd = -1;
	if (adma_enter(chan))
		return NAP; /* closed */
	adma_own(chan);
	bell = adma_ec_read(&chan->out.segment->event_count);
	if (adma_advance(chan) || adma_transfers_ready(chan) ||
	    !adma_ec_arm(&chan->out.segment->event_count, bell)) {
		adma_disown(chan, false);
		adma_leave(chan);
		return STAY_UP;
	}
	adma_progress_unpoll(chan);
	/* A pair whose other end is closed cannot be slept on: it has that to say for ever. */
	nap = chan->fifo && chan->over;
	if (!nap)
		fill_fds(chan, fds, sleeper->listener);
	chan->sleepers++;
	chan->listeners += sleeper->listener;
	chan->users++;
	sleeper->epoch = chan->wake_epoch;
	sleeper->in = true;
	chan->stats.sleeps++;
	/* Not adma_leave(): the bell was armed this moment. */
	pthread_mutex_unlock(&chan->lock);
	return nap ? NAP : LIE_DOWN;
}

static void take_local_wake(struct adma_chan *chan, const struct sleeper *sleeper)
{
	uint64_t count;

	if (sleeper->epoch == chan->wake_epoch)
		return;
	if (chan->wakes_left && --chan->wakes_left == 0)
		(void)!read(chan->eventfd, &count, sizeof(count));
}

static void get_up(struct adma_chan *chan, struct sleeper *sleeper, const struct pollfd *fds, int64_t slept)
{
	if (!sleeper->in)
		return;
	pthread_mutex_lock(&chan->lock);
	chan->sleepers--;
	chan->listeners -= sleeper->listener;
	chan->users--;
	adma_disown(chan, false);
	take_local_wake(chan, sleeper);
	if (!chan->sleepers && chan->epoll < 0)
		adma_ec_disarm(&chan->out.segment->event_count);
	if (fds[1].revents || fds[2].revents)
		(void)adma_peer_check(chan);
	if (chan->fifo)
		adma_fifo_polled(chan, fds[3].revents);
	adma_spin_learned(chan, slept);
	adma_leave(chan);
}

static int doze(struct pollfd *fds, nfds_t n, int64_t timeout_ns, const sigset_t *mask)
{
	struct timespec ts = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
	int rc = ppoll(fds, n, timeout_ns < 0 ? NULL : &ts, mask);

	if (rc < 0) {
		/* Not filled in by a failed call. */
		for (nfds_t i = 0; i < n; i++)
			fds[i].revents = 0;
		return -errno;
	}
	return rc ? 0 : -ETIMEDOUT;
}

static int sleep_on(const struct adma_wait *wait, struct sleeper *sleepers, struct pollfd *fds,
		    int64_t timeout_ns, const sigset_t *mask)
{
	int64_t begin;
	int n = wait->nchans, rc = 0;
	nfds_t nfds = (nfds_t)n * FDS_PER_CHAN + 1;
	bool may = true, nap = false;

	fds[nfds - 1] = (struct pollfd){.fd = wait->also, .events = POLLIN};
	for (int i = 0; i < n && may; i++) {
		enum rest rest;

		sleepers[i].listener = !wait->nreqs;
		rest = lie_down(wait->chans[i], &sleepers[i], &fds[i * FDS_PER_CHAN]);
		may = rest != STAY_UP;
		nap |= rest == NAP;
	}
	/* With all in place: what another thread completed before is seen, what it completes now wakes. */
	may = may && !satisfied(wait);
	begin = adma_now();
	if (may && nap) {
		/* Who closes a channel cannot wake us any more: see soon what became of its requests. */
		bool last = timeout_ns >= 0 && timeout_ns <= CLOSED_NAP_NS;

		rc = doze(fds, nfds, last ? timeout_ns : CLOSED_NAP_NS, mask);
		rc = rc == -ETIMEDOUT && !last ? 0 : rc;
	} else if (may) {
		rc = doze(fds, nfds, timeout_ns, mask);
	}
	for (int i = 0; i < n; i++)
		get_up(wait->chans[i], &sleepers[i], &fds[i * FDS_PER_CHAN], adma_now() - begin);
	return rc;
}

int adma_sleep(const struct adma_wait *wait, int64_t timeout_ns, const sigset_t *mask)
{
	struct sleeper few_sleepers[SPIN_CHANS] = {0}, *sleepers = few_sleepers;
	struct pollfd few_fds[SPIN_CHANS * FDS_PER_CHAN + 1] = {0}, *fds = few_fds;
	int rc = -ENOMEM;

	if (wait->nchans > SPIN_CHANS) {
		sleepers = calloc((size_t)wait->nchans, sizeof(*sleepers));
		fds = calloc((size_t)wait->nchans * FDS_PER_CHAN + 1, sizeof(*fds));
	}
	if (sleepers && fds)
		rc = sleep_on(wait, sleepers, fds, timeout_ns, mask);
	if (wait->nchans > SPIN_CHANS) {
		free(sleepers);
		free(fds);
	}
	return rc;
}

static struct adma_wait wait_for(struct adma_chan **chan, struct adma_req **req)
{
	int n = *req != NULL;

	return (struct adma_wait){.chans = chan, .nchans = 1, .reqs = req, .nreqs = n, .need = n, .also = -1};
}

int adma_drive_one(struct adma_chan *chan, struct adma_req *req, int64_t spin_ns, int64_t budget_ns)
{
	struct adma_wait wait = wait_for(&chan, &req);

	return adma_drive(&wait, spin_ns, budget_ns);
}

int adma_sleep_one(struct adma_chan *chan, struct adma_req *req, int64_t timeout_ns, const sigset_t *mask)
{
	struct adma_wait wait = wait_for(&chan, &req);

	return adma_sleep(&wait, timeout_ns, mask);
}

void adma_wake_waiters(struct adma_chan *chan)
{
	uint64_t one = 1;

	if (!chan->sleepers)
		return;
	chan->wake_epoch++;
	if (!chan->wakes_left)
		(void)!write(chan->eventfd, &one, sizeof(one));
	chan->wakes_left = chan->sleepers;
}

bool adma_rearm(struct adma_chan *chan)
{
	bool armed = false, more;

	if (!chan->sleepers && chan->epoll < 0 && !chan->delegated)
		return true;
	if (chan->epoll >= 0)
		(void)adma_peer_check(chan); /* a wake-up that was read late would keep it readable */
	if (chan->epoll >= 0 && chan->fifo)
		adma_fifo_polled(chan, POLLIN);
	for (int i = 0; i < SETTLE_TRIES && !armed; i++) {
		uint64_t bell = adma_ec_read(&chan->out.segment->event_count);

		armed = !adma_advance(chan) && adma_ec_arm(&chan->out.segment->event_count, bell);
	}
	/* Asleep while another thread was at the byte stream: they do not wait for its socket. */
	if (chan->sleepers && !chan->fifo && adma_socket_events(chan) & ~chan->slept_events)
		adma_wake_waiters(chan);
	/* Then a sleeper of ours takes over: we may have read the byte that was to wake it. */
	more = adma_transfers_ready(chan) || !armed;
	if (more || (chan->listeners && (chan->over || chan->in.held || adma_ring_fresh(&chan->in))))
		adma_wake_waiters(chan);
	if (chan->delegated)
		adma_delegation_rearm(chan, more);
	if (chan->epoll >= 0)
		adma_set_level(chan);
	return armed;
}
