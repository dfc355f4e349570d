/* SPDX-License-Identifier: BSD-3-Clause */
/* wait_loop.c - waiting that answers Ctrl-C; see wait_loop.h. */
#include "binding/wait_loop.h"

#include <errno.h>

#include "api/drive.h"
#include "base/clock.h"
#include "base/poll.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "progress/progress.h"

#define WAIT_LOOP_BUDGET_NS 5000000 /* the core copies at most this long before signals are looked at */

/*
 * The kernel may hand a signal for the process to any thread, which does not end the main thread's sleep. So where there
 * are other threads, the main thread looks this often.
 */
#define WAIT_LOOP_SLICE_NS 100000000
#define WAIT_LOOP_SLICES 10 /* so many of them make a sleep, if nothing happens */

struct loop {
	const struct adma_wait *wait;
	int64_t deadline;
	bool late;  /* the deadline had passed when the last drive began */
	int state;  /* what that found: enum adma_drive_result, or an error */
	int slept;  /* what the last sleep returned */
	bool told;  /* after a sleep that found nothing: the descriptor `also` of the wait is readable */
};

/* ---- which thread runs handlers ---- */

static unsigned int forks; /* guarded by the GIL */

/* Is this the thread in which the handlers of signals run? Python knows (adma/_core/waiting.py). -1: an exception is set. */
static int loop_ask_python(void)
{
	PyObject *module = PyImport_ImportModule("adma._core.waiting");
	PyObject *answer = module ? PyObject_CallMethod(module, "runs_handlers", NULL) : NULL;
	int runs = answer ? PyObject_IsTrue(answer) : -1;

	Py_XDECREF(answer);
	Py_XDECREF(module);
	return runs;
}

/* The same. A thread asks once, and again in a child, where it may have become the main thread. */
static int loop_runs_handlers(void)
{
	static _Thread_local struct {
		bool asked, runs;
		unsigned int forks;
	} known;
	int runs;

	if (known.asked && known.forks == forks)
		return known.runs;
	runs = loop_ask_python();
	if (runs < 0)
		return -1;
	known.asked = true;
	known.runs = runs;
	known.forks = forks;
	return runs;
}

void wait_loop_after_fork(void)
{
	forks++;
}

/* ---- sleeping ---- */

/* Has the interpreter started threads that still run? It knows at once. -1: an exception is set. */
static int loop_has_threads(void)
{
	static PyObject *count; /* the function, which is looked up once */
	PyObject *module, *number;
	int result;

	if (!count) {
		module = PyImport_ImportModule("_thread");
		count = module ? PyObject_GetAttrString(module, "_count") : NULL;
		Py_XDECREF(module);
	}
	number = count ? PyObject_CallNoArgs(count) : NULL;
	result = number ? PyObject_IsTrue(number) : -1;
	Py_XDECREF(number);
	return result;
}

/*
 * For how long to sleep before a look for signals that other threads took, and how often: *ns becomes a slice. The system is asked
 * for other threads once a second (adma_signal_slice). 0: an exception is set.
 */
static int loop_slices(int64_t *ns)
{
	int64_t limit, left = *ns;
	int threads;

	if (left >= 0 && left <= WAIT_LOOP_SLICE_NS)
		return 1;
	threads = loop_has_threads();
	if (threads < 0)
		return 0;
	limit = threads ? WAIT_LOOP_SLICE_NS : adma_signal_slice();
	if (limit < 0 || (left >= 0 && left <= limit))
		return 1;
	*ns = limit;
	if (limit > WAIT_LOOP_SLICE_NS)
		return 1;
	return left < 0 || left / limit > WAIT_LOOP_SLICES ? WAIT_LOOP_SLICES : (int)(left / limit);
}

/* Called without the GIL. */
static void loop_drive(struct loop *loop)
{
	loop->late = loop->deadline != ADMA_NEVER && adma_now() >= loop->deadline;
	loop->state = adma_drive(loop->wait, loop->late ? 0 : -1, WAIT_LOOP_BUDGET_NS);
}

static bool loop_is_told(const struct loop *loop)
{
	struct pollfd fd = {.fd = loop->wait->also, .events = POLLIN};

	return loop->state != ADMA_READY && fd.fd >= 0 && adma_poll(&fd, 1, 0) > 0;
}

/* Sleep for one slice, and drive if that ends the sleep and no handler has to run first. Called without the GIL. */
static void loop_nap(struct loop *loop, int64_t ns, const sigset_t *mask, bool last)
{
	loop->slept = adma_sleep(loop->wait, ns, mask);
	if (loop->slept == -ETIMEDOUT && !last)
		return;
	if (mask)
		adma_signals_restore(mask);
	if (loop->slept == -EINTR)
		return;
	loop_drive(loop);
	loop->told = loop_is_told(loop);
}

