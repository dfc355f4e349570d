# SPDX-License-Identifier: BSD-3-Clause
"""mpi4py's communicators, whose point-to-point traffic adma carries.

They derive from mpi4py's classes, so that everything else is MPI's, and so that code which asks
for one of mpi4py's communicators takes one of these. A communicator that is made from one of
these by ranks that it has is one of these, too. Processes that come from elsewhere (`Spawn`,
`Accept`, `Connect`, `Join`, `Get_parent`) may not know of adma: the communicators to them are
MPI's own, until both sides call `adma.mpi.wrap`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from mpi4py import MPI

from .._core.calls import RankCalls
from . import channels
from . import context as contexts
from .activity import Nothing
from .buffered import Attached
from .point_to_point import PointToPoint
from .requests import Request

if TYPE_CHECKING:
    from ..messages.explanation import Explanation

__all__ = [
    "Cartcomm",
    "Comm",
    "Distgraphcomm",
    "Graphcomm",
    "Intercomm",
    "Intracomm",
    "Topocomm",
    "raw_of",
    "wrap",
]


def raw_of(comm: MPI.Comm) -> MPI.Comm:
    """MPI's own object for a communicator."""
    return MPI.Intercomm(comm) if comm.Is_inter() else MPI.Intracomm(comm)


_CALLS = frozenset(name for name in vars(PointToPoint) if not name.startswith("_"))


