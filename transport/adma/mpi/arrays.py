# SPDX-License-Identifier: BSD-3-Clause
"""From an object to its memory: the buffer protocol, DLPack, or the CUDA array interface.

They are tried in mpi4py's order, most of it by mpi4py itself (`MPI.buffer`). Memory of a GPU is
refused. Whether it is such memory, the driver tells: the attribute alone says little.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Final

from mpi4py import MPI

__all__ = ["export"]


def export(obj: Any, *, writable: bool, coded: bool) -> tuple[memoryview, str, object]:
    """The bytes of an object, their format, and what has to live as long as they are used.

    The format is that of the buffer protocol, and is right only where it is asked for (`coded`).
    Raises what mpi4py raises for an object without one piece of memory, or that is read-only.
    """
    try:
        view = memoryview(obj)
    except Exception:
        return _foreign(obj, writable=writable, coded=coded)
    if not view.contiguous or (writable and view.readonly):
        return _foreign(obj, writable=writable, coded=coded)
    if not view.nbytes:  # which cannot be cast where it has several dimensions
        return memoryview(bytearray()), view.format, view
    if view.c_contiguous:
        return view.cast("B"), view.format, None
    # In Fortran's order: one piece, but not for a cast.
    flat = MPI.buffer.fromaddress(MPI.Get_address(view), view.nbytes, view.readonly)
    return memoryview(flat), view.format, view


def _foreign(obj: Any, *, writable: bool, coded: bool) -> tuple[memoryview, str, object]:
    """The same for what has no memoryview that will do."""
    memory = MPI.buffer.frombuffer(obj, readonly=not writable)
    code = "B"
    if type(memory.obj).__name__ == "PyCapsule":
        tensor = _tensor(memory.obj)
        _refuse_device(tensor.device_type, memory)
        code = _tensor_code(tensor.code, tensor.bits, tensor.lanes)
    elif _has_buffer(obj):
        # It has a buffer, but no format for it: datetime64 of NumPy, say. One of these raises.
        if coded:
            if hasattr(obj, "__dlpack__"):
                obj.__dlpack__()
            memoryview(obj)
    else:
        _refuse_device(_CUDA, memory)
        code = _cuda_code(obj.__cuda_array_interface__["typestr"], coded=coded)
    return memoryview(memory), code, obj


# Prototypes of our own: what ctypes.pythonapi has is everybody's, who may declare it otherwise.
_has_buffer: Final = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(
    ("PyObject_CheckBuffer", ctypes.pythonapi)
)
_is_valid: Final = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer: Final = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

# Formats. Both interfaces tell a kind of number and its bytes; what is not here is plain bytes.

_CODES: Final = {
    f"{kind}{size}": code
    for kind, codes in {
        "b": {1: "?"},
        "i": {1: "b", 2: "h", 4: "i", 8: "l"},
        "u": {1: "B", 2: "H", 4: "I", 8: "L"},
        "f": {2: "e", 4: "f", 8: "d", 16: "g"},
        "c": {4: "Ze", 8: "Zf", 16: "Zd", 32: "Zg"},
    }.items()
    for size, code in codes.items()
}


def _cuda_code(typestr: str, *, coded: bool) -> str:
    order = typestr[:1]
    if coded and order != "|":
        if order not in ("<", ">"):
            raise BufferError(
                f"__cuda_array_interface__: typestr {typestr!r} with unrecognized byte order"
            )
        if order != ("<" if sys.byteorder == "little" else ">"):
            raise BufferError(
                f"__cuda_array_interface__: typestr {typestr!r} with non-native byte order"
            )
    return _CODES.get(typestr[1:], "B")


# DLPack


class _Tensor(ctypes.Structure):
    """The start of dlpack.h's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    )


# Of dlpack.h. What is missing here is no memory that a processor reaches.
_CUDA: Final = 2
_HOST: Final = (1, 3, 11, 13)  # the host's own, pinned for CUDA, pinned for ROCm, CUDA's managed
_KINDS: Final = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
# version, manager_ctx, deleter and flags, before the tensor of a capsule that has them
_VERSIONED: Final = 8 + 2 * ctypes.sizeof(ctypes.c_void_p) + 8


def _tensor(capsule: Any) -> Any:
    if _is_valid(capsule, b"dltensor_versioned"):
        return _Tensor.from_address(_pointer(capsule, b"dltensor_versioned") + _VERSIONED)
    return _Tensor.from_address(_pointer(capsule, b"dltensor"))


def _tensor_code(kind: int, bits: int, lanes: int) -> str:
    if lanes == 1:
        return _CODES.get(f"{_KINDS.get(kind)}{bits // 8}", "B")
    # Two floats are a complex number, whose bits may be more than the field can tell.
    is_complex = lanes == 2 and _KINDS.get(kind) == "f" and bits >= 32
    return _CODES.get(f"c{bits // 4}", "B") if is_complex else "B"


# Memory of a GPU


def _refuse_device(device_type: int, memory: Any) -> None:
    """BufferError for what a processor cannot reach."""
    if device_type in _HOST or not memory.nbytes:
        return
    if device_type == _CUDA and not _is_on_gpu(memory.address):
        return
    raise BufferError(
        "message: the buffer is memory of a GPU, and adma moves memory of the host alone; copy it "
        "to the host first, or use the communicator of mpi4py itself"
    )


_MEMORY_TYPE: Final = 2  # CU_POINTER_ATTRIBUTE_MEMORY_TYPE
_IS_MANAGED: Final = 8  # CU_POINTER_ATTRIBUTE_IS_MANAGED
_ON_DEVICE: Final = (2, 3)  # CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_ARRAY
_NOT_INITIALIZED: Final = 3  # CUDA_ERROR_NOT_INITIALIZED: so there is no such memory yet


def _is_on_gpu(address: int) -> bool:
    """Ask the CUDA driver, if this process has one. Without it there is only the host's memory."""
    driver = _driver()
    if driver is None:
        return False
    attributes = (ctypes.c_int * 2)(_MEMORY_TYPE, _IS_MANAGED)
    answers = (ctypes.c_uint * 2)()
    places = (ctypes.c_void_p * 2)(*(ctypes.addressof(answers) + 4 * at for at in range(2)))
    rc = driver.cuPointerGetAttributes(2, attributes, places, ctypes.c_uint64(address))
    if rc == _NOT_INITIALIZED:
        return False
    # If it does not know, the memory must not be touched.
    return bool(rc) or (answers[0] in _ON_DEVICE and not answers[1])


def _driver() -> Any:
    """The driver's library, if someone has loaded it."""
    try:
        return ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return None
