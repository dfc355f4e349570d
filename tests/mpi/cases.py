# SPDX-License-Identifier: BSD-3-Clause
"""What ranks do in test_cases.py: `python cases.py NAME,... SECONDS`, on every rank.

A rank that ends with 0 has found everything as it should be. Each prints what it is done with.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mpi4py.MPI

from adma import MPI, PeerDied, mpi
from adma._core.calls import ranks_carried
from adma.mpi import activity

comm = MPI.COMM_WORLD
rank, size = comm.rank, comm.size
left, right = (rank - 1) % size, (rank + 1) % size
MIB = 1 << 20
FLAT = 10_000  # calls of each kind, after which no more is allocated than before


@contextlib.contextmanager
def fails(error_class: int) -> Iterator[None]:
    """The block raises an MPI.Exception of this class."""
    try:
        yield
    except MPI.Exception as error:
        found = error.Get_error_class()
    else:
        raise AssertionError("no error")
    assert found == error_class


@contextlib.contextmanager
def raises(kind: type[BaseException]) -> Iterator[list[BaseException]]:
    """The block raises an exception of this class, which the list has then."""
    caught: list[BaseException] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    else:
        raise AssertionError("no error")


def pattern(nbytes: int, seed: int) -> bytes:
    line = bytes((seed + 31 * at) & 0xFF for at in range(257))
    return (line * (nbytes // 257 + 1))[:nbytes]


# Arguments


def arguments() -> None:
    buf = bytearray(8)
    for call in (comm.Send, comm.Isend, comm.Ssend, comm.Send_init):
        with fails(MPI.ERR_RANK):
            call(buf, size)
        with fails(MPI.ERR_RANK):
            call(buf, -100)
        with fails(MPI.ERR_TAG):
            call(buf, rank, -7)
        with fails(MPI.ERR_TAG):
            call(buf, rank, 1 << 40)
        with raises(TypeError):
            call(5, rank)
    for call in (comm.Recv, comm.Irecv):
        with fails(MPI.ERR_RANK):
            call(buf, size)
        with raises((TypeError, BufferError, ValueError)):
            call(b"read-only", rank)
    with fails(MPI.ERR_TAG):
        comm.Recv(buf, rank, 1 << 40)
    with raises(ValueError):
        comm.Send([buf, -1, MPI.BYTE], rank)
    with raises(KeyError):
        comm.Send([buf, 1, "no such type"], rank)
    assert not comm.Iprobe()


def numbers() -> None:
    """Ranks and tags may be integers of NumPy's."""
    import numpy as np

    buf = bytearray(1)
    for kind in (np.int16, np.uint8, np.int32, np.int64):
        to, tag = kind(rank), kind(5)
        assert comm.sendrecv("x", to, tag, None, to, tag) == "x"
        comm.Sendrecv(b"x", to, tag, buf, to, tag)
        sent = comm.isend(bytearray(100_000), to, tag)
        assert len(comm.mprobe(to, tag).recv()) == 100_000
        sent.wait()
        request = comm.Precv_init(buf, 1, to, tag)
        other = comm.Psend_init(b"y", 1, to, tag)
        MPI.Prequest.Startall([request, other])
        other.Pready(0)
        MPI.Request.Waitall([request, other])
        request.Free()
        other.Free()
        assert buf == b"y"
    for call in (comm.Send, comm.Send_init, comm.Ssend_init, comm.Recv_init):
        with raises(TypeError):
            call(buf, rank, 0.5)


def nobody() -> None:
    status = MPI.Status()
    comm.Send(None, MPI.PROC_NULL)
    comm.Recv(None, MPI.PROC_NULL, status=status)
    assert (status.source, status.tag, status.Get_count(MPI.BYTE)) == (
        MPI.PROC_NULL,
        MPI.ANY_TAG,
        0,
    )
    assert comm.recv(source=MPI.PROC_NULL) is None
    comm.Probe(MPI.PROC_NULL, status=status)
    assert status.source == MPI.PROC_NULL


def freed() -> None:
    other = comm.Dup()
    request = other.Irecv(bytearray(1), rank)
    other.Send(b"x", rank)
    copy = MPI.Intracomm(other)
    assert not copy.Iprobe(rank)
    other.Free()
    request.Wait()
    assert not other
    for stale in (copy, other):
        with fails(MPI.ERR_COMM):
            stale.Send(b"x", rank)


