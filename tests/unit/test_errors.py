# SPDX-License-Identifier: BSD-3-Clause
"""The errors: their families, their words, and that they travel between processes."""

from __future__ import annotations

import errno
import pickle

import pytest

import adma
from adma import errors
from adma._core import results
from adma._core._native import lib

CLASSES = [
    errors.Cancelled,
    errors.ChannelClosed,
    errors.MechanismUnavailable,
    errors.MessageTooLong,
    errors.PeerDied,
    errors.ProtocolError,
    errors.Stalled,
    errors.VersionMismatch,
    errors.WrongKind,
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_is_public_and_says_so(kind: type[errors.AdmaError]) -> None:
    assert getattr(adma, kind.__name__) is kind
    assert kind.__module__ == "adma"
    assert issubclass(kind, errors.AdmaError)
    assert str(kind("what happened")) == "what happened"


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (errors.ChannelClosed, EOFError),
        (errors.PeerDied, ConnectionError),
        (errors.VersionMismatch, errors.ProtocolError),
        (errors.MechanismUnavailable, OSError),
        (errors.MessageTooLong, OSError),
        (errors.Stalled, TimeoutError),
    ],
)
def test_families(kind: type[BaseException], family: type[BaseException]) -> None:
    with pytest.raises(family):
        raise kind("text")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_pickled(kind: type[errors.AdmaError]) -> None:
    before = kind("text")
    before.extra = 7  # type: ignore[attr-defined]
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is kind
    assert (str(after), after.args, vars(after)) == (str(before), before.args, vars(before))
    assert getattr(after, "errno", None) == getattr(before, "errno", None)


def test_what_they_carry_is_pickled() -> None:
    too_long = pickle.loads(pickle.dumps(results.error_for(-lib.ADMA_E_TOOLONG, needed=70)))
    assert too_long.needed == 70
    assert "70 bytes" in str(too_long)
    stalled = pickle.loads(
        pickle.dumps(errors.Stalled("it stopped", request=adma.Request.__new__(adma.Request)))
    )
    assert isinstance(stalled, TimeoutError)
    assert (stalled.errno, str(stalled)) == (errno.ETIMEDOUT, "it stopped")
    assert not hasattr(stalled, "request")  # it belongs to its process
    refused = errors.MechanismUnavailable(mechanism="dma", cause="no module", cure="load it")
    again = pickle.loads(pickle.dumps(refused))
    assert (again.mechanism, again.cause, again.cure) == ("dma", "no module", "load it")
    assert str(again) == "mechanism 'dma' is not available: no module; cure: load it"


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        (lib.ADMA_E_CLOSED, errors.ChannelClosed, "peer closed"),
        (lib.ADMA_E_DIED, errors.PeerDied, "gone"),
        (lib.ADMA_E_TOOLONG, errors.MessageTooLong, "larger"),
        (lib.ADMA_E_KIND, errors.WrongKind, "recv()"),
        (lib.ADMA_E_CANCELLED, errors.Cancelled, "cancelled"),
        (lib.ADMA_E_PROTOCOL, errors.ProtocolError, "protocol"),
        (lib.ADMA_E_CLOSED_HERE, errors.ChannelClosed, "on this side"),
        (lib.ADMA_E_FORKED, errors.ChannelClosed, "forked child"),
        (lib.ADMA_E_FULL, BlockingIOError, "outstanding"),
        (lib.ADMA_E_NO_MECHANISM, errors.MechanismUnavailable, "explain()"),
        (lib.ADMA_E_PENDING, BlockingIOError, "at once"),
        (lib.ADMA_E_BULK, BlockingIOError, "bulk segment"),
        (errno.ETIMEDOUT, TimeoutError, "timed out"),
        (errno.EPERM, PermissionError, "permitted"),
        (errno.EPROTO, errors.ProtocolError, "protocol"),
        (errno.EFAULT, OSError, "address"),
        (4000, OSError, "4000"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_codes_of_the_core(code: int, kind: type[Exception], word: str, sign: int) -> None:
    error = results.error_for(sign * code)
    assert isinstance(error, kind)
    assert word in str(error)
    assert str(results.error_for(code, "other words")).endswith("other words")
    with pytest.raises(kind, match=r"other words"):
        results.raise_for(code, "other words")


def test_a_full_queue_is_eagain() -> None:
    error = results.error_for(-lib.ADMA_E_FULL)
    assert isinstance(error, BlockingIOError)
    assert error.errno == errno.EAGAIN
