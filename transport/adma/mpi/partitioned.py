# SPDX-License-Identifier: BSD-3-Clause
"""Partitioned messages. See MPI-4.1, chapter 4.

The two ends may cut the buffer differently. So the sender tells the receiver once how it does,
when the request is made: that message finds the receive by source and tag, and all partitions
of all rounds follow under serial numbers of their own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from mpi4py import MPI

from . import matching, statuses
from .activity import Activity, ByMPI, Result
from .context import ANY_TAG_MASK, PART, PARTITIONED, TAG_BITS, Context
from .processes import here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..messages.worker import TagRequest
    from .spec import Memory

__all__ = ["ByMPIStart", "Inbound", "Outbound"]

_CUT: Final = struct.Struct("<IIQ")  # first serial, number of partitions, bytes of all of them
_ALL: Final = (1 << 64) - 1
_SERIALS: Final = 1 << TAG_BITS


class _Inactive:
    """The request is not started: no partition may be touched."""

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm

    def ready(self, partition: int) -> None:
        statuses.fail(self._comm, MPI.ERR_REQUEST, None, f"partition {partition}: not started")

    def arrived(self, partition: int) -> bool:
        del partition
        return True  # of a request that is not active; see MPI_Parrived


def _check(comm: MPI.Comm, partition: int, partitions: int) -> None:
    if not 0 <= partition < partitions:
        text = f"partition {partition}: there are 0 to {partitions - 1}"
        statuses.fail(comm, MPI.ERR_ARG, None, text)


class ByMPIStart:
    """Starts the rounds of a request whose other end is on another node: they are MPI's."""

    def __init__(
        self, comm: MPI.Comm, context: Context, request: MPI.Prequest, partitions: int
    ) -> None:
        self.comm, self.context, self.request, self.partitions = comm, context, request, partitions
        self.inactive = _Inactive(comm)

    def __call__(self) -> Activity:
        self.request.Start()
        here().by_mpi += 1
        return _RoundByMPI(self)

    def free(self) -> None:
        """The request is freed."""
        self.request.Free()


class _RoundByMPI(ByMPI):
    """A round."""

    __slots__ = ("_of",)

    def __init__(self, of: ByMPIStart) -> None:
        super().__init__(of.context, of.request)
        self._of = of

    def ready(self, partition: int) -> None:
        self._of.request.Pready(partition)

    def arrived(self, partition: int) -> bool:
        return bool(self._of.request.Parrived(partition))


class Outbound:
    """Starts the rounds of a partitioned send."""

    def __init__(
        self,
        comm: MPI.Comm,
        context: Context,
        make: Callable[[], Memory],
        partitions: int,
        dest: int,
        tag: int,
    ) -> None:
        """`make` describes the memory, as it is when a round starts."""
        self.comm, self.context, self.make, self.partitions = comm, context, make, partitions
        self.inactive = _Inactive(comm)
        self.number = matching.endpoint(context, dest)
        self.bits = context.numbers[dest] << TAG_BITS
        self.serial = here().serials(max(partitions, 1))
        cut = _CUT.pack(self.serial, partitions, make().view.nbytes)
        wire = PARTITIONED | self.bits | tag
        self._told = here().worker.send(self.number, wire, cut)
        here().carried += 1

    def __call__(self) -> Activity:
        return _Sending(self)


class _Sending(Activity):
    """A round. A partition goes when it is ready."""

    __slots__ = ("_memory", "_of", "_requests")

    def __init__(self, of: Outbound) -> None:
        super().__init__(of.context)
        self._of = of
        self._memory = of.make()
        self._requests: list[TagRequest | None] = [None] * of.partitions

    def ready(self, partition: int) -> None:
        of = self._of
        _check(of.comm, partition, of.partitions)
        if self._requests[partition] is not None:
            statuses.fail(of.comm, MPI.ERR_ARG, None, f"partition {partition} is ready already")
        size = self._memory.view.nbytes // of.partitions
        part = self._memory.view[partition * size : (partition + 1) * size]
        wire = PART | of.bits | (of.serial + partition) % _SERIALS
        here().carried += 1
        self._requests[partition] = here().worker.send(of.number, wire, part)

    def arrived(self, partition: int) -> bool:
        statuses.fail(self._of.comm, MPI.ERR_REQUEST, None, f"partition {partition}: of a send")

    def poll(self) -> bool:
        if self.result is not None:
            return True
        if not all(request is not None and request.done for request in self._requests):
            return False
        return self.end(_ended([each for each in self._requests if each is not None]))

    def waited(self) -> Sequence[TagRequest]:
        return [each for each in self._requests if each is not None and not each.done]


