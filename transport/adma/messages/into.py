# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of the caller that an object is received into: `recv(into=...)`.

The object has to be an array of the same shape and type, or a list of such arrays. That is known
once its head has come, because the head says how its large buffers are laid out. So an object that
does not fit stays, and is the next one again. A large array is copied once, straight into the
caller's; a small one travels in the head, and is copied from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .._core.buffers import blank, check_lends, memory_of, type_name
from ..copying.copies import copy
from .message import Part, load

__all__ = ["Targets"]


class Targets:
    """The arrays that an object is received into."""

    def __init__(self, into: Any) -> None:
        """TypeError, BufferError, ValueError: what is wrong with them."""
        self._many = isinstance(into, list | tuple)
        self._arrays: Sequence[Any] = tuple(into) if self._many else (into,)
        for array, name in zip(self._arrays, self._names, strict=True):
            check_lends(array, "recv", True, name)
        self._refuse_overlaps()
        self._copies: list[tuple[Any, Any]] = []

    @property
    def _names(self) -> list[str]:
        """What errors call the arrays."""
        if not self._many:
            return ["into"]
        return [f"into[{index}]" for index in range(len(self._arrays))]

    def judge(self, head: Any, parts: Sequence[Part], buffers: Sequence[Any]) -> list[Any]:
        """Where the parts of an object go. ValueError: it does not fit.

        `buffers`: where they are on their way to already, if they are.
        """
        chosen = list(buffers)
        if not chosen:
            chosen = [blank(part.nbytes, read_only=part.read_only) for part in parts]
        places = {memory_of(buffer): place for place, buffer in enumerate(chosen)}
        self._copies = []
        found = self._arrays_of(load(head, chosen))
        for target, array, name in zip(self._arrays, found, self._names, strict=True):
            _compare(target, array, name)
            place = places.get(memory_of(array))
            if place is None or buffers:
                self._copies.append((target, array))
            else:
                chosen[place] = target
        return chosen

    def finish(self) -> None:
        """All of it was received: copy what did not go straight into the arrays."""
        for target, array in self._copies:
            copy(target, array)

    def _arrays_of(self, found: Any) -> Sequence[Any]:
        """The arrays that an object consists of."""
        if not self._many:
            return (found,)
        if not isinstance(found, list | tuple):
            raise ValueError(
                f"recv(into): into is a list, and the next object is of type {type_name(found)}: "
                "it stays, recv() it without into"
            )
        if len(found) != len(self._arrays):
            raise ValueError(
                f"recv(into): into has {len(self._arrays)} arrays, and the next object "
                f"{len(found)}: it stays, recv() it into as many"
            )
        return found

    def _refuse_overlaps(self) -> None:
        """ValueError where two of the arrays share memory."""
        spans = sorted(
            (*span, name)
            for array, name in zip(self._arrays, self._names, strict=True)
            if (span := memory_of(array)) is not None and span[1]
        )
        for (start, nbytes, first), (after, _, second) in pairwise(spans):
            if start + nbytes > after:
                raise ValueError(
                    f"recv(into): {first} and {second} overlap, so one would be overwritten; "
                    "pass arrays that share no memory"
                )


def _compare(target: Any, found: Any, name: str) -> None:
    """ValueError: what has come is of another shape or type than the array that it is for."""
    wanted, given = _forms(target, found)
    if wanted != given:
        raise ValueError(
            f"recv(into): {name} is {_text(wanted)}, and the next object {_text(given)}: it stays, "
            "recv() it into an array of its own shape and type, or without into"
        )


def _forms(target: Any, found: Any) -> tuple[object, object]:
    """Shape and type of both, in the same words."""
    both = (target, found)
    if all(hasattr(each, "dtype") and hasattr(each, "shape") for each in both):
        return (target.shape, target.dtype), (found.shape, found.dtype)
    try:
        with memoryview(target) as one, memoryview(found) as other:
            return (one.shape, one.format), (other.shape, other.format)
    except (TypeError, ValueError):
        return type_name(target), type_name(found) if type(target) is not type(found) else None


def _text(form: object) -> str:
    if isinstance(form, tuple):
        shape, kind = form
        return f"an array of shape {shape} and type {kind}"
    return f"of type {form}" if form else "no array that could be compared"
