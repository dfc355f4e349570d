/* SPDX-License-Identifier: BSD-3-Clause */
/* calls.c - the base of `Channel`, and the texts of its methods; see calls.h. */
#include "binding/calls.h"

#include "binding/blocking.h"
#include "binding/caller.h"
#include "binding/now.h"
#include "binding/objects.h"
#include "binding/persistent.h"
#include "binding/posts.h"
#include "binding/read_bytes.h"

static int calls_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"endpoint", "blocking", "receiver", "unpickles", NULL};
	PyObject *endpoint, *blocking, *receiver;
	struct caller *caller = caller_of(self);
	int unpickles;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOp", names, &endpoint, &blocking, &receiver, &unpickles))
		return -1;
	if (!PyObject_TypeCheck(endpoint, endpoint_type) || caller->endpoint) {
		PyErr_SetString(PyExc_TypeError, "a channel has one endpoint, and keeps it");
		return -1;
	}
	Py_INCREF(endpoint);
	Py_INCREF(blocking);
	Py_INCREF(receiver);
	caller->endpoint = endpoint_of(endpoint);
	caller->blocking = blocking;
	caller->receiver = receiver;
	caller->unpickles = unpickles;
	return 0;
}

/* What a program hangs on the objects that a channel has may lead back to the channel. */
static int calls_traverse(PyObject *self, visitproc visit, void *arg)
{
	struct caller *caller = caller_of(self);

	Py_VISIT(Py_TYPE(self));
	Py_VISIT((PyObject *)caller->endpoint);
	Py_VISIT(caller->blocking);
	Py_VISIT(caller->receiver);
	return 0;
}

/* After that its calls say that it was not made by adma: only a finalizer can still make one. */
static int calls_clear(PyObject *self)
{
	struct caller *caller = caller_of(self), before = *caller;

	caller->endpoint = NULL;
	caller->blocking = caller->receiver = NULL;
	Py_XDECREF(before.receiver);
	Py_XDECREF(before.blocking);
	Py_XDECREF((PyObject *)before.endpoint);
	return 0;
}

static void calls_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
	struct caller caller = *caller_of(self);

	PyObject_GC_UnTrack(self);
	release(self);
	Py_XDECREF(caller.receiver);
	Py_XDECREF(caller.blocking);
	Py_XDECREF((PyObject *)caller.endpoint);
	Py_DECREF((PyObject *)type);
}

static PyObject *calls_get_endpoint(PyObject *self, void *nothing)
{
	struct endpoint *endpoint = caller_endpoint(self);

	(void)nothing;
	Py_XINCREF((PyObject *)endpoint);
	return (PyObject *)endpoint;
}