class Inbound:
    """Starts the rounds of a partitioned receive."""

    def __init__(
        self,
        comm: MPI.Comm,
        context: Context,
        memory: Memory,
        partitions: int,
        source: int,
        tag: int,
    ) -> None:
        self.comm, self.context, self.memory, self.partitions = comm, context, memory, partitions
        self.inactive = _Inactive(comm)
        self.source, self.tag = source, tag
        self.number = matching.endpoint(context, source)
        self.cut: tuple[int, int, int] | None = None
        self._data = bytearray(_CUT.size)
        wire, mask = PARTITIONED | context.number << TAG_BITS | self.tag, _ALL
        if tag == MPI.ANY_TAG:
            wire, mask = PARTITIONED | context.number << TAG_BITS, ANY_TAG_MASK | PARTITIONED
        self.telling = here().worker.receive(self.number, wire, self._data, mask=mask)

    def free(self) -> None:
        """The request is freed. If the sender has not told yet, another request will hear it."""
        if self.cut is None:
            self.telling.cancel()

    def is_told(self) -> bool:
        """Has the sender said how it cuts?"""
        if self.cut is None and self.telling.done:
            self.telling.result()
            self.cut = _CUT.unpack(self._data)
            if self.cut[2] > self.memory.view.nbytes:
                text = f"the sender has {self.cut[2]} bytes, the receiver {self.memory.view.nbytes}"
                statuses.fail(self.comm, MPI.ERR_TRUNCATE, None, text)
        return self.cut is not None

    def __call__(self) -> Activity:
        return _Receiving(self)


class _Receiving(Activity):
    """A round. The partitions are the sender's."""

    __slots__ = ("_of", "_requests")

    def __init__(self, of: Inbound) -> None:
        super().__init__(of.context)
        self._of = of
        self._requests: list[TagRequest] | None = None
        self._post()

    def _post(self) -> bool:
        of = self._of
        if self._requests is None and of.is_told() and of.cut is not None:
            serial, count, nbytes = of.cut
            size = nbytes // count if count else 0
            self._requests = [
                matching.post_part(
                    of.context, of.number, serial + index, of.memory.view[index * size :][:size]
                )
                for index in range(count)
            ]
        return self._requests is not None

    def ready(self, partition: int) -> None:
        text = f"partition {partition}: of a receive"
        statuses.fail(self._of.comm, MPI.ERR_REQUEST, None, text)

    def arrived(self, partition: int) -> bool:
        of = self._of
        _check(of.comm, partition, of.partitions)
        here().worker.progress()
        if not self._post() or self._requests is None or of.cut is None:
            return False
        _, count, nbytes = of.cut
        mine, theirs = of.memory.view.nbytes // of.partitions, nbytes // count if count else 0
        first, last = partition * mine, min((partition + 1) * mine, nbytes)
        if not theirs or first >= last:
            return all(request.done for request in self._requests)
        return all(request.done for request in self._requests[first // theirs : -(-last // theirs)])

    def poll(self) -> bool:
        if self.result is not None:
            return True
        if not self._post() or self._requests is None:
            return False
        if not all(request.done for request in self._requests):
            return False
        of = self._of
        result = _ended(self._requests)
        result.source, result.tag = of.source, of.tag
        of.memory.finish(result.nbytes)
        return self.end(result)

    def waited(self) -> Sequence[TagRequest]:
        if self._requests is None:
            return [self._of.telling]
        return [request for request in self._requests if not request.done]


def _ended(requests: Sequence[TagRequest]) -> Result:
    failed: BaseException | None = None
    nbytes = 0
    for request in requests:
        try:
            nbytes += request.result()
        except Exception as error:
            failed = failed or error
    return Result(nbytes=nbytes, failure=failed)