def strangers() -> None:
    from mpi4py import MPI as theirs  # noqa: N811

    raw = theirs.COMM_WORLD.Dup()
    with raises(RuntimeError) as caught:
        MPI.Intracomm(raw).Send(b"", rank)
    assert "adma.mpi.wrap" in str(caught[0])
    wrapped = mpi.wrap(raw)
    assert mpi.wrap(raw) == wrapped
    assert mpi.wrap(wrapped) is wrapped
    sent = [raw.Isend(b"raw", right), wrapped.Isend(b"our", right)]
    buf, other = bytearray(3), bytearray(3)
    wrapped.Recv(buf, left)
    raw.Recv(other, left)
    assert (buf, other) == (b"our", b"raw")
    MPI.Request.Waitall(sent)
    with raises(TypeError):
        theirs.Request.Waitall([wrapped.Isend(b"", MPI.PROC_NULL)])
    for wrong in (5, None):
        with raises(TypeError):
            mpi.wrap(wrong)
    with raises(ValueError):
        mpi.wrap(theirs.COMM_NULL)
    wrapped.Free()


# Matching


def order() -> None:
    """Messages of all sizes come in the order in which they were sent, whoever receives them."""
    sizes = [0, 8, 100, 5000, 20_000, MIB, 3, 70_000, 1] * 5
    sent = [comm.Isend(pattern(nbytes, at), right, at % 3) for at, nbytes in enumerate(sizes)]
    status = MPI.Status()
    for at, nbytes in enumerate(sizes):
        comm.Probe(MPI.ANY_SOURCE if at % 2 else left, MPI.ANY_TAG, status)
        assert (status.source, status.tag) == (left, at % 3)
        buf = bytearray(status.Get_count(MPI.BYTE))
        assert len(buf) == nbytes
        comm.Recv(buf, MPI.ANY_SOURCE if at % 4 else left, MPI.ANY_TAG)
        assert buf == pattern(nbytes, at)
    MPI.Request.Waitall(sent)


def object_order() -> None:
    """A receive of an object keeps its place among the others, whatever comes."""
    objects = [5, b"x" * 200_000, {"a": 1}, bytearray(MIB), list(range(10_000)), None]
    waiting = [comm.irecv(source=left, tag=1) for _ in objects]
    buf = bytearray(4)
    last = comm.Irecv(buf, left, 1)
    sent = [comm.isend(each, right, 1) for each in objects]
    sent.append(comm.Isend(b"last", right, 1))
    last.Wait()
    assert buf == b"last"
    assert MPI.Request.waitall(waiting) == objects
    MPI.Request.Waitall(sent)


def tags() -> None:
    one, two = comm.Dup(), comm.Dup()
    for each in (two, comm, one):
        each.send((each is two, each is comm), right, 7)
    for each in (one, comm, two):
        assert each.recv(source=MPI.ANY_SOURCE, tag=7) == (each is two, each is comm)
    sent = [comm.isend(tag, right, tag) for tag in range(50)]
    for tag in reversed(range(50)):
        assert comm.recv(source=left, tag=tag) == tag
    MPI.Request.Waitall(sent)
    one.Free()
    two.Free()


def truncation() -> None:
    """A message that is too long is gone with the receive that it met."""
    for nbytes in (5, 5000, MIB):
        sent = [comm.Isend(bytes(nbytes), right), comm.Isend(b"next", right)]
        with fails(MPI.ERR_TRUNCATE):
            comm.Recv(bytearray(4), left)
        buf = bytearray(4)
        comm.Recv(buf, left)
        assert buf == b"next"
        MPI.Request.Waitall(sent)


def unexpected() -> None:
    """A receive behind ten thousand messages that nobody has asked for."""
    sent = [comm.Isend(at.to_bytes(4, "little"), right, 1) for at in range(10_000)]
    sent.append(comm.Isend(b"last", right, 2))
    buf = bytearray(4)
    comm.Recv(buf, left, 2)
    assert buf == b"last"
    for at in range(10_000):
        comm.Recv(buf, left, 1)
        assert int.from_bytes(buf, "little") == at
    MPI.Request.Waitall(sent)


def anybody() -> None:
    count = 200
    if rank:
        for at in range(count):
            comm.send((rank, at), 0)
    else:
        last = dict.fromkeys(range(1, size), -1)
        for _ in range(count * (size - 1)):
            status = MPI.Status()
            source, at = comm.recv(source=MPI.ANY_SOURCE, status=status)
            assert status.source == source
            assert at == last[source] + 1
            last[source] = at


def synchronous() -> None:
    request = comm.Issend(b"x", right, 3)
    comm.Barrier()
    assert not request.Test()
    comm.Barrier()
    comm.Recv(bytearray(1), left, 3)
    request.Wait()
    whole = comm.issend(bytes(MIB), rank, 4)
    assert not whole.Test()
    got = comm.irecv(source=rank, tag=4)
    whole.wait()
    assert got.wait() == bytes(MIB)