class _ByClass(type):
    """Calls by the class, as `MPI.Comm.Send(comm, ...)`, which may be given one of mpi4py's own."""

    def __getattribute__(cls, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(_by_class, name, found) if name in _CALLS else found


def _by_class(name: str, call: Any, comm: MPI.Comm, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(comm, PointToPoint):
        call = getattr(MPI.Comm, name)
    return call(comm, *args, **kwargs)


class Comm(RankCalls, PointToPoint, MPI.Comm, metaclass=_ByClass):
    """A communicator. See mpi4py, and the package's page in docs."""

    def __new__(cls, comm: MPI.Comm | None = None) -> Self:
        """The same handle. Classes that derive from these may call it by `super()`."""
        self: Self = MPI.Comm.__new__(cls, comm)
        return self

    # Adma's own

    def explain(self, peer: int, nbytes: int) -> Explanation:
        """How a message of `nbytes` to rank `peer` would travel now, and why not otherwise.

        The `carry` of the answer is as for `adma.Channel.explain`, or "MPI" if MPI carries it, or
        "self" for a message to this rank. Two ranks that have not exchanged a message connect.

        ValueError: there is no such rank. PeerDied: it has ended.
        """
        return channels.explain(self._context, peer, nbytes)

    # New ones

    def Dup(self, info: Any = None) -> Self:
        """The same ranks, with traffic of their own. Collective."""
        return self._derived(super().Dup(info))

    def Dup_with_info(self, info: Any) -> Self:
        """See `Dup`."""
        return self._derived(super().Dup_with_info(info))

    def Clone(self) -> Self:
        """See `Dup`."""
        return self._derived(super().Clone())

    def Idup(self, info: Any = None) -> tuple[Self, Request]:
        """As `Dup`, which has to be complete for all ranks to agree: so this waits for it."""
        return self.Dup(info), Request.of(self, Nothing(receives=False))

    def Idup_with_info(self, info: Any) -> tuple[Self, Request]:
        """See `Idup`."""
        return self.Dup_with_info(info), Request.of(self, Nothing(receives=False))

    def Create(self, group: MPI.Group) -> Any:
        """A communicator of some of the ranks. Collective."""
        return self._of_kind(super().Create(group))

    def Split(self, color: int = 0, key: int = 0) -> Any:
        """Communicators of the ranks that give the same color. Collective."""
        return self._of_kind(super().Split(color, key))

    def Split_type(self, split_type: int, key: int = 0, info: Any = MPI.INFO_NULL) -> Any:
        """Communicators of the ranks that share something. Collective."""
        return self._of_kind(super().Split_type(split_type, key, info))

    # The end

    def Free(self) -> None:
        """Free it. What was posted on it goes on. Collective."""
        self._end()
        super().Free()

    def Disconnect(self) -> None:
        """Free it, once what was posted on it is complete. Collective."""
        self._end()
        super().Disconnect()

    # Buffers for buffered sends

    def Attach_buffer(self, buf: Any) -> None:
        """Attach a buffer for buffered sends on this communicator."""
        context = self._context
        if context.attached is None:
            context.attached = Attached()
        context.attached.attach(buf)

    def Detach_buffer(self) -> Any:
        """Wait until what was sent from it is on its way; returns the buffer."""
        attached = self._context.attached
        return None if attached is None else attached.detach()

    def Flush_buffer(self) -> None:
        """Wait until what was sent from it is on its way."""
        attached = self._context.attached
        if attached is not None:
            attached.flush()

    def Iflush_buffer(self) -> Request:
        """As `Flush_buffer`, which never waits for long: what was sent is on its way."""
        self.Flush_buffer()
        return Request.of(self, Nothing(receives=False))

    # Inside

    def _end(self) -> None:
        context = contexts.context_of(self) if self else None
        if context is not None:
            context.free()

    def _derived(self, new: Self) -> Self:
        """A new communicator of the same class."""
        if new:
            contexts.derive(raw_of(new), self._context)
        return new

    def _of_kind(self, raw: MPI.Comm) -> Any:
        """A new communicator of MPI's, as one of ours."""
        wrapped = _class_of(raw)(raw)
        if raw:
            contexts.derive(raw_of(raw), self._context)
        return wrapped


class Intracomm(Comm, MPI.Intracomm):
    """A communicator of one group."""

    def Create_group(self, group: MPI.Group, tag: int = 0) -> Any:
        """A communicator of some of the ranks, which alone call this."""
        return self._of_kind(super().Create_group(group, tag))

    def Create_cart(self, dims: Any, periods: Any = None, reorder: bool = False) -> Any:
        """The ranks as a grid. Collective."""
        return self._of_kind(super().Create_cart(dims, periods, reorder))

    def Create_graph(self, index: Any, edges: Any, reorder: bool = False) -> Any:
        """The ranks as a graph. Collective."""
        return self._of_kind(super().Create_graph(index, edges, reorder))

    def Create_dist_graph_adjacent(self, *args: Any, **kwargs: Any) -> Any:
        """The ranks as a graph, of which each tells its neighbours. Collective."""
        return self._of_kind(super().Create_dist_graph_adjacent(*args, **kwargs))

    def Create_dist_graph(self, *args: Any, **kwargs: Any) -> Any:
        """The ranks as a graph, of which each tells a part. Collective."""
        return self._of_kind(super().Create_dist_graph(*args, **kwargs))

    def Create_intercomm(
        self, local_leader: int, peer_comm: MPI.Intracomm, remote_leader: int, tag: int = 0
    ) -> Any:
        """A communicator between this group and another one. Collective over both."""
        return self._of_kind(super().Create_intercomm(local_leader, peer_comm, remote_leader, tag))


class Topocomm(Intracomm, MPI.Topocomm):
    """A communicator with a topology."""


class Cartcomm(Topocomm, MPI.Cartcomm):
    """A grid."""

    def Sub(self, remain_dims: Any) -> Any:
        """A grid of fewer dimensions. Collective."""
        return self._of_kind(super().Sub(remain_dims))


class Graphcomm(Topocomm, MPI.Graphcomm):
    """A graph."""


class Distgraphcomm(Topocomm, MPI.Distgraphcomm):
    """A graph of which each rank knows a part."""


class Intercomm(Comm, MPI.Intercomm):
    """A communicator between two groups."""

    def Merge(self, high: bool = False) -> Any:
        """Both groups as one. Collective."""
        return self._of_kind(super().Merge(high))

    def Create_group(self, group: MPI.Group, tag: int = 0) -> Any:
        """A communicator of some of the ranks, which alone call this."""
        return self._of_kind(super().Create_group(group, tag))


_CLASSES: list[tuple[type[MPI.Comm], type[Comm]]] = [
    (MPI.Cartcomm, Cartcomm),
    (MPI.Graphcomm, Graphcomm),
    (MPI.Distgraphcomm, Distgraphcomm),
    (MPI.Intercomm, Intercomm),
    (MPI.Intracomm, Intracomm),
    (MPI.Comm, Comm),
]


def _class_of(raw: MPI.Comm) -> type[Comm]:
    return next(ours for theirs, ours in _CLASSES if isinstance(raw, theirs))


def wrap(comm: MPI.Comm) -> Any:
    """A communicator whose point-to-point traffic adma carries where it can. Collective over it.

    It has the handle of `comm`, which stays what it is: messages that are sent on one of the two
    never meet receives of the other one. Wrapping it again gives the same traffic. TypeError: it
    is no communicator. ValueError: it is COMM_NULL. RuntimeError: some ranks did not come within
    30 s.
    """
    if not isinstance(comm, MPI.Comm):
        raise TypeError(f"comm must be a communicator of mpi4py, not {type(comm).__name__}")
    if not comm:
        raise ValueError("comm is COMM_NULL: there is nobody to talk to")
    if contexts.context_of(comm) is None:
        contexts.attach(raw_of(comm))
    return comm if isinstance(comm, Comm) else _class_of(comm)(comm)
