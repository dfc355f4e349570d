/* SPDX-License-Identifier: BSD-3-Clause */
/* tagged.h - sends and receives that compiled calls of communicators post on the worker, and their ends. */
#ifndef ADMA_BINDING_TAGGED_H
#define ADMA_BINDING_TAGGED_H

#include "binding/ranks.h"

/* What an operation is for. The values are those of adma/mpi/compiled.py. */
enum tagged_what {
	TAGGED_SEND = 0,
	TAGGED_RECEIVE = 1,
	TAGGED_TAKE = 2, /* a receive that takes an object whole */
};

/* A request that its caller waits for at once and whose end nobody else sees; and any other one. */
#define TAGGED_NOW (ADMA_REQ_TELL | ADMA_REQ_BLOCKING | ADMA_REQ_DROPPED)
#define TAGGED_LATER ADMA_REQ_TELL

/*
 * Post a send or a receive of `n` bytes of a buffer, which the operation owns from now on. NULL: it was not posted. Then an
 * exception is set; or the worker refuses it, or lacks memory for it, which Python has to deal with: the buffer is let go.
 */
struct operation *tagged_send(struct ranks *ranks, const struct rank *dest, uint64_t tag, const Py_buffer *view,
			      uint64_t n, uint8_t flags);
struct operation *tagged_receive(struct ranks *ranks, const struct ranks_from *from, const Py_buffer *view, uint64_t n,
				 uint8_t flags);

/* The same for an object, of whatever size. */
struct operation *tagged_take(struct ranks *ranks, const struct ranks_from *from, uint8_t flags);

/* After the wait for a take: receive the message that it took into a buffer, which is large enough. As tagged_receive(). */
struct operation *tagged_receive_taken(struct ranks *ranks, struct operation *take, const Py_buffer *view);

/*
 * Wait until all of these are done, of which the caller has references. 1: they are. 0: only Python may wait on, because
 * a rank of whom one of them may be has ended, or that has to be found out; or objects are to be received meanwhile. -1: an
 * exception is set. `anybody`: one of them is from any of these ranks.
 */
int tagged_wait(struct ranks *ranks, struct operation *const *ops, int count, bool anybody);

/* An exception is set, and nobody will wait for it: withdraw it if that is still possible. Steals the reference. */
void tagged_withdraw(struct ranks *ranks, struct operation *op);

/* It is done: let its buffer go. False: it has failed, which Python has to tell. */
bool tagged_settle(struct operation *op);

/*
 * Python goes on with it, in a call of this name: waits for it, fills the status, tells what went wrong. Steals the reference;
 * returns what the call returns.
 */
PyObject *tagged_leave(PyObject *comm, struct operation *op, enum tagged_what what, bool anybody, PyObject *status,
		       const char *call);

/*
 * Tell a status, if there is one, of a message that was received. 1; 0: its sender is none of the ranks that were reached
 * so far, so Python has to; -1: an exception is set.
 */
int tagged_tell(const struct ranks *ranks, PyObject *status, const struct operation *op, uint64_t nbytes);

/* Tell it, if there is one, of what is no message that was received. False: an exception is set. */
bool tagged_tell_nothing(PyObject *status);

#endif
