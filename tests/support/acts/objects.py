# SPDX-License-Identifier: BSD-3-Clause
"""Sending and receiving objects."""

from __future__ import annotations

import pickle

from support.limits import CELL, HANG
from support.payload import difference, pattern
from support.peer_main import End


def echo(end: End, count: int) -> None:
    for _ in range(count):
        end.channel.send(end.channel.recv(timeout=HANG), timeout=HANG)


def send_buffers(end: End, sizes: list[int]) -> None:
    """One object: a label and a buffer of each size, out of band."""
    parts = [pickle.PickleBuffer(bytearray(pattern(n, seed))) for seed, n in enumerate(sizes)]
    end.channel.send(["buffers", *parts], timeout=HANG)


def recv_length_and_seed(end: End, seed: int) -> int:
    """Receive a buffer, check its content, return its length."""
    part = end.channel.recv(timeout=HANG)
    wrong = difference(part, pattern(len(part), seed))
    assert not wrong, wrong
    return len(part)


def alternate(end: End, count: int) -> None:
    """Bytes and an object, `count` times; every second time the bytes are many."""
    for index in range(count):
        end.channel.write(pattern(CELL * (index % 2) + index), timeout=HANG)
        end.channel.send(index, timeout=HANG)
