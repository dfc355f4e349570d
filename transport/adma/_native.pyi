# SPDX-License-Identifier: BSD-3-Clause
"""The compiled C core, as cffi makes it.

What ``lib`` holds is declared in transport/native/*.h, once; repeating it here
would only let the two drift apart. ``ffi`` is an object whose methods are
called on it; the class of the same name lets ``ffi.CData`` serve in annotations.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

# An object of C. For annotations only: it cannot be imported at run time.
CData: TypeAlias = Any

class ffi:  # noqa: N801
    NULL: CData
    CData: TypeAlias = Any
    CType: TypeAlias = Any
    errno: int
    error: type[Exception]

    @staticmethod
    def new(cdecl: str | CData, init: object = ...) -> CData: ...
    @staticmethod
    def new_allocator(
        alloc: Callable[[int], Any] | None = ...,
        free: Callable[[Any], object] | None = ...,
        should_clear_after_alloc: bool = ...,
    ) -> Callable[..., CData]: ...
    @staticmethod
    def cast(cdecl: str | CData, value: object) -> CData: ...
    @staticmethod
    def string(cdata: CData, maxlen: int = ...) -> bytes: ...
    @staticmethod
    def unpack(cdata: CData, length: int) -> Any: ...
    @staticmethod
    def buffer(cdata: CData, size: int = ...) -> Any: ...
    @staticmethod
    def from_buffer(
        cdecl: str | CData, python_buffer: object = ..., require_writable: bool = ...
    ) -> CData: ...
    @staticmethod
    def new_allocator(
        alloc: object = ..., free: object = ..., should_clear_after_alloc: bool = ...
    ) -> Callable[..., CData]: ...
    @staticmethod
    def memmove(dest: object, src: object, n: int) -> None: ...
    @staticmethod
    def typeof(cdecl: str | CData) -> CType: ...
    @staticmethod
    def sizeof(cdecl: str | CData) -> int: ...
    @staticmethod
    def alignof(cdecl: str | CData) -> int: ...
    @staticmethod
    def offsetof(cdecl: str | CData, *fields: str | int) -> int: ...
    @staticmethod
    def addressof(cdata: CData, *fields: str | int) -> CData: ...
    @staticmethod
    def new_handle(obj: object) -> CData: ...
    @staticmethod
    def from_handle(cdata: CData) -> Any: ...
    @staticmethod
    def gc(cdata: CData, destructor: Callable[[Any], object] | None, size: int = ...) -> CData: ...
    @staticmethod
    def release(cdata: CData) -> None: ...

class _Lib:
    def __getattr__(self, name: str) -> Any: ...

lib: _Lib
