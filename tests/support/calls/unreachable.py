# SPDX-License-Identifier: BSD-3-Clause
"""Messages in memory that one process cannot copy from another's, or that is gone."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle

import adma
from adma.testing import Endpoint
from adma.testing.calls import messages
from adma.testing.limits import HANG
from adma.testing.payload import difference, pattern

_MEMFD_SECRET = 447  # the same number on every architecture that has it


def secret(nbytes: int) -> mmap.mmap:
    """Memory that the kernel copies for no other process. OSError: there is none here."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_MEMFD_SECRET, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "memfd_secret")
    try:
        os.ftruncate(fd, nbytes)
        return mmap.mmap(fd, nbytes)
    finally:
        os.close(fd)


def is_there_secret_memory() -> bool:
    with contextlib.suppress(OSError):
        secret(mmap.PAGESIZE).close()
        return True
    return False


def ordinary(nbytes: int) -> mmap.mmap:
    """Pages, as `secret` has them."""
    return mmap.mmap(-1, nbytes)


def memory(kind: str, nbytes: int, seed: int | None = None) -> mmap.mmap:
    """A buffer of "secret" or "ordinary" memory, with the pattern of a seed in it."""
    area = secret(nbytes) if kind == "secret" else ordinary(nbytes)
    if seed is not None:
        area[:] = pattern(nbytes, seed)
    return area


def iwrite(endpoint: Endpoint, name: str, kind: str, nbytes: int, seed: int = 0) -> None:
    area = memory(kind, nbytes, seed)
    endpoint.kept[name] = messages.Posted(endpoint.channel.iwrite(area), area)


def iread(endpoint: Endpoint, name: str, kind: str, nbytes: int) -> None:
    area = memory(kind, nbytes)
    endpoint.kept[name] = messages.Posted(endpoint.channel.iread(area), area)


def finish(endpoint: Endpoint, name: str, seed: int | None = None) -> None:
    """Wait; look at what came; and let go of the memory."""
    posted = endpoint.kept.pop(name)
    got = posted.request.wait(timeout=HANG)
    if seed is not None:
        wrong = difference(posted.buffer[:], pattern(got, seed))
        assert not wrong, wrong
    posted.buffer.close()


def write_each(endpoint: Endpoint, kind: str, nbytes: int, count: int) -> None:
    for seed in range(count):
        with memory(kind, nbytes, seed) as area:
            endpoint.channel.write(area, timeout=HANG)


def read_each(endpoint: Endpoint, kind: str, nbytes: int, count: int) -> None:
    for seed in range(count):
        with memory(kind, nbytes) as area:
            assert endpoint.channel.read(area, timeout=HANG) == nbytes
            wrong = difference(area[:], pattern(nbytes, seed))
            assert not wrong, f"message {seed}: {wrong}"


def send(endpoint: Endpoint, kind: str, nbytes: int) -> None:
    """An object with two buffers of such memory, which travel beside it."""
    areas = [memory(kind, nbytes, seed) for seed in range(2)]
    endpoint.channel.send([pickle.PickleBuffer(area) for area in areas], timeout=HANG)


def recv_expected(endpoint: Endpoint, nbytes: int) -> None:
    """Receive what `send` sends."""
    for seed, buffer in enumerate(endpoint.channel.recv(timeout=HANG)):
        wrong = difference(memoryview(buffer), pattern(nbytes, seed))
        assert not wrong, f"buffer {seed}: {wrong}"


def until_over(endpoint: Endpoint, role: str, kind: str, nbytes: int) -> None:
    """Write or read until the channel ends; what was read is whole."""
    with contextlib.suppress(adma.ChannelClosed, adma.PeerDied):
        while True:
            with memory(kind, nbytes, 0 if role == "writer" else None) as area:
                if role == "writer":
                    endpoint.channel.write(area, timeout=HANG)
                    continue
                endpoint.channel.read(area, timeout=HANG)
                wrong = difference(area[:], pattern(nbytes))
                assert not wrong, wrong


class Vanishing:
    """A mapping of a file whose last pages can be cut off: an access there is a SIGBUS."""

    def __init__(self, nbytes: int, seed: int = 0) -> None:
        self._fd = os.memfd_create("test-vanishing")
        os.truncate(self._fd, nbytes)
        self.area = mmap.mmap(self._fd, nbytes)
        self.area[:] = pattern(nbytes, seed)

    def cut(self, nbytes: int) -> None:
        """Only the first `nbytes` are left."""
        os.truncate(self._fd, nbytes)

    def close(self) -> None:
        self.area.close()
        os.close(self._fd)


def vanishing(endpoint: Endpoint, verb: str, name: str, nbytes: int, left: int) -> None:
    """Post a write or a read, whose buffer then loses pages."""
    buffer = Vanishing(nbytes)
    post = endpoint.channel.iwrite if verb == "write" else endpoint.channel.iread
    endpoint.kept[name] = (post(buffer.area), buffer)
    buffer.cut(left)


def vanished(endpoint: Endpoint, name: str) -> tuple[int, str]:
    """What the request of `vanishing` fails with: its errno and words."""
    request, buffer = endpoint.kept.pop(name)
    try:
        request.wait(timeout=HANG)
    except OSError as error:
        found = (error.errno or 0, str(error))
    else:
        raise AssertionError("it succeeded")
    del request
    buffer.close()
    return found
