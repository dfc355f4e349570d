# SPDX-License-Identifier: BSD-3-Clause
"""Sending and receiving objects."""

from __future__ import annotations

import pickle

from ..endpoint import Endpoint
from ..limits import CELL, HANG
from ..payload import difference, pattern


def echo(endpoint: Endpoint, count: int) -> None:
    for _ in range(count):
        endpoint.channel.send(endpoint.channel.recv(timeout=HANG), timeout=HANG)


def send_buffers(endpoint: Endpoint, sizes: list[int]) -> None:
    """One object: a label and a buffer of each size, out of band."""
    parts = [pickle.PickleBuffer(bytearray(pattern(n, seed))) for seed, n in enumerate(sizes)]
    endpoint.channel.send(["buffers", *parts], timeout=HANG)


def recv_labels(endpoint: Endpoint, count: int) -> list[object]:
    """Receive `count` lists; the first element of each."""
    return [endpoint.channel.recv(timeout=HANG)[0] for _ in range(count)]


def recv_length_and_seed(endpoint: Endpoint, seed: int) -> int:
    """Receive a buffer, check its content, return its length."""
    part = endpoint.channel.recv(timeout=HANG)
    wrong = difference(part, pattern(len(part), seed))
    assert not wrong, wrong
    return len(part)


def alternate(endpoint: Endpoint, count: int) -> None:
    """Write bytes and send an object, `count` times; every second time the bytes are many."""
    for index in range(count):
        endpoint.channel.write(pattern(CELL * (index % 2) + index), timeout=HANG)
        endpoint.channel.send(index, timeout=HANG)