def layouts() -> None:
    import numpy as np

    columns = np.arange(60.0).reshape(6, 10)
    vector = MPI.DOUBLE.Create_vector(6, 2, 10).Commit()
    got = np.zeros((6, 10))
    request = comm.Isend([columns, 1, vector], right)
    comm.Recv([got, 1, vector], left)
    request.Wait()
    assert (got[:, :2] == columns[:, :2]).all()
    assert not got[:, 2:].any()
    flat = np.zeros(12)
    request = comm.Isend([columns, 1, vector], right)
    comm.Recv(flat, left)
    request.Wait()
    assert (flat.reshape(6, 2) == columns[:, :2]).all()
    vector.Free()
    many = comm.Isend([columns[1], (3, 2), MPI.DOUBLE], right)
    status = MPI.Status()
    comm.Recv(flat, left, status=status)
    many.Wait()
    assert status.Get_count(MPI.DOUBLE) == 3
    assert (flat[:3] == columns[1, 2:5]).all()


# Requests


def twice() -> None:
    request = comm.Isend(b"x", rank)
    comm.Recv(bytearray(1), rank)
    request.Wait()
    status = MPI.Status()
    request.Wait(status)
    assert request == MPI.REQUEST_NULL
    assert status.source == MPI.ANY_SOURCE
    assert request.Test()
    assert MPI.Request.Waitany([request]) == MPI.UNDEFINED
    with raises(ValueError):
        pickle.dumps(comm.Irecv(bytearray(1), rank))
    comm.Send(b"", rank)


def mixed() -> None:
    """Lists of our requests and of MPI's."""
    barrier = comm.Ibarrier()
    receive = comm.irecv(source=left)
    send = comm.isend("hello", right)
    indices = set()
    while True:
        index, _ = MPI.Request.waitany([barrier, receive, send])
        if index == MPI.UNDEFINED:
            break
        indices.add(index)
    assert indices == {0, 1, 2}
    one, other = comm.Ibarrier(), comm.Ibarrier()
    one.Wait()
    assert MPI.Request.Waitall([other, comm.Isend(b"", MPI.PROC_NULL)])


def compiled() -> None:
    """The usual calls never reach Python's, and what they post is a request as any other."""
    after, before = (rank + 1) % size, (rank - 1) % size
    sent, got, status = bytearray(pattern(64, rank)), bytearray(64), MPI.Status()
    comm.Sendrecv(sent, after, 5, got, before, 5)  # from now on both are connected
    comm.sendrecv(rank, before, source=after)
    comm.Barrier()
    carried = ranks_carried()
    for source, tag in ((before, 5), (MPI.ANY_SOURCE, MPI.ANY_TAG)):
        for spec, room in ((sent, got), ([sent, MPI.BYTE], (got, 64, MPI.BYTE))):
            got[:] = bytes(64)
            comm.Send(spec, after, 5)
            comm.Recv(room, source, tag, status)
            assert got == pattern(64, before)
            assert (status.source, status.tag, status.Get_count(MPI.BYTE)) == (before, 5, 64)
            comm.Sendrecv(spec, after, 5, room, source, tag, status)
            assert (status.source, status.tag, status.Get_count(MPI.BYTE)) == (before, 5, 64)
            requests = [comm.Isend(spec, after, 5), comm.Irecv(room, source, tag)]
            assert MPI.Request.Waitall(requests)
            assert requests == [MPI.REQUEST_NULL] * 2
        comm.send({"rank": rank}, after, 5)
        request = comm.isend([rank], after, 5)
        assert comm.recv(None, source, tag, status) == {"rank": before}
        assert (status.source, status.tag) == (before, 5)
        assert comm.recv(source=source, tag=tag) == [before]
        assert request.wait() is None
    assert ranks_carried() - carried == 2 * (2 * 3 + 2)
    for wait in (
        lambda requests: MPI.Request.waitall(requests),
        lambda requests: MPI.Request.Waitall(requests, [MPI.Status()]),
        lambda requests: MPI.Request.Waitall([*requests, MPI.REQUEST_NULL, MPI.Request()]),
        lambda requests: [MPI.Request.Waitany(requests) for _ in requests],
        lambda requests: MPI.Request.Waitsome(requests) and MPI.Request.Waitall(requests),
        lambda requests: [request.Wait(status) for request in requests],
        lambda requests: [until_tested(request) for request in requests],
        lambda requests: [MPI.Request(request).wait() for request in requests],
    ):
        got[:] = bytes(64)
        requests = [comm.Irecv(got, before, 5), comm.Isend(sent, after, 5)]
        wait(requests)
        assert got == pattern(64, before)
        assert not any(requests)
        assert all(request.Test() for request in requests)
    of_requests: type = MPI.Request.__bases__[0]
    with not_in_python(of_requests, "Waitall", "waitall"):
        for wait, statuses in (
            (MPI.Request.Waitall, [MPI.Status(), MPI.Status()]),
            (MPI.Request.waitall, (MPI.Status(), MPI.Status(), status)),
        ):
            requests = [comm.Irecv(got, before, 5), comm.Isend(sent, after, 5)]
            status.tag = statuses[1].tag = 9
            assert wait(requests, statuses=statuses) in (True, [None, None])
            of_receive, of_send = statuses[:2]
            assert (of_receive.source, of_receive.tag) == (before, 5)
            assert of_receive.Get_count(MPI.BYTE) == 64
            assert (of_send.source, of_send.tag) == (MPI.ANY_SOURCE, MPI.ANY_TAG)
            assert status.tag == 9
            assert not any(requests)
    with raises(AttributeError):
        MPI.Request.Waitall([comm.Irecv(got, before, 5), comm.Isend(sent, after, 5)], [1, 2])
    request = comm.Irecv(got, before, 6)
    assert not request.Test()
    request.Cancel()
    request.Wait(status)
    assert status.Is_cancelled()
    comm.Isend(sent, after, 7)  # nobody has these requests
    comm.Irecv(got, before, 7)
    comm.Barrier()
    with fails(MPI.ERR_TRUNCATE):
        comm.Sendrecv(sent, after, 8, bytearray(8), before, 8)


