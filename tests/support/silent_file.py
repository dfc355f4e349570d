# SPDX-License-Identifier: BSD-3-Clause
"""A file of a file system in user space that answers when it is opened, and then no more.

What is asked about it then waits until this process lets go of the file system. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import tempfile
import threading
from collections.abc import Iterator

_HEAD = struct.Struct("=IIQQIIII")  # struct fuse_in_header
_INIT, _OPEN = 26, 14
# struct fuse_init_out (version 7.31 and no extension) and struct fuse_open_out (FOPEN_DIRECT_IO)
_ANSWERS = {
    _INIT: struct.pack("=IIIIHHII36x", 7, 31, 0, 0, 1, 1, 4096, 1),
    _OPEN: struct.pack("=QII", 1, 1, 0),
}
_MNT_FORCE, _MNT_DETACH = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def silent_file() -> Iterator[int]:
    """A descriptor of such a file. OSError: this system has no such file systems."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    made, path = tempfile.mkstemp(dir="/var/tmp")
    os.close(made)
    server = threading.Thread(target=_serve, args=(device,), daemon=True)
    fd = -1
    try:
        options = f"fd={device},rootmode=100666,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"silent", path.encode(), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "file systems in user space are refused")
        try:
            server.start()
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            yield fd
        finally:
            # The force ends the connection, and so all that waits for an answer.
            _libc.umount2(path.encode(), _MNT_FORCE | _MNT_DETACH)
            server.join()
            if fd >= 0:
                with contextlib.suppress(OSError):  # it says that the connection has ended
                    os.close(fd)
    finally:
        os.close(device)
        os.unlink(path)


def _serve(device: int) -> None:
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:
            return
        _, opcode, unique, *_ = _HEAD.unpack_from(request)
        answer = _ANSWERS.get(opcode)
        if answer is not None:
            os.write(device, struct.pack("=IiQ", 16 + len(answer), 0, unique) + answer)
