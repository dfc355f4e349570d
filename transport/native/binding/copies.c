/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copies.c - copy() and icopy(); see copies.h.
 *
 * A copy of contiguous bytes that can be made in the call makes no object of its own, or one for its request. Arrays
 * of other strides, and arguments that are wrong, are Python's (adma/copying/copies.py), which plans the former.
 */
#include "binding/copies.h"

#include <errno.h>

#include "binding/arguments.h"
#include "binding/buffer.h"
#include "binding/copy_type.h"
#include "binding/interpreter.h"

/*
 * Bytes that are copied without letting the GIL go. To let it go and take it back takes about 0.1 us, and as long as
 * copying a few KiB. A thread that waits for the GIL needs longer to wake up than this takes to copy. So
 * on either side a factor of a few does not show.
 */
#define COPIES_GIL_MAX (16 << 10)

/*
 * Bytes from which the engine's threads take part in a blocking copy. For less, handing a part over costs more than
 * it gains. Measured, see docs/benchmarks.md.
 */
#define COPIES_SPREAD_FROM (512 << 10)

struct ranges {
	Py_buffer dst, src;
	bool held;
};

static void ranges_release(struct ranges *ranges)
{
	PyBuffer_Release(&ranges->dst);
	PyBuffer_Release(&ranges->src);
	ranges->held = false;
}

/* Hold two ranges of bytes of one length. Neither `held` nor an exception: Python judges. False: an exception. */
static bool ranges_hold(struct ranges *ranges, PyObject *dst, PyObject *src)
{
	int found = buffer_hold_range(dst, true, &ranges->dst);

	ranges->held = false;
	if (found <= 0)
		return !found;
	found = buffer_hold_range(src, false, &ranges->src);
	if (found <= 0) {
		PyBuffer_Release(&ranges->dst);
		return !found;
	}
	ranges->held = true;
	if (ranges->dst.len != ranges->src.len)
		ranges_release(ranges);
	return true;
}

/* Copy them in this call. False: an earlier copy is in the way. */
static bool ranges_copy(const struct ranges *ranges)
{
	void *dst = ranges->dst.buf;
	const void *src = ranges->src.buf;
	uint64_t n = (uint64_t)ranges->dst.len;
	int rc = n <= COPIES_GIL_MAX ? adma_copy_try_now(dst, src, n) : -EBUSY;

	if (rc == -EBUSY)
		BINDING_WITHOUT_GIL(rc = adma_copy_now(dst, src, n));
	return !rc;
}

/* ---- posting ---- */

/* An exception is set: take the copy back, or let the exception have it as `.request`. */
static void copies_take_back(struct copy_request *request)
{
	struct adma_copy *copy = &request->copy;
	PyObject *type, *value, *trace;
	int through;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	through = copy->state == ADMA_COPY_IDLE || copy_request_is_done(request); /* IDLE: it was never posted */
	if (!through)
		BINDING_WITHOUT_GIL(through = adma_copy_cancel(copy));
	if (!through) {
		BINDING_WITHOUT_GIL(through = adma_copy_tell(copy));
		if (PyObject_SetAttrString(value, "request", (PyObject *)request))
			PyErr_Clear();
	}
	if (through)
		copy_request_let_go(request);
	PyErr_Restore(type, value, trace);
}

/* Hand it over, or wait until that can be done. A result of adma_copy_post(), or -EINTR: an exception is set. */
static int copies_hand_over(struct copy_request *request)
{
	int rc;

	for (;;) {
		PyObject *nothing;

		BINDING_WITHOUT_GIL(rc = adma_copy_post(&request->copy));
		if (rc != -EAGAIN)
			return rc;
		nothing = copy_type_call("_wait_for_room", "()");
		if (!nothing)
			return -EINTR;
		Py_DECREF(nothing);
	}
}

/* Post a copy that is planned. False: an exception is set, and the copy was taken back. */
static bool copies_post(struct copy_request *request, bool tell)
{
	PyObject *nothing = NULL;
	int rc = -EINTR;

	request->copy.tell = tell;
	copy_request_keep(request);
	interpreter_let_go();
	if (copy_type_prepare())
		rc = copies_hand_over(request);
	if (rc < 0 && rc != -EINTR)
		nothing = copy_type_call("_no_stage", "(O)", (PyObject *)request); /* raises */
	if (rc > 0)
		nothing = copy_type_call("_copy_here", "(O)", (PyObject *)request);
	if (PyErr_Occurred()) {
		copies_take_back(request);
		return false;
	}
	Py_XDECREF(nothing);
	(void)copy_request_let_go_if_done(request); /* it was made in the call */
	return true;
}

/* A request for what cannot be copied in the call; nobody has posted it. NULL: an exception is set. */
static struct copy_request *copies_plan(const char *call, PyObject *dst, PyObject *src, struct ranges *ranges)
{
	struct copy_request *request;

	if (!ranges->held)
		return (struct copy_request *)copy_type_call("_planned", "(sOO)", call, dst, src);
	request = copy_request_new(copy_type);
	if (!request) {
		ranges_release(ranges);
		return NULL;
	}
	copy_request_lend(request, &ranges->dst, &ranges->src);
	adma_plan_bytes(&request->copy.plan, ranges->dst.buf, ranges->src.buf, (uint64_t)ranges->dst.len);
	return request;
}

static bool copies_parse(const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
			 PyObject **values, struct ranges *ranges)
{
	static const char *const names[] = {"dst", "src"};

	return arguments_parse(call, args, nargs, kwnames, 2, 2, names, values) &&
	       ranges_hold(ranges, values[0], values[1]);
}

/* ---- the functions ---- */

/* Post it, and wait. */
static PyObject *copies_run(struct copy_request *request)
{
	int64_t nbytes = -1;

	if (copies_post(request, false)) {
		nbytes = copy_type_wait(request, Py_None) ? copy_type_settle(request) : -1;
		if (nbytes < 0)
			copies_take_back(request);
	}
	Py_DECREF((PyObject *)request);
	return nbytes < 0 ? NULL : PyLong_FromLongLong(nbytes);
}

PyObject *copies_copy(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	PyObject *values[2] = {NULL, NULL};
	struct copy_request *request;
	struct ranges ranges;

	(void)module;
	if (!copies_parse("copy", args, nargs, kwnames, values, &ranges))
		return NULL;
	if (ranges.held && ranges.dst.len <= COPIES_SPREAD_FROM && ranges_copy(&ranges)) {
		Py_ssize_t nbytes = ranges.dst.len;

		ranges_release(&ranges);
		return PyLong_FromSsize_t(nbytes);
	}
	request = copies_plan("copy", values[0], values[1], &ranges);
	return request ? copies_run(request) : NULL;
}

/* The request for a copy that was made in the call: it is done, and holds nothing. */
static PyObject *copies_made(struct ranges *ranges)
{
	struct copy_request *request = copy_request_new(copy_type);

	if (request) {
		request->made = true;
		request->nbytes = ranges->dst.len;
	}
	ranges_release(ranges);
	return (PyObject *)request;
}

PyObject *copies_icopy(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	PyObject *values[2] = {NULL, NULL};
	struct copy_request *request;
	struct ranges ranges;

	(void)module;
	if (!copies_parse("icopy", args, nargs, kwnames, values, &ranges))
		return NULL;
	if (ranges.held && adma_copy_is_small((uint64_t)ranges.dst.len) && ranges_copy(&ranges))
		return copies_made(&ranges);
	request = copies_plan("icopy", values[0], values[1], &ranges);
	if (request && !copies_post(request, true))
		Py_CLEAR(request);
	return (PyObject *)request;
}