@contextlib.contextmanager
def not_in_python(base: type, *names: str) -> Iterator[None]:
    """The block calls these methods, and not those of this base that they leave the rest to."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("this one is not compiled")

    own = {name: vars(base)[name] for name in names if name in vars(base)}
    for name in names:
        setattr(base, name, refused)
    yield
    for name in names:
        delattr(base, name)
        if name in own:
            setattr(base, name, own[name])


def until_tested(request: MPI.Request) -> None:
    while not request.Test():
        pass


def compiled_objects() -> None:
    """The same for objects that are received by a request."""
    before, after, status = (rank - 1) % size, (rank + 1) % size, MPI.Status()
    comm.sendrecv(rank, after, source=before)
    comm.sendrecv(rank, before, source=after)

    def exchange(buf: bytearray) -> None:
        request = comm.Irecv(bytearray(MIB), before, 3)
        comm.Send(buf, after, 3)
        request.Wait()
        comm.Sendrecv(buf, after, 4, bytearray(MIB), before, 4)

    calls, requests = type(comm).__mro__, type(MPI.REQUEST_NULL).__bases__[0]
    of_comm = next(each for each in calls if "irecv" in vars(each) and "Psend_init" in vars(each))
    for source, tag in ((before, 5), (MPI.ANY_SOURCE, MPI.ANY_TAG)):
        comm.send({"rank": rank}, after, 5)
        comm.Barrier()
        # A wait for anybody is Python's if it takes long.
        waits = ("wait", "Wait") if source == before else ()
        with not_in_python(of_comm, "irecv"), not_in_python(requests, *waits):
            request = comm.irecv(source=source, tag=tag)
            assert request.wait(status) == {"rank": before}
            assert (status.source, status.tag) == (before, 5)
            assert not request
            assert request.test() == (True, None)
            comm.send(None, after, 5)
            comm.Barrier()
            assert comm.irecv(None, source, tag).Wait()
    for obj in (list(range(30_000)), bytearray(MIB), 3 * MIB * "x"):
        # Nobody goes on before somebody receives what it sends.
        for send in (
            lambda obj: comm.send(obj, after),
            lambda obj: comm.ssend(obj, after),
            lambda obj: comm.send(obj, after) or exchange(bytearray(MIB)),
            lambda obj: exchange(bytearray(MIB)) or comm.send(obj, after),
            lambda obj: until_tested(comm.isend(obj, after)),
            lambda obj: MPI.Request.Waitall([comm.isend(obj, after)]),
            lambda obj: comm.isend(obj, after).wait(),
        ):
            request = comm.irecv(source=before, tag=0)
            send(obj)
            assert request.wait() == obj
    comm.irecv(source=before)  # whose request nobody has
    comm.send(bytearray(MIB), after)
    comm.sendrecv(None, after, 9, source=before, recvtag=9)  # what is sent before that has come
    request = comm.irecv(source=before, tag=6)
    request.Cancel()
    request.Wait(status)
    assert status.Is_cancelled()
    comm.Barrier()
    sent = comm.isend(1, after, 7)
    one, two = comm.irecv(source=before, tag=7), comm.irecv(source=before, tag=8)
    assert one.wait() == 1
    assert not two.Test()
    sent.wait()
    comm.Barrier()
    comm.isend(2, after, 8).wait()
    assert MPI.Request.waitall([two]) == [2]


def flat() -> None:
    """Nothing is left of any call. One rank tells as much as several do."""
    if size > 1:
        return
    alone, sent, got = MPI.COMM_SELF, bytearray(64), bytearray(64)
    plain, statuses = [sent, MPI.BYTE], [MPI.Status(), MPI.Status()]

    def bytes_at_once() -> None:
        alone.Isend(plain, 0).Wait()
        alone.Recv(got, 0)

    def bytes_later() -> None:
        MPI.Request.Waitall([alone.Irecv(got), alone.Isend(sent, 0)])

    def both() -> None:
        alone.Sendrecv(sent, 0, 0, got, 0, 0)

    def tested() -> None:
        request = alone.Irecv(got)
        alone.Send(sent, 0)
        assert request.Test()

    def of_anybody() -> None:
        request = alone.Irecv(got)
        alone.Send(sent, 0)
        request.Wait(MPI.Status())

    def dropped_requests() -> None:
        alone.Irecv(got)
        alone.Send(sent, 0)

    def sets() -> None:
        MPI.Request.Waitsome([alone.Irecv(got), alone.Isend(sent, 0)])
        MPI.Request.Waitall([alone.Irecv(got), alone.Isend(sent, 0)], statuses)

    def later_objects() -> None:
        request = alone.irecv()
        alone.send({"some": [1, 2]}, 0)
        request.wait()

    def dropped_objects() -> None:
        alone.irecv()
        alone.send({"some": [1, 2]}, 0)

    def small_objects() -> None:
        alone.send({"some": [1, 2]}, 0)
        alone.recv()

    def mistaken() -> None:
        with contextlib.suppress(MPI.Exception):
            alone.Send(sent, 7)
        with contextlib.suppress(TypeError):
            alone.Recv()

    for call in (
        bytes_at_once,
        bytes_later,
        both,
        tested,
        of_anybody,
        dropped_requests,
        sets,
        small_objects,
        later_objects,
        dropped_objects,
        mistaken,
    ):
        for _ in range(500):
            call()
        gc.collect()  # an exception and the frame that raised it refer to each other
        references, blocks = sys.getrefcount(sent), sys.getallocatedblocks()
        for _ in range(FLAT):
            call()
        gc.collect()
        assert sys.getrefcount(sent) == references, call.__name__
        assert abs(sys.getallocatedblocks() - blocks) < FLAT // 10, call.__name__


def timeouts() -> None:
    for receive in (
        lambda: comm.Recv(bytearray(1), left, timeout=0.05),
        lambda: comm.recv(source=MPI.ANY_SOURCE, timeout=0.05),
        lambda: comm.Probe(timeout=0.05),
        lambda: comm.Ssend(b"x", rank, 9, timeout=0.05),
    ):
        with raises(TimeoutError):
            receive()
    request = comm.Irecv(bytearray(1), left)
    with raises(TimeoutError):
        request.Wait(timeout=0.05)
    assert request
    comm.Barrier()
    assert not comm.Iprobe(rank, 9)
    comm.Send(b"x", right)
    request.Wait()


def cancelled() -> None:
    request = comm.Irecv(bytearray(1), rank, 5)
    request.Cancel()
    status = MPI.Status()
    request.Wait(status)
    assert status.Is_cancelled()
    request = comm.Issend(bytes(MIB), rank, 5)
    request.Cancel()
    request.Wait(status)
    assert status.Is_cancelled()
    assert not comm.Iprobe(rank, 5)


def dropped() -> None:
    """A request that nobody keeps happens all the same."""
    for at in range(100):
        comm.Isend(pattern(50_000, at), right)
    for at in range(100):
        buf = bytearray(50_000)
        comm.Recv(buf, left)
        assert buf == pattern(50_000, at)


def awaited() -> None:
    """In tasks of asyncio: the loop runs meanwhile."""

    async def exchange() -> None:
        receives = [comm.irecv(source=left, tag=tag) for tag in range(5)]
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        turning = asyncio.create_task(turn())
        gathered = asyncio.gather(*[receive_one(each) for each in receives])
        await asyncio.sleep(0.01)
        for tag in range(5):
            await comm.isend(tag * bytes(100_000), right, tag)
        assert await gathered == [tag * bytes(100_000) for tag in range(5)]
        assert turns
        turning.cancel()
        nothing = comm.Irecv(bytearray(1), left, 9)
        task = asyncio.create_task(receive_one(nothing))
        await asyncio.sleep(0)
        task.cancel()
        with raises(asyncio.CancelledError):
            await task
        status = MPI.Status()
        nothing.Wait(status)
        assert status.Is_cancelled()

    async def receive_one(request: MPI.Request) -> object:
        return await request

    asyncio.run(exchange())


def halves() -> None:
    """What fails in the middle of a call leaves nothing behind that gets the next message."""
    with raises((pickle.PicklingError, AttributeError)):
        comm.sendrecv(lambda: 0, rank, 0, None, rank, 7)
    with raises(TypeError):
        comm.Sendrecv(5, rank, 7, bytearray(9), rank, 7)
    with raises((TypeError, BufferError, ValueError)):
        comm.Sendrecv_replace(b"read-only", rank, 7, rank, 7)
    with raises(ValueError):
        comm.Recv(bytearray(9), rank, 7, timeout=-1)
    assert not comm.Iprobe(rank, 7)
    assert comm.sendrecv("next", rank, 7, None, rank, 7, timeout=5) == "next"
    other = comm.Dup()
    other.Send(b"x", rank, 1)
    with raises(TimeoutError):  # the send was not matched: it is withdrawn, and that is told
        other.Sendrecv(bytes(8 * MIB), rank, 2, bytearray(1), rank, 1, timeout=0.1)
    assert not other.Iprobe(rank, 2)
    request = other.Irecv(bytearray(1), rank)
    other.Send(b"too long", rank)
    other.Free()
    with fails(MPI.ERR_TRUNCATE):
        request.Wait()


def interrupted() -> None:
    """A call that a signal ends does not happen later, and the request of a wait still does."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    request = comm.irecv(source=rank, tag=9)
    for call in (
        lambda: comm.recv(source=rank, tag=8),
        lambda: comm.Recv(bytearray(100), rank, 8),
        lambda: comm.Ssend(b"x", rank, 7),
        lambda: comm.Probe(rank, 8),
        request.wait,
    ):
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with raises(Interrupt):
            call()
    signal.signal(signal.SIGALRM, before)
    assert not comm.Iprobe(rank, 7)
    assert comm.sendrecv("next", rank, 8, None, rank, 8, timeout=5) == "next"
    comm.send("last", rank, 9)
    assert request.wait(timeout=5) == "last"


