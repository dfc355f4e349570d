# SPDX-License-Identifier: BSD-3-Clause
"""Wrong types and values: the error names call and argument, and nothing has happened."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import adma
from adma.testing.limits import HANG, LARGE
from support.endpoints import InThread, pair

Ends = tuple[adma.Channel, adma.Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends in this process."""
    one, other = pair()
    joining = InThread(lambda: adma.from_socket(other))
    with adma.from_socket(one) as near, joining.result() as far:
        yield near, far


CALLS: dict[str, Callable[[adma.Channel, Any], Any]] = {
    "read": lambda channel, value: channel.read(bytearray(1), timeout=value),
    "write": lambda channel, value: channel.write(bytes(LARGE), timeout=value),
    "probe": lambda channel, value: channel.probe(timeout=value),
    "send": lambda channel, value: channel.send(bytes(LARGE), timeout=value),
    "recv": lambda channel, value: channel.recv(timeout=value),
    "wait": lambda channel, value: channel.iread(bytearray(1)).wait(timeout=value),
    "wait_all": lambda channel, value: adma.wait_all([channel.iread(bytearray(1))], timeout=value),
    "wait_any": lambda channel, value: adma.wait_any([channel.iread(bytearray(1))], timeout=value),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", ["1", [], True, float("nan"), -1])
def test_what_is_no_timeout(ends: Ends, call: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"{call}\(timeout\)"):
        CALLS[call](ends[0], value)
    assert ends[1].iprobe() is None


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 10**400, 1e10])
def test_times_that_stand_for_ever(ends: Ends, timeout: float) -> None:
    near, far = ends
    reading = InThread(lambda: far.read(bytearray(1), timeout=timeout))
    near.write(b"x", timeout=timeout)
    assert reading.result() == 1
    near.close(timeout=timeout)
    with pytest.raises(adma.ChannelClosed):
        far.read(bytearray(1), timeout=HANG)


@pytest.mark.parametrize("value", ["5", 1.5, -1, 1 << 63])
def test_what_is_no_number_of_bytes(ends: Ends, value: Any) -> None:
    near, _ = ends
    with pytest.raises((TypeError, ValueError), match=r"explain\(nbytes\)"):
        near.explain(value)
    with pytest.raises((TypeError, ValueError), match=r"recv\(max_bytes\)"):
        near.recv(timeout=0, max_bytes=value)


def test_whole_numbers_of_other_types(ends: Ends) -> None:
    assert ends[0].explain(np.int64(5)).nbytes == 5


@pytest.mark.parametrize("what", [None, 5, "request"])
def test_what_is_no_list_of_requests(ends: Ends, what: Any) -> None:
    if what == "request":
        what = ends[0].iread(bytearray(1))
    with pytest.raises(TypeError, match=r"wait_all\(reqs\)"):
        adma.wait_all(what)
    with pytest.raises(TypeError, match=r"wait_any\(reqs\)"):
        adma.wait_any(what)


def test_an_array_of_objects_is_no_buffer(ends: Ends) -> None:
    """Its memory holds addresses: filled from outside, it would crash whoever looks."""
    near, far = ends
    objects = np.array([object()])
    for call in (near.read, near.write, near.iread, near.iwrite):
        with pytest.raises(TypeError, match="recv"):
            call(objects)
    assert far.iprobe() is None


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_channels_and_requests_cannot_be_copied(
    ends: Ends, duplicate: Callable[[Any], object]
) -> None:
    near, _ = ends
    for thing in (near, near.iread(bytearray(1))):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            duplicate(thing)


def test_a_closed_channel_cannot_be_entered(ends: Ends) -> None:
    ends[0].close()
    with pytest.raises(adma.ChannelClosed), ends[0]:
        pass


def test_a_request_that_is_done_still_wants_a_time(ends: Ends) -> None:
    request = ends[0].iwrite(b"x")
    with pytest.raises(TypeError, match=r"wait\(timeout\)"):
        request.wait("1")  # type: ignore[arg-type]
    assert request.wait() == 1
