# SPDX-License-Identifier: BSD-3-Clause
"""A Unix socket at which processes of this user call, to pass ends of pipes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import time
from multiprocessing import util
from typing import Final

from ..closing import Closing
from ..connect import access
from ..connect.identity import OVERFLOW_UID, credentials_of, hang_up
from ..errors import failure, is_shortage
from ..meeting import judge_other_end

__all__ = ["Door", "call", "give_up_after"]

_log = logging.getLogger("adma")
_QUIET: Final = 1.0  # seconds between two warnings, since a stranger must not flood a log


class Door(Closing):
    """The socket, and the file at its path, which is removed by `close` or at the end."""

    def __init__(self, address: str | bytes, backlog: int) -> None:
        """OSError: as of bind(2) and listen(2)."""
        self._sock: socket.socket | None = _socket()
        self._warned = -_QUIET
        self._remove: util.Finalize | None = None
        try:
            self._sock.bind(address)
            self._sock.listen(backlog)
        except BaseException:
            self.close()
            raise
        self.address = self._sock.getsockname()
        self.last_accepted: str | bytes | None = None
        if self.address[:1] not in ("\0", b"\0"):  # an abstract name is no file
            self._remove = util.Finalize(self, os.unlink, args=(address,), exitpriority=0)

    def answer(self) -> socket.socket:
        """Wait for a caller of this user.

        Callers of other users are sent away unheard, without waiting for anything of theirs: what
        they have passed may block whoever reads or closes it. OSError: it is closed, or no
        descriptor is left.
        """
        while True:
            if self._sock is None:
                raise OSError("listener is closed")
            try:
                sock, self.last_accepted = self._sock.accept()
            except OSError as error:
                if is_shortage(error):
                    raise failure("handshake", error.errno or errno.EMFILE) from None
                raise
            try:
                judge_other_end(sock, access.own_user)
            except PermissionError as error:
                self.send_away(sock, error)
                continue
            sock.setblocking(True)
            return sock

    def send_away(self, sock: socket.socket, error: Exception) -> None:
        """Hang up on a caller, and tell why in the log."""
        uid = credentials_of(sock).uid
        hang_up(sock, OVERFLOW_UID)  # who called need not be who has passed what lies there
        now = time.monotonic()
        if now >= self._warned + _QUIET:
            self._warned = now
            _log.warning("%s: refused a caller of uid %d: %s", self.address, uid, error)

    def close(self) -> None:
        """Stop listening, and remove the file. Closing twice is no error."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        remove, self._remove = self._remove, None
        if remove is not None:
            with contextlib.suppress(FileNotFoundError):
                remove()


def call(address: str | bytes) -> socket.socket:
    """Call a door. PermissionError: another user listens there. OSError: nobody does."""
    sock = _socket()
    try:
        sock.connect(address)
        judge_other_end(sock, access.own_user)
    except BaseException:
        hang_up(sock, OVERFLOW_UID)
        raise
    return sock


def give_up_after(sock: socket.socket, seconds: float) -> None:
    """Have reads of a blocking socket fail with EAGAIN when nothing comes for so long."""
    whole, part = divmod(round(seconds * 1e6), 1_000_000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", whole, part))


def _socket() -> socket.socket:
    try:
        sock = socket.socket(socket.AF_UNIX)
    except OSError as error:
        raise failure("handshake", error.errno or errno.EIO) from None
    sock.setblocking(True)  # whatever the default is
    return sock