def _make_it() -> object:
    raise TimeoutError("while the object was made")


class Unmade:
    """What cannot be unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return _make_it, ()


def unmade() -> None:
    """An object that cannot be made is told to its receiver alone."""
    sent = comm.isend(Unmade(), rank, 1)
    request = comm.irecv(source=rank, tag=1)
    with raises(TimeoutError):
        request.wait()
    sent.wait()
    with raises(TimeoutError) as caught:
        comm.Recv(bytearray(1), rank, 2, timeout=0.05)
    assert "made" not in str(caught[0])


# Progress


def in_a_barrier() -> None:
    """Messages go on while their sender is in a call of MPI's."""
    if rank == 0:
        requests = [comm.Isend(pattern(4 * MIB, 1), to) for to in range(1, size)]
        comm.Barrier()
        MPI.Request.Waitall(requests)
        return
    buf = bytearray(4 * MIB)
    comm.Recv(buf, 0)
    assert buf == pattern(4 * MIB, 1)
    comm.Barrier()


def sleeping() -> None:
    """A rank that waits does not burn its core."""
    if rank:
        time.sleep(2)
        comm.send("x", 0)
        return
    comm.send("x", 0)  # what has to be imported, is
    comm.recv(source=0)
    for _ in range(size - 1):
        before = time.process_time()
        comm.recv(source=MPI.ANY_SOURCE)
        assert time.process_time() - before < 0.5


