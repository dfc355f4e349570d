/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ranks.h - a communicator of adma.mpi, as its compiled calls know it: which of its ranks are reached by the worker.
 *
 * Calls that carry what most programs send are compiled: bytes in one piece, or an object without large buffers, to or from
 * one rank of this machine or anybody. All else is left to the call of the same name in Python (adma/mpi/point_to_point.py):
 * another kind of memory, other nodes, a rank that is not connected yet, bad arguments, failures. Both post on the same
 * worker, so that the order of messages is one.
 */
#ifndef ADMA_BINDING_RANKS_H
#define ADMA_BINDING_RANKS_H

#include "adma_worker.h"
#include "binding/operation.h"

struct rank {
	uint32_t number;  /* its endpoint of the worker */
	uint32_t context; /* what it calls the communicator */
	bool reached;     /* there is such an endpoint */
};

struct ranks {
	PyObject_HEAD struct endpoint *endpoint; /* the worker, for Python; a reference */
	struct rank *each;
	long count;
	long tag_max;
	uint64_t context; /* what this process calls the communicator, shifted to its place in a tag */
	bool anybody;     /* a message from anybody can only come by the worker */
	bool open;
	int obituary;      /* a descriptor that is readable once any of its ranks has ended, or -1 */
	unsigned int told; /* ... unless more deaths than these were noted: ranks_obituary() */
};

static inline struct ranks *ranks_of(PyObject *object)
{
	return (struct ranks *)object;
}

/* The bits of a tag of the worker: adma/mpi/context.py. */
#define RANKS_TAG_BITS 31
#define RANKS_TAG_MASK ((UINT64_C(1) << RANKS_TAG_BITS) - 1)
#define RANKS_OBJECT (UINT64_C(1) << 62) /* the head of an object with parts */
#define RANKS_PLAIN_MASK (~RANKS_OBJECT)

/* What Python has told: MPI's constants, and what goes on with what is not compiled (adma/mpi/compiled.py). */
struct ranks_python {
	PyObject *rest;    /* its methods are called where a call cannot be ended here */
	PyObject *staged;  /* messages of several stages, which each call that waits goes on with */
	PyObject *dropped; /* messages under way of which nobody has the request */
	PyObject *slow;    /* a class: the calls of communicators in Python */
	long any_source, any_tag;
};
extern struct ranks_python ranks_python;

/*
 * The receives of objects that Python does not know: those of requests. Their messages may have to be received before
 * their senders go on, so a call that waits for anything else leaves that to Python, which goes on with all of them.
 * Guarded by the GIL.
 */
extern struct adma_list ranks_takes; /* of struct rank_request */

/* The worker, or NULL if it was closed. */
static inline struct adma_worker *ranks_worker(const struct ranks *ranks)
{
	return ranks->endpoint->worker;
}

/* Is there nothing beside its own message that a call has to look after? */
static inline bool ranks_are_at_rest(void)
{
	return PySet_Size(ranks_python.staged) == 0 && PyObject_Size(ranks_python.dropped) == 0;
}

/* The ranks of a communicator if its calls are for here, as a new reference; or NULL, without an exception. */
struct ranks *ranks_find(PyObject *comm);

/* A message that was sent is one more that adma carried. */
void ranks_count(void);

/* ---- where to, and where from ---- */

/* The rank that a message is sent to; NULL: that is not for here. */
const struct rank *ranks_dest(const struct ranks *ranks, PyObject *dest);

/* A tag to send with. False: it is not for here. */
bool ranks_tag(const struct ranks *ranks, PyObject *tag, uint64_t *wire);

/* What a receive accepts. Either may be NULL: any. */
struct ranks_from {
	uint32_t number;
	uint64_t tag, mask;
	bool anybody;
};

/* False: that is not for here. */
bool ranks_from(const struct ranks *ranks, PyObject *source, PyObject *tag, struct ranks_from *from);

/* The rank with this endpoint, or -1: it was not reached so far. */
long ranks_source(const struct ranks *ranks, uint32_t number);

/*
 * A descriptor that is readable once any of these ranks has ended, for a thread that waits for a message from anybody; or
 * -1, if Python has to look for that. The answer holds until the GIL is let go: another thread may take note of a death, and
 * then the descriptor does not tell of that one any more.
 */
int ranks_obituary(const struct ranks *ranks);

bool ranks_type_make(PyObject *module);

/* ---- functions of the module ---- */

/* (rest, staged, dropped, slow, any_source, any_tag) */
PyObject *ranks_prepare(PyObject *module, PyObject *args);

/* A death was noted: each communicator has to look whether it had that rank, before its calls wait for anybody again. */
PyObject *ranks_note_death(PyObject *module, PyObject *nothing);

/* How many were noted. */
PyObject *ranks_deaths(PyObject *module, PyObject *nothing);

/* How many messages these calls have sent. */
PyObject *ranks_carried(PyObject *module, PyObject *nothing);

#endif
