# SPDX-License-Identifier: BSD-3-Clause
"""What the public names say of their types, and which of them are not for programs to call."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

import adma
from adma import mechanisms
from adma.messages.arrival import ReceiveRequest


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """All public classes and functions, with the public methods and properties of the former."""
    for name in adma.__all__:
        thing = getattr(adma, name)
        if not callable(thing) or typing.get_origin(thing) is Literal:
            continue
        yield name, thing
        for member in dir(thing) if inspect.isclass(thing) else ():
            found = inspect.getattr_static(thing, member)
            found = found.fget if isinstance(found, property) else found
            if inspect.isfunction(found) and not member.startswith("_"):
                yield f"{name}.{member}", found


@pytest.mark.parametrize(("name", "thing"), list(_functions()))
def test_hints_can_be_resolved(name: str, thing: Callable[..., Any]) -> None:
    del name
    typing.get_type_hints(thing)


def test_names_of_mechanisms() -> None:
    assert set(typing.get_args(adma.MechanismName)) == {"auto", *mechanisms.NAMES.values()}
    assert typing.get_type_hints(adma.connect)["mechanism"] == adma.MechanismName
    assert typing.get_args(typing.get_type_hints(adma.Message)["kind"]) == ("bytes", "object")
    assert typing.get_type_hints(adma.Stalled)["request"] is adma.Request


@pytest.mark.parametrize(
    "make", [adma.Channel, lambda: adma.Channel(None), adma.Request, ReceiveRequest]
)
def test_constructors_that_are_not_public_say_so(make: Any) -> None:
    with pytest.raises(TypeError, match=r"not public|missing"):
        make()
