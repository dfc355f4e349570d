# SPDX-License-Identifier: BSD-3-Clause
"""Operations on several requests at once, adma's and MPI's mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpi4py import MPI

from ..arguments import deadline_of
from . import statuses as words
from .activity import Activity, wait_for
from .handles import advance_or_fail, finish, handle_of, raise_failure, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    Statuses = list[MPI.Status] | tuple[MPI.Status, ...] | None

__all__ = ["RequestSets"]


class RequestSets:
    """The class methods of `Request`. Statuses are filled in, and a list of them grows if needed.

    All of the waits take adma's `timeout`, in seconds. TimeoutError: the requests go on.
    """

    __slots__ = ()

    @classmethod
    def Waitany(
        cls,
        requests: Sequence[Any],
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Wait until one is complete; returns its index, or UNDEFINED if none is active."""
        return cls.waitany(requests, status, timeout=timeout)[0]

    @classmethod
    def waitany(
        cls,
        requests: Sequence[Any],
        status: MPI.Status | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[int, Any]:
        """See `Waitany`; also returns the object that was received."""
        batch = _Batch(requests)
        batch.wait(1, timeout)
        return batch.take_one(status)

    @classmethod
    def Testany(cls, requests: Sequence[Any], status: MPI.Status | None = None) -> tuple[int, bool]:
        """The index of one that is complete, or UNDEFINED; and whether one is or none is active."""
        return cls.testany(requests, status)[:2]

    @classmethod
    def testany(
        cls, requests: Sequence[Any], status: MPI.Status | None = None
    ) -> tuple[int, bool, Any]:
        """See `Testany`; also returns the object that was received."""
        batch = _Batch(requests)
        if batch.active and not batch.poll():
            return MPI.UNDEFINED, False, None
        index, obj = batch.take_one(status)
        return index, True, obj

    @classmethod
    def Get_status_any(
        cls, requests: Sequence[Any], status: MPI.Status | None = None
    ) -> tuple[int, bool]:
        """As `Testany`, and the request stays what it is."""
        batch = _Batch(requests)
        if not batch.active:
            words.fill_empty(status)
            return MPI.UNDEFINED, True
        done = batch.poll()
        if not done:
            return MPI.UNDEFINED, False
        batch.tell(done[0], status)
        return done[0], True

    get_status_any = Get_status_any

    @classmethod
    def Waitall(
        cls, requests: Sequence[Any], statuses: Statuses = None, *, timeout: float | None = None
    ) -> bool:
        """Wait until all are complete; returns True."""
        cls.waitall(requests, statuses, timeout=timeout)
        return True

    @classmethod
    def waitall(
        cls, requests: Sequence[Any], statuses: Statuses = None, *, timeout: float | None = None
    ) -> list[Any]:
        """See `Waitall`; returns the objects that were received."""
        batch = _Batch(requests)
        batch.wait(len(batch.active), timeout)
        return batch.take(range(len(requests)), statuses)

    @classmethod
    def Testall(cls, requests: Sequence[Any], statuses: Statuses = None) -> bool:
        """Are all complete? If not, none of them changes."""
        return cls.testall(requests, statuses)[0]

    @classmethod
    def testall(
        cls, requests: Sequence[Any], statuses: Statuses = None
    ) -> tuple[bool, list[Any] | None]:
        """See `Testall`; also returns the objects that were received."""
        batch = _Batch(requests)
        if len(batch.poll()) < len(batch.active):
            return False, None
        return True, batch.take(range(len(requests)), statuses)

    @classmethod
    def Get_status_all(cls, requests: Sequence[Any], statuses: Statuses = None) -> bool:
        """As `Testall`, and the requests stay what they are."""
        batch = _Batch(requests)
        if len(batch.poll()) < len(batch.active):
            return False
        for index, status in enumerate(_statuses(statuses, len(requests))):
            batch.tell(index, status)
        return True

    get_status_all = Get_status_all

    @classmethod
    def Waitsome(
        cls, requests: Sequence[Any], statuses: Statuses = None, *, timeout: float | None = None
    ) -> list[int] | None:
        """Wait until one or more are complete; returns their indices, or None if none is active."""
        return cls.waitsome(requests, statuses, timeout=timeout)[0]

    @classmethod
    def waitsome(
        cls, requests: Sequence[Any], statuses: Statuses = None, *, timeout: float | None = None
    ) -> tuple[list[int] | None, list[Any] | None]:
        """See `Waitsome`; also returns the objects that were received."""
        batch = _Batch(requests)
        if not batch.active:
            return None, None
        batch.wait(1, timeout)
        done = batch.poll()
        return done, batch.take(done, statuses)

    @classmethod
    def Testsome(cls, requests: Sequence[Any], statuses: Statuses = None) -> list[int] | None:
        """The indices of those that are complete, or None if none is active."""
        return cls.testsome(requests, statuses)[0]

    @classmethod
    def testsome(
        cls, requests: Sequence[Any], statuses: Statuses = None
    ) -> tuple[list[int] | None, list[Any] | None]:
        """See `Testsome`; also returns the objects that were received."""
        batch = _Batch(requests)
        if not batch.active:
            return None, None
        done = batch.poll()
        return done, batch.take(done, statuses)

    @classmethod
    def Get_status_some(
        cls, requests: Sequence[Any], statuses: Statuses = None
    ) -> list[int] | None:
        """As `Testsome`, and the requests stay what they are."""
        batch = _Batch(requests)
        if not batch.active:
            return None
        done = batch.poll()
        for index, status in zip(done, _statuses(statuses, len(done)), strict=False):
            batch.tell(index, status)
        return done

    get_status_some = Get_status_some


class _Batch:
    """The requests of one call. `active` are the indices of those that are under way."""

    def __init__(self, requests: Sequence[Any]) -> None:
        self.handles = [handle_of(each) for each in requests]
        self.active = [
            index for index, each in enumerate(self.handles) if each.activity is not None
        ]

    def _activity(self, index: int) -> Activity:
        activity = self.handles[index].activity
        assert activity is not None
        return activity

    def poll(self) -> list[int]:
        """The indices of the active ones that are complete."""
        activities = [self._activity(index) for index in self.active]
        comm = self.handles[self.active[0]].comm if self.active else None
        over = advance_or_fail(comm, activities)
        return [index for index, done in zip(self.active, over, strict=True) if done]

    def wait(self, need: int, timeout: float | None) -> None:
        """Wait for so many of the active ones, or for all if there are fewer."""
        need = min(need, len(self.active))
        deadline = deadline_of(timeout, "the wait")
        activities = [self._activity(index) for index in self.active]
        try:
            done = wait_for(activities, need, deadline)
        except ConnectionError as error:
            raise_failure(self.handles[self.active[0]].comm, error)
        if not done:
            raise TimeoutError(f"fewer than {need} requests are complete; they stay pending")

    def tell(self, index: int, status: MPI.Status | None) -> None:
        """Fill in the status of one that is complete, or of one that is not active."""
        activity = self.handles[index].activity
        if activity is None:
            words.fill_empty(status)
        else:
            assert activity.result is not None
            activity.result.fill(status)

    def take_one(self, status: MPI.Status | None) -> tuple[int, Any]:
        """Take the first one that is complete."""
        done = self.poll()
        if not done:
            words.fill_empty(status)
            return MPI.UNDEFINED, None
        return done[0], finish(self.handles[done[0]], status)

    def take(self, indices: Sequence[int], statuses: Statuses) -> list[Any]:
        """Take these, which are complete or not active. Raises the first one's error, if any."""
        filled = _statuses(statuses, len(indices))
        found: list[Any] = []
        failed: tuple[MPI.Comm | None, BaseException] | None = None
        for place, index in enumerate(indices):
            handle = self.handles[index]
            status = filled[place] if place < len(filled) else None
            if handle.activity is None:
                words.fill_empty(status)
                found.append(None)
                continue
            result = settle(handle, status)
            found.append(result.value)
            if result.failure is not None and failed is None:
                failed = handle.comm, result.failure
        if failed is not None:
            raise_failure(*failed)
        return found


def _statuses(statuses: Statuses, count: int) -> Sequence[MPI.Status]:
    """The statuses to fill in. A list grows to `count`."""
    if statuses is None:
        return ()
    if isinstance(statuses, list):
        statuses.extend(MPI.Status() for _ in range(count - len(statuses)))
    return statuses