static PyMethodDef calls_methods[] = {
	{"write", BINDING_FAST(blocking_write), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("write($self, buf, timeout=None)\n--\n\n"
		   "Write one message: all bytes of a C-contiguous buffer. (Paper, table 2.)\n\n"
		   "It returns when the buffer may be used again. A small message is published by then,\n"
		   "and is lost if the reader dies before it reads it. A large one is copied.\n\n"
		   "A large message is matched by the reader. So where the peer waits in a read or a probe, a\n"
		   "write whose time is over stays for up to 20 ms more before it is taken back.\n\n"
		   "`buf` may be a list or a tuple of buffers: together they are one message, which costs another\n"
		   "copy. The reader need not divide it in the same way.\n\n"
		   "TypeError: `buf` is no buffer, or an array of Python objects. BufferError: it is not\n"
		   "C-contiguous (`send` takes arrays of any order, and keeps it). OSError: copying failed.")},
	{"read", BINDING_FAST(blocking_read), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("read($self, buf, timeout=None)\n--\n\n"
		   "Read one message into a writable, C-contiguous buffer; returns its length in bytes.\n\n"
		   "The buffer may be longer than the message. With a timeout of 0 it takes a message that is\n"
		   "there, of whatever size, and waits for none. `MessageTooLong` (with `.needed`): it is\n"
		   "shorter. `WrongKind`: the next message is an object. In both cases the message stays\n"
		   "and is the next one again. BufferError: `buf` is read-only or not C-contiguous.\n\n"
		   "`buf` may be a list or a tuple of buffers, which the message fills one after the other, for\n"
		   "the price of another copy. ValueError: two of them overlap.\n"
		   "(Paper, table 2.)")},
	{"iwrite", BINDING_FAST(posts_iwrite), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("iwrite($self, buf)\n--\n\n"
		   "Post a write; returns a request, which owns the buffer until it is done.\n\n"
		   "A small message is usually done at once. BlockingIOError: as many writes are\n"
		   "outstanding as `max_outstanding` allows; wait for one of them first. Other errors as for\n"
		   "`write`. (Paper, table 2.)")},
	{"iread", BINDING_FAST(posts_iread), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("iread($self, buf)\n--\n\n"
		   "Post a read; returns a request, which owns the buffer until it is done.\n\n"
		   "Reads are matched in the order in which they were posted. BlockingIOError: as many are\n"
		   "outstanding as `max_outstanding` allows; wait for one of them first. (Paper, table 2.)")},
	{"read_bytes", BINDING_FAST(read_bytes), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR(
		 "read_bytes($self, max_bytes=None, timeout=None)\n--\n\n"
		 "Read one message of any size; returns it as `bytes`.\n\n"
		 "`max_bytes`: the longest message that is accepted; `MessageTooLong` (with `.needed`) for a\n"
		 "longer one. `WrongKind`: the next message is an object. MemoryError: there is no memory for it.\n"
		 "In each case the message stays and is the next one again. A timeout leaves nothing behind. After\n"
		 "`Stalled`, or after a signal's exception, the message belongs to `.request`, whose `wait` returns it.")},
	{"send", BINDING_FAST(objects_send), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("send($self, obj, timeout=None)\n--\n\n"
		   "Write a Python object, for `recv` at the other end.\n\n"
		   "It is pickled with protocol 5. Buffers in it of 64 KiB or more are not pickled: each is\n"
		   "copied straight from the object to the reader. Whatever pickling raises is raised\n"
		   "before anything is posted. Its timeout is as that of `write`.")},
	{"read_init", BINDING_FAST(persistent_read_init), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("read_init($self, buf)\n--\n\n"
		   "Prepare reads into one buffer; returns a request, which does nothing before its `start`.\n\n"
		   "Each `start` reads one message, as `iread` does, and takes less time than that. The buffer is\n"
		   "held as long as the request lives, and is the program's between a `wait` and the next `start`.\n"
		   "Errors as for `iread`; those of messages are raised by `wait` and `check`.")},
	{"write_init", BINDING_FAST(persistent_write_init), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("write_init($self, buf)\n--\n\n"
		   "Prepare writes of one buffer; returns a request, which does nothing before its `start`.\n\n"
		   "Each `start` writes what the buffer holds then, as `iwrite` does, and takes less time than that.\n"
		   "The buffer is held as long as the request lives, and may be changed between a `wait` and the\n"
		   "next `start`.")},
	{"isend", BINDING_FAST(posts_isend), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("isend($self, obj)\n--\n\n"
		   "Post a Python object, for `recv` at the other end; returns a request.\n\n"
		   "It is pickled at once, as `send` does. The large buffers in it are not: they belong to the\n"
		   "request until it is done. Whatever pickling raises is raised before anything is posted.\n"
		   "BlockingIOError: as many writes are outstanding as `max_outstanding` allows.")},
	{"recv", BINDING_FAST(objects_recv), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("recv($self, timeout=None, max_bytes=None, *, allow_pickle=False, into=None)\n--\n\n"
		   "Read the next message, which `send` wrote, and unpickle it.\n\n"
		   "`max_bytes`: the longest object that is accepted; `MessageTooLong` for a longer one.\n"
		   "`WrongKind`: the next message is bytes. In both cases the message stays and is the next\n"
		   "one again.\n\n"
		   "A buffer that travelled by itself comes as `bytes` if it was read-only, and as a\n"
		   "`bytearray` otherwise, as a small one does. MemoryError: there is no memory for the\n"
		   "object. It stays first in line, and `skip` drops it.\n\n"
		   "`into`: a writable, C-contiguous array that the object is received into, which is returned; or a\n"
		   "list of arrays, where the object is a list or a tuple of as many. Each has the shape and the\n"
		   "type of what comes for it. A large array is copied once, straight there. ValueError: what comes\n"
		   "is of another shape, type or number, and stays the next one; or two arrays of `into` overlap.\n"
		   "TypeError, BufferError: an array of `into` cannot be filled, and nothing was received.\n\n"
		   "Unpickling runs code of the peer's choice. So PermissionError is raised when the peer\n"
		   "belongs to another user, unless `allow_pickle` is true.\n\n"
		   "A TimeoutError loses nothing. After `Stalled`, or after a signal's exception, the next call\n"
		   "goes on with the object that had begun to arrive. When unpickling raises, that object is\n"
		   "lost, and the channel can be used on.")},
	{"_read_now", BINDING_FAST(now_read), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("_read_now($self, buf)\n--\n\nRead a small message that is there; None: there is none.")},
	{"_write_now", BINDING_FAST(now_write), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("_write_now($self, buf)\n--\n\nPublish a small message; False: that is not possible now.")},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef calls_getset[] = {
	{"_endpoint", calls_get_endpoint, NULL, PyDoc_STR("This process's end."), NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot calls_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("The calls of a channel that carry messages.")},
	{Py_tp_init, calls_init},
	{Py_tp_dealloc, calls_dealloc},
	{Py_tp_traverse, calls_traverse},
	{Py_tp_clear, calls_clear},
	{Py_tp_methods, calls_methods},
	{Py_tp_getset, calls_getset},
	{0, NULL},
};

static PyType_Spec calls_spec = {
	.name = "adma._core._messages.Calls",
	.basicsize = sizeof(struct caller),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = calls_slots,
};

bool calls_type_make(PyObject *module)
{
	PyObject *type = PyType_FromModuleAndSpec(module, &calls_spec, NULL);

	if (!type)
		return false;
	return !PyModule_AddType(module, (PyTypeObject *)type); /* the reference is kept for ever */
}
