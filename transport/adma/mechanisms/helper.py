# SPDX-License-Identifier: BSD-3-Clause
"""`dma` and `mapped:helper`: through the kernel helper, which matches and copies by itself.

One end makes a connected pair of descriptors and passes one over the socket. A process that
holds it may use it, whatever its user and namespaces. Then a trial message goes in each
direction. The server makes the pair. Where neither end is the server, both make one, and that
of the end with the smaller nonce is used.

The device is opened only for a channel that asks for the helper. Where it is quicker than
what needs no module has not been measured on hardware yet.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import time
from typing import ClassVar

from .._core import buffers
from .._core import device as core
from .._core.constants import MECH_DMA, MECH_HELPER
from ..connect.identity import judged
from ..connect.record import Entry
from ..errors import explain as explain_errno
from ..kernel_helper import (
    DEVICE,
    Circumstances,
    circumstances,
    explain,
    explain_copies,
    explain_dma,
)
from .interface import Context, Probe, Refusal, refusal_in

__all__ = ["DEVICE", "Circumstances", "Dma", "MappedHelper", "circumstances"]
__all__ += ["explain", "explain_copies", "explain_dma"]

_TRIAL = 2 * mmap.PAGESIZE  # bytes: enough for a DMA channel to be tried
_TOKEN = 16  # random bytes at the beginning of a trial message
_PATIENCE = 5.0  # seconds for a trial message, a DMA time-out included


def _explain_trial(number: int) -> tuple[str, str]:
    """Cause and cure for an errno of a trial message."""
    if number == errno.ENOMEM:
        return (
            "RLIMIT_MEMLOCK does not allow to pin a single page",
            "ulimit -l, or memlock in /etc/security/limits.conf; or mapped:helper, which pins "
            "for the moment of a copy only",
        )
    if number == errno.EDQUOT:
        return (
            "this user has as many requests pending as one may have",
            "wait for some, or raise /sys/module/adma/parameters/requests_max",
        )
    if number == errno.ETIMEDOUT:
        return (
            f"a trial message did not come through in {_PATIENCE:g} s",
            "look at the kernel's log (dmesg) for the DMA engine, or use mapped:helper",
        )
    cause, cure = explain_errno("mapped:helper", number)
    return f"a trial message failed: {cause}", cure


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


class _Endpoint:
    """One endpoint of a pair, and the trial messages on it."""

    def __init__(self, fd: int) -> None:
        self._out = mmap.mmap(-1, _TRIAL)
        self._in = mmap.mmap(-1, _TRIAL)
        self.fd = fd
        self._holds = [buffers.filled(each) for each in (self._out, self._in)]

    def write(self, token: bytes) -> None:
        self._out[:_TOKEN] = self._out[-_TOKEN:] = token
        _check(core.post_trial(self.fd, False, self._holds[0], _TRIAL))

    def read(self) -> None:
        _check(core.post_trial(self.fd, True, self._holds[1], _TRIAL))

    def came(self, token: bytes, seconds: float) -> None:
        """Wait for the message that read() asked for. OSError: another one came, or none."""
        deadline = time.monotonic() + seconds
        result = -errno.EINTR
        while result == -errno.EINTR:  # there was a signal, whose handler has run by now
            left = max(0, int((deadline - time.monotonic()) * 1e9))
            result = core.await_trial(self.fd, True, left)
        _check(result)
        if (self._in[:_TOKEN], self._in[-_TOKEN:]) != (token, token):
            raise OSError(errno.EPROTO, "a trial message came with other bytes")

    def take(self) -> int:
        fd, self.fd = self.fd, -1
        return fd

    def forget(self) -> bool:
        """Withdraw what is not done. False: it is being copied, and that does not end."""
        stays = [read for read in (False, True) if core.forget_trial(self.fd, read)]
        if stays and self not in _quarantine:
            _quarantine.append(self)
        return not stays

    def close(self) -> None:
        """Close, and free the memory if the kernel is through with it."""
        if self.fd >= 0 and not self.forget():
            os.close(self.take())
            return
        if self.fd >= 0:
            os.close(self.take())
        for hold in self._holds:
            buffers.release(hold)
        self._out.close()
        self._in.close()


def _own(fd: int) -> _Endpoint:
    """Make a descriptor an endpoint. It is closed when there is no memory for that."""
    try:
        return _Endpoint(fd)
    except BaseException:
        os.close(fd)
        raise


# Kept for ever: memory that a copy which does not end may still touch.
_quarantine: list[_Endpoint] = []


class _Helper(Probe):
    """Both directions work, or neither."""

    keeps_descriptor = True
    by_dma: ClassVar[bool]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._end: _Endpoint | None = None
        self._passed = -1  # the pair's other end, until it is sent
        self._made = False  # our pair, not the peer's
        self._token = secrets.token_bytes(_TOKEN)
        self._failed: Refusal | None = None

    @classmethod
    def left_out(cls, forced: int) -> Refusal | None:
        """It is tried only when it is asked for. Otherwise say whether there seems to be one."""
        if forced == cls.id:
            return None
        if not os.access(DEVICE, os.R_OK | os.W_OK):
            number = errno.EACCES if os.path.exists(DEVICE) else errno.ENOENT
            return Refusal(cls.name, number, *explain(number, circumstances()))
        return Refusal(
            cls.name,
            errno.EOPNOTSUPP,
            "not tried: where it is quicker has not been measured on hardware yet",
            f"ask for it: mechanism={cls.name!r}",
        )

    def offer(self) -> Entry:
        """Make a pair, post a message in each direction, and pass the other endpoint on."""
        if self.context.client:
            return Entry(self.id)
        try:
            kept, passed = core.make_pair(DEVICE, self.by_dma)
        except OSError as error:
            number = error.errno or errno.EIO
            return self._fail(number, *self._explain_pair(number))
        self._passed, self._made = passed, True
        self._end = _own(kept)
        try:
            self._end.write(self._token)
            self._end.read()
        except OSError as error:
            number = error.errno or errno.EIO
            return self._fail(number, *_explain_trial(number))
        return Entry(self.id, 0, self._token, [self._passed])

    def answer(self, offer: Entry) -> Entry:
        """Settle whose pair is used. The end that joins it reads a message and sends its own."""
        self._close_passed()  # the peer has it now; an open copy here would hide its death
        if self._made and (not offer.fds or self.context.nonce < self.context.peer.nonce):
            return Entry(self.id)
        if not offer.fds:
            if self._failed is None:
                self._failed = refusal_in(offer, self.name)
            return self._entry()
        self._let_go()
        self._failed = None
        try:
            self._join(offer)
        except OSError as error:
            number = error.errno or errno.EIO
            return self._fail(number, *_explain_trial(number))
        return Entry(self.id, 0, self._token)

    def verdict(self, answer: Entry) -> Entry:
        """The end that made the pair reads the message of the end that joined it."""
        if self._failed is None and answer.error:
            self._failed = refusal_in(answer, self.name)
        if self._failed is not None:
            return self._entry()
        if self._made and self._end is not None:
            try:
                self._end.came(answer.data, self.context.remaining(_PATIENCE))
            except OSError as error:
                number = error.errno or errno.EIO
                return self._fail(number, *_explain_trial(number))
        return Entry(self.id)

    def conclude(self, verdict: Entry) -> None:
        """The first failure at either end refuses both directions."""
        if verdict.error and self._failed is None:
            self._failed = refusal_in(verdict, self.name)
        if self._failed is None and self._end is not None and not self._end.forget():
            self._failed = self.refuse(errno.EBUSY, *_explain_trial(errno.EBUSY))
        self.out = self.in_ = self._failed

    def take(self) -> int:
        """The endpoint; -1 if it failed."""
        return -1 if self._end is None or self._failed is not None else self._end.take()

    def close(self) -> None:
        """Close the endpoint and free the memory of the trial messages."""
        self._let_go()

    def _join(self, offer: Entry) -> None:
        fd = offer.take_fd()
        with judged(fd, self.context.peer.uid):
            _check(core.verify(fd))
        self._end = _own(fd)
        self._end.read()
        self._end.came(offer.data, self.context.remaining(_PATIENCE))
        self._end.write(self._token)

    def _explain_pair(self, number: int) -> tuple[str, str]:
        found = circumstances()
        if number == errno.ENODEV and self.by_dma and found.loaded:
            cause, cure = explain_dma(number, found)
            return cause, f"{cure}; or mapped:helper"
        return explain(number, found)

    def _close_passed(self) -> None:
        if self._passed >= 0:
            os.close(self._passed)
            self._passed = -1

    def _let_go(self) -> None:
        self._close_passed()
        self._made = False
        if self._end is not None:
            self._end.close()
            self._end = None

    def _fail(self, number: int, cause: str, cure: str) -> Entry:
        self._let_go()
        self._failed = self.refuse(number, cause, cure)
        return self._entry()

    def _entry(self) -> Entry:
        return self._failed.entry(self.id) if self._failed is not None else Entry(self.id)


class Dma(_Helper):
    """The helper pins both buffers and drives DMA channels: the paper's ADCEC."""

    name = "dma"
    id = MECH_DMA
    by_dma = True


class MappedHelper(_Helper):
    """One copy, made by a work queue of the kernel: the paper's KAMMC."""

    name = "mapped:helper"
    id = MECH_HELPER
    by_dma = False