def threads() -> None:
    def run(number: int) -> None:
        for at in range(50):
            request = comm.isend((number, at), right, number)
            assert comm.recv(source=left, tag=number) == (number, at)
            request.wait()

    several = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()


def arrivals() -> None:
    """Threads that receive objects go on with those of each other."""
    wrong: list[object] = []

    def run(number: int) -> None:
        try:
            for at in range(60):
                obj = [number, at, bytearray(pattern(100_000 if at % 2 else 9, at)), bytes(70_000)]
                request = comm.isend(obj, right, number)
                if at % 3:
                    found = comm.recv(source=left, tag=number)
                else:
                    found = comm.mprobe(left, number).recv()
                if found != obj:
                    wrong.append((number, at))
                request.wait()
        except BaseException as error:
            wrong.append(error)
            raise

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    several = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(6)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    sys.setswitchinterval(usual)
    assert not wrong, wrong


def buffered_by_threads() -> None:
    """Buffered sends of several threads are all delivered before their buffer is detached."""
    MPI.Attach_buffer(bytearray(64 * MIB))

    def run(number: int) -> None:
        for at in range(20):
            comm.Bsend(pattern(50_000, at), right, number)

    several = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in several:
        thread.start()
    waiting, bufs = [], []
    for number in range(4):
        for _ in range(20):
            bufs.append(bytearray(50_000))
            waiting.append(comm.Irecv(bufs[-1], left, number))
    for thread in several:
        thread.join()
    MPI.Detach_buffer()
    MPI.Request.Waitall(waiting)
    assert all(buf == pattern(50_000, at % 20) for at, buf in enumerate(bufs))


