# SPDX-License-Identifier: BSD-3-Clause
"""A FUSE server with one file, which answers until that file is open, and then nothing.

So every close of the file blocks, since a close tells the server (FUSE_FLUSH); and so does
whatever asks for its attributes. It ends with the process that serves, a child of the caller's.
The caller has to be killed after that one, because its own exit closes the file.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

_PLACE = "/mnt"  # of a mount that no other process sees
_CLONE_NEWNS = 0x20000
_MS_NODEV_NOSUID = 4 | 2
_MS_REC_PRIVATE = 1 << 14 | 1 << 18
_LOOKUP, _GETATTR, _OPEN, _INIT = 1, 3, 14, 26
_IN = struct.Struct("=IIQQIIII")
_OUT = struct.Struct("=IiQ")
_FILE = 2  # its node; that of the root is 1
_FOREVER = 1 << 30  # seconds


def silent_file() -> int:
    """Mount a file system for this process alone, and open its file. Takes root."""
    device = os.open("/dev/fuse", os.O_RDWR)
    _mount(device)
    if os.fork() == 0:
        try:
            os.closerange(0, device)  # whoever waits for the end of a pipe does not wait for this
            os.closerange(device + 1, 4096)
            _serve(device)
        finally:
            os._exit(1)
    os.close(device)
    return os.open(f"{_PLACE}/file", os.O_RDWR)


def _mount(device: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None)
        or libc.mount(b"adma", _PLACE.encode(), b"fuse", ctypes.c_ulong(_MS_NODEV_NOSUID), options)
    ):
        raise OSError(ctypes.get_errno(), "cannot mount a FUSE file system")


def _serve(device: int) -> None:
    """Answer until the file is open. The device stays open, so requests wait from then on."""
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique, node, *_ = _IN.unpack_from(request)
        answer, error = _answer(opcode, node)
        os.write(device, _OUT.pack(_OUT.size + len(answer), error, unique) + answer)
        if opcode == _OPEN:
            signal.pause()


def _answer(opcode: int, node: int) -> tuple[bytes, int]:
    if opcode == _INIT:
        return struct.pack("=4I2H2I2HI7I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, *[0] * 7), 0
    if opcode == _LOOKUP:
        return struct.pack("=4Q2I", _FILE, 0, _FOREVER, 0, 0, 0) + _attributes(_FILE), 0
    if opcode == _GETATTR:
        return struct.pack("=Q2I", 0, 0, 0) + _attributes(node), 0
    if opcode == _OPEN:
        return struct.pack("=Q2I", 0, 0, 0), 0
    return b"", -38  # ENOSYS


def _attributes(node: int) -> bytes:
    mode = 0o100666 if node == _FILE else 0o40777
    return struct.pack("=6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
