# SPDX-License-Identifier: BSD-3-Clause
"""What a call takes for a buffer, for annotations.

A type checker knows that NumPy's arrays are buffers only where it checks for Python 3.12 or newer.
For older ones it is told by what they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    Readable: TypeAlias = "ReadableBuffer | ArrayOfNumPy"
    Writable: TypeAlias = "WriteableBuffer | ArrayOfNumPy"
    #: One buffer, or several that make up one message.
    Gathered: TypeAlias = "Readable | Sequence[Readable]"
    Scattered: TypeAlias = "Writable | Sequence[Writable]"
else:  # Python has no type for buffers at run time before 3.12
    Readable = Writable = Gathered = Scattered = Any

__all__ = ["ArrayOfNumPy", "Gathered", "Readable", "Scattered", "Writable"]


class ArrayOfNumPy(Protocol):
    """An array that says where its memory is, as NumPy's arrays do."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...