def first_meeting() -> None:
    """All ranks need each other for the first time at once, from several threads."""
    found: list[int] = []

    def run(other: int) -> None:
        request = comm.isend(rank, other, 1)
        found.append(comm.recv(source=other, tag=1))
        request.wait()

    several = [threading.Thread(target=run, args=(other,)) for other in range(size)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert sorted(found) == list(range(size))


def forked() -> None:
    """The child of a rank may not use its communicators, and does not disturb them."""
    comm.send(1, right)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            comm.send(2, right)
        except Exception:
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert comm.recv(source=left) == 1
    assert comm.sendrecv(3, right, source=left) == 3


# Channels between ranks


def pairs() -> Iterator[int]:
    """The other ranks, in an order in which all pairs can meet."""
    for low in range(size):
        for high in range(low + 1, size):
            if rank in (low, high):
                yield low + high - rank


def channels() -> None:
    """Between two ranks of one machine: adma's own API, beside messages of MPI."""
    own = comm.Dup()
    for other in pairs():
        if comm.explain(other, 8).carry == "MPI":
            with raises(RuntimeError) as caught:
                mpi.channel(comm, other)
            assert "one machine" in str(caught[0])
            continue
        sent = comm.isend("mpi", other)
        with (
            mpi.channel(comm, other) as one,
            mpi.channel(comm, other, timeout=None) as two,
            mpi.channel(own, other) as three,
        ):
            for seed, channel in enumerate((one, two, three)):
                request = channel.iwrite(pattern(MIB, 5 * rank + seed))
                buf = bytearray(MIB)
                assert channel.read(buf) == MIB
                assert buf == pattern(MIB, 5 * other + seed)
                request.wait()
            one.send({"from": rank})
            assert one.recv() == {"from": other}
            assert one.peer_pid == two.peer_pid
        assert comm.recv(source=other) == "mpi"
        sent.wait()
    own.Free()
    with raises(RuntimeError) as caught:
        mpi.channel(mpi4py.MPI.COMM_SELF.Dup(), 0)
    assert "adma.mpi.wrap" in str(caught[0])
    with raises(ValueError):
        mpi.channel(comm, rank)
    for wrong in (-1, size, MPI.ANY_SOURCE):
        with raises(ValueError):
            mpi.channel(comm, wrong)
    with raises(TypeError):
        mpi.channel(comm, 0.5)


def late_channel() -> None:
    """A rank that asks in vain is told, and the next pair of calls makes a channel."""
    if size < 2:
        return
    for caller in (0, 1):
        if rank == caller:
            with raises(TimeoutError):
                mpi.channel(comm, 1 - rank, timeout=0.2)
        comm.Barrier()
        if rank < 2:
            with mpi.channel(comm, 1 - rank) as channel:
                channel.send(caller)
                assert channel.recv() == caller


def explained() -> None:
    for other in range(size):
        found = comm.explain(other, 4 * MIB)
        assert found.nbytes == 4 * MIB
        if other == rank:
            assert found.carry == "self", found
        elif found.carry != "MPI":
            assert (found.carry, bool(found.mechanism), bool(found.others)) == (
                "rendezvous",
                True,
                True,
            )
            assert comm.explain(other, 8).carry == "inline"
        carried = mpi.stats()["carried"]
        sent = comm.isend("x", other)
        assert comm.recv(source=other) == "x"
        sent.wait()
        assert (mpi.stats()["carried"] > carried) == (found.carry != "MPI")
        assert f"{4 * MIB} bytes: {found.carry}" in str(found)
    for wrong in (-1, size):
        with raises(ValueError):
            comm.explain(wrong, 8)
    with raises(ValueError):
        comm.explain(0, -1)


# Ends


def finalized() -> None:
    comm.Isend(pattern(MIB, 2), right)
    buf = bytearray(MIB)
    comm.Recv(buf, left)
    assert buf == pattern(MIB, 2)
    MPI.Finalize()
    assert MPI.Is_finalized()


def just_ends() -> None:
    """The last thing that a rank does is to send, without waiting."""
    for at in range(20):
        comm.Isend(pattern(100_000, at), right)
    if rank % 2:
        time.sleep(0.2)  # its neighbour is about to end by then
    for at in range(20):
        buf = bytearray(100_000)
        comm.Recv(buf, left)
        assert buf == pattern(100_000, at)


def buffered() -> None:
    """A buffered send arrives, although its sender has long come to its end."""
    MPI.Attach_buffer(bytearray(3 * MIB))
    own = comm.Dup()
    own.Attach_buffer(bytearray(3 * MIB))
    for each in (comm, own):
        each.Bsend(pattern(2 * MIB, rank), right)
    if rank % 2:
        time.sleep(7)
    for each in (comm, own):
        buf = bytearray(2 * MIB)
        each.Recv(buf, left)
        assert buf == pattern(2 * MIB, left)
    MPI.Finalize()


def early() -> None:
    """A rank that ends before others is no dead one, whether they have met or not."""
    if rank == 0:
        comm.send("x", 1)
        assert comm.recv(source=MPI.ANY_SOURCE) == "late"
    elif rank == 1:
        comm.recv(source=0)
        time.sleep(0.5)  # the last rank ends meanwhile
        comm.send("late", 0)
    sys.exit()  # and does not wait for the others


def ended() -> None:
    """A short message to a rank that has ended in order is dropped, as MPI drops it."""
    others = set(range(1, size))
    if rank == 0:
        for _ in range(size - 1):
            others.remove(comm.recv(source=MPI.ANY_SOURCE))
        assert not others
        for other in range(1, size):
            with raises(MPI.Exception):
                while True:
                    comm.Iprobe(other)
            comm.send(None, other)
            comm.Send(b"x", other)
            comm.Isend(b"x", other).Wait()
            with raises(MPI.Exception):
                comm.Send(bytearray(MIB), other)
            with raises(MPI.Exception):
                comm.ssend(None, other)
    else:
        comm.send(rank, 0)
    sys.exit()


def dead_to_tests() -> None:
    """A rank dies: calls that never wait tell whoever asks for a message of anybody."""
    assert comm.sendrecv(rank, right, source=left) == left
    own, after = comm.Dup(), comm.Dup()
    comm.Barrier()
    if rank == size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    for each, asks in (
        (comm, comm.Iprobe),
        (own, own.Irecv(bytearray(1)).Test),
    ):
        with raises(MPI.Exception) as caught:
            while not asks():
                pass
        assert isinstance(caught[0].__cause__, PeerDied), (each, caught)
    after.sendrecv(None, 1 - rank, source=1 - rank)  # of three ranks, both have been told
    if rank == 0:
        Path(os.environ["TOLD_AFTER"]).write_text("by calls that never wait")
    os._exit(0)


def until_reaped(pid: int) -> None:
    """Until the launcher has waited for it, and nothing is left of it."""
    with raises(ProcessLookupError):
        while True:
            os.kill(pid, 0)


def killed() -> None:
    """A rank dies: who waits for it, or for anybody, is told, whether that is before or after."""
    assert comm.sendrecv(rank, right, source=left) == left
    last = size - 1
    pids = comm.allgather(os.getpid())
    if rank == last:
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1:
        until_reaped(pids[last])
    begun = time.monotonic()
    for wait in (
        lambda: comm.recv(source=MPI.ANY_SOURCE, tag=5),
        lambda: comm.recv(source=last),
        lambda: comm.Recv(bytearray(1), last),
        lambda: comm.Probe(last),
        lambda: comm.Irecv(bytearray(1), last).Wait(),
        lambda: comm.Ssend(b"x", last),
    ):
        with raises(MPI.Exception) as caught:
            wait()
        assert isinstance(caught[0].__cause__, PeerDied), caught
    told = f"{(time.monotonic() - begun) * 1e3:.0f} ms"
    if size > 2:  # the others go on
        ring = [each for each in range(size) if each != last]
        after = ring[(ring.index(rank) + 1) % len(ring)]
        before = ring[ring.index(rank) - 1]
        assert comm.sendrecv(rank, after, source=before) == before
    if rank == 0:  # in a file: a launcher that has lost a rank may lose what others print
        Path(os.environ["TOLD_AFTER"]).write_text(told, encoding="ascii")
    os._exit(0)  # MPI_Finalize would wait for the dead


class PythonSleeps:
    """Counts the sleeps of calls that wait for anybody and are not compiled."""

    def __init__(self) -> None:
        self.count = 0
        self._sleep = activity._sleep_once
        activity._sleep_once = self._counted  # type: ignore[assignment]

    def _counted(self, *args: object) -> None:
        self.count += 1
        self._sleep(*args)  # type: ignore[arg-type]


def killed_while_asked() -> None:
    """Compiled calls sleep until somebody sends, and tell of a death, in each communicator once."""
    own, last, slept = comm.Dup(), size - 1, PythonSleeps()
    if rank == last:
        while True:  # what it is asked for comes when rank 0 has gone to sleep
            asked = comm.recv(source=0)
            time.sleep(0.02)
            if asked == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            (own if asked == "own" else comm).Send(b"x", 0)
    if rank == 0:
        for each, name in ((comm, "comm"), (own, "own")):
            while not slept.count:  # the first sleep is Python's
                comm.send(name, last)
                each.Recv(bytearray(1), MPI.ANY_SOURCE)
            slept.count = 0
            for wait in (
                lambda: each.Recv(bytearray(1), MPI.ANY_SOURCE),  # noqa: B023
                lambda: each.Irecv(bytearray(1), MPI.ANY_SOURCE).Wait(),  # noqa: B023
                lambda: MPI.Request.Waitall([each.Irecv(bytearray(1), MPI.ANY_SOURCE)]),  # noqa: B023
            ):
                comm.send(name, last)
                wait()
            assert not slept.count
        comm.send("die", last)
        for each in (comm, own):
            with raises(MPI.Exception) as caught:
                each.Recv(bytearray(1), MPI.ANY_SOURCE)
            assert isinstance(caught[0].__cause__, PeerDied), caught
            comm.send(None, 1)
            each.Recv(bytearray(1), MPI.ANY_SOURCE)
        Path(os.environ["TOLD_AFTER"]).write_text("in both communicators")
    else:
        for each in (comm, own):
            comm.recv(source=0)
            each.Send(b"x", 0)
    os._exit(0)


if __name__ == "__main__":
    import faulthandler

    faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
    for name in sys.argv[1].split(","):
        globals()[name]()
        if not MPI.Is_finalized():
            comm.Barrier()
            print(f"{name}\n", end="", flush=True)  # one write: several ranks print at once
