# SPDX-License-Identifier: BSD-3-Clause
"""Endpoints of a handshake: in a thread, in a forked process of another user, or hostile."""

from __future__ import annotations

import ctypes
import os
import pickle
import platform
import signal
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import adma
from adma._core._native import ffi, lib
from adma.connect import access
from adma.connect.record import Entry
from adma.handshake.handshake import Terms, shake
from adma.handshake.link import Link
from adma.testing.limits import HANG

NOBODY_SPECIAL = 4321  # a uid that no file and no process has

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_VM_CALLS = {"x86_64": (310, 311), "aarch64": (270, 271)}


def pair(kind: socket.SocketKind = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    return socket.socketpair(socket.AF_UNIX, kind)


def terms(forced: int = 0, *, one_user: bool = False, client: bool = False) -> Terms:
    """The terms of a test's endpoint."""
    admit = access.own_user if one_user else access.anybody
    return Terms("test", client=client, forced=forced, admit=admit)


class InThread:
    """A function that runs in a thread; `result()` returns or raises what it did."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._value = function()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(HANG)
        assert not self._thread.is_alive(), "the other thread hangs"
        if self._error is not None:
            raise self._error
        return self._value


def own_channels(mechanism: str = "auto") -> tuple[adma.Channel, adma.Channel]:
    """Both ends of a channel, in this process."""
    name = f"own-{os.getpid()}"
    with adma.listen(name) as server:
        connecting = InThread(lambda: adma.connect(name, mechanism=mechanism, timeout=HANG))
        return server.accept(timeout=HANG), connecting.result()


class InChild:
    """A function that runs in a forked process; `result()` returns or raises what it did.

    `close_here`: what the child has and this process must not keep.
    """

    def __init__(self, function: Callable[[], Any], *close_here: socket.socket) -> None:
        out, into = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(out)
            _finish(function, into)
        os.close(into)
        self._out = out
        for sock in close_here:
            sock.close()

    def result(self) -> Any:
        with open(self._out, "rb") as pipe:
            data = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        assert data, f"the child ended with status {status}"
        error, value = pickle.loads(data)
        if error is not None:
            raise error
        return value


def _finish(function: Callable[[], Any], into: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        answer: tuple[BaseException | None, Any] = (None, function())
    except BaseException as error:
        error.__traceback__ = None
        answer = (error, None)
    try:
        with open(into, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        os._exit(0)


def become(uid: int) -> None:
    """Drop to another user, for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    set_dumpable(True)  # a change of user takes it away, as if the file had been set-uid


def set_dumpable(value: bool) -> None:
    """May processes of the same user look into this one?"""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, int(value), 0, 0, 0)


def forbid_vm_calls(error: int) -> None:
    """A seccomp filter under which process_vm_readv and writev fail with `error`."""
    read, write = _VM_CALLS[platform.machine()]
    program = [
        (0x20, 0, 0, 0),  # load the call's number
        (0x15, 1, 0, read),
        (0x15, 0, 1, write),
        (0x06, 0, 0, 0x00050000 | error),  # errno
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    filters = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(filters)
    head = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, 2, head, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


def summary(link: Link) -> dict[str, Any]:
    """What can be said of a link in another process; the link is discarded."""
    found = {
        "pid": link.pid,
        "uid": link.uid,
        "same_user": link.same_user,
        "allow_pickle": link.allow_pickle,
        "out": dict(link.out),
        "in": dict(link.in_),
        "can_pull": bool(link.found.get(lib.ADMA_MECH_CMA, 0) & lib.ADMA_CMA_PULL),
        "can_push": bool(link.found.get(lib.ADMA_MECH_CMA, 0) & lib.ADMA_CMA_PUSH),
        "forced": link.forced,
        "tcp": lib.ADMA_MECH_TCP in link.fds,
        "out_mask": link.out_mask,
        "in_mask": link.in_mask,
    }
    link.discard()
    return found


def try_shake(sock: socket.socket, wanted: Terms, timeout: float = HANG) -> dict[str, Any]:
    """Shake hands and return the summary; closes everything in any case."""
    with sock:
        return summary(shake(sock, wanted, timeout))


def hello(**fields: Any) -> bytes:
    """The bytes of a sound hello, with some fields replaced."""
    content = ffi.new("struct adma_hello *")
    content.pid = os.getpid()
    content.uid = os.geteuid()
    content.half_size = lib.adma_segment_size()
    content.mechanisms = 0
    ffi.buffer(content.nonce)[:] = bytes(range(16))
    for name, value in fields.items():
        setattr(content, name, value)
    return bytes(ffi.buffer(content))


def segment_fd() -> int:
    """The descriptor of a sound segment."""
    fd = ffi.new("int *")
    segment = ffi.new("struct adma_segment **")
    assert lib.adma_segment_make(fd, segment) == 0
    lib.adma_segment_unmap(segment[0])
    return int(fd[0])


def hello_entry(**fields: Any) -> Entry:
    """A hello as an entry."""
    return Entry(0, 0, hello(**fields))