/* Sleep in the thread that runs handlers. False: an exception is set. */
static bool loop_sleep_among_signals(struct loop *loop, int64_t ns)
{
	int slices = loop_slices(&ns);
	sigset_t mask;

	if (!slices)
		return false;
	adma_signals_block(&mask);
	for (int left = slices; left; left--) {
		/* The handlers of signals that came before; later on also what others ask the interpreter to do now and then. */
		if (left == slices ? PyErr_CheckSignals() : Py_MakePendingCalls()) {
			adma_signals_restore(&mask);
			return false;
		}
		BINDING_WITHOUT_GIL(loop_nap(loop, ns, &mask, left == 1));
		if (loop->slept != -ETIMEDOUT)
			break;
	}
	return true;
}

/* Nothing moves: sleep, and then drive. False: an exception is set. */
static bool loop_sleep(struct loop *loop)
{
	int64_t ns = loop->deadline == ADMA_NEVER ? -1 : loop->deadline - adma_now();
	int runs = loop_runs_handlers();

	if (runs < 0)
		return false;
	if (ns < 0 && loop->deadline != ADMA_NEVER)
		ns = 0;
	loop->slept = 0;
	if (runs && !loop_sleep_among_signals(loop, ns))
		return false;
	if (!runs)
		BINDING_WITHOUT_GIL(loop_nap(loop, ns, NULL, true));
	if (loop->slept == -EINTR) {
		if (PyErr_CheckSignals())
			return false;
		BINDING_WITHOUT_GIL(loop_drive(loop));
	}
	return true;
}

/* ---- the loop ---- */

/* The core cannot go on. Raises why, in the words of adma/_core/results.py. Returns false. */
static bool loop_fail(int state)
{
	PyObject *module = PyImport_ImportModule("adma._core.results");
	PyObject *nothing = module ? PyObject_CallMethod(module, "raise_for", "i", state) : NULL;

	Py_XDECREF(nothing);
	Py_XDECREF(module);
	return false;
}

/* The last drive has not found what is waited for, and there is time left: go on. False: an exception is set. */
static bool loop_go_on(struct loop *loop)
{
	if (loop->state < 0)
		return loop_fail(loop->state);
	if (loop->state != ADMA_BUSY)
		return loop_sleep(loop);
	if (PyErr_CheckSignals())
		return false;
	BINDING_WITHOUT_GIL(loop_drive(loop));
	return true;
}

int wait_loop_run(const struct adma_wait *wait, int64_t deadline)
{
	struct loop loop = {.wait = wait, .deadline = deadline};

	BINDING_WITHOUT_GIL(loop_drive(&loop));
	while (loop.state != ADMA_READY) {
		interpreter_let_go();
		if (loop.late && loop.state >= 0)
			return 0;
		if (loop.told && loop.state >= 0) {
			BINDING_WITHOUT_GIL(adma_give_up(wait));
			return 0;
		}
		if (!loop_go_on(&loop)) {
			/* The core leaves what is pending to this thread until it comes back. It will not. */
			BINDING_WITHOUT_GIL(adma_give_up(wait));
			return -1;
		}
	}
	return 1;
}

int wait_loop_run_one(struct adma_chan *chan, struct adma_req *req, int64_t deadline)
{
	struct adma_wait wait = adma_wait_for_one(&chan, &req);

	return wait_loop_run(&wait, deadline);
}

/* ---- functions of the module ---- */

/* True, False, or an exception that is set. */
static PyObject *loop_result(int found)
{
	return found < 0 ? NULL : PyBool_FromLong(found);
}

PyObject *wait_loop_on(PyObject *module, PyObject *args)
{
	unsigned long long wait;
	PyObject *moment;
	int64_t deadline;

	(void)module;
	if (!PyArg_ParseTuple(args, "KO", &wait, &moment) || !deadline_of_object(moment, &deadline))
		return NULL;
	return loop_result(wait_loop_run((const struct adma_wait *)(uintptr_t)wait, deadline));
}

PyObject *wait_loop_on_one(PyObject *module, PyObject *args)
{
	unsigned long long chan, req;
	PyObject *moment;
	int64_t deadline;

	(void)module;
	if (!PyArg_ParseTuple(args, "KKO", &chan, &req, &moment) || !deadline_of_object(moment, &deadline))
		return NULL;
	return loop_result(
		wait_loop_run_one((struct adma_chan *)(uintptr_t)chan, (struct adma_req *)(uintptr_t)req, deadline));
}
