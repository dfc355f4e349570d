# SPDX-License-Identifier: BSD-3-Clause
"""Trying each mechanism between this process and a child: connect, send a message both ways.

A mechanism is called available when a message went both ways by it and came out as it went in,
and not because a kernel setting says that it should.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import adma

TIMEOUT = 10.0
# Above every threshold, and over several chunks of each mechanism.
SIZE = (1 << 20) + 3
EXPLAINED = (8, 4096, 64 << 10, 1 << 20)


@dataclass(frozen=True)
class Finding:
    """What came of trying a mechanism: available, or refused with errno, cause and cure."""

    mechanism: str
    available: bool
    errno: int = 0
    cause: str = ""
    cure: str = ""


def probe_all() -> list[Finding]:
    """Try each mechanism that this build knows, one after the other."""
    from adma.mechanisms import NAMES

    names = list(NAMES.values())
    with _child(names) as links:
        return [_probe(link, name) for link, name in zip(links, names, strict=True)]


def explanations(sizes: Sequence[int] = EXPLAINED) -> list[dict[str, Any]]:
    """How a message of each size would travel if the core chooses, as the channel explains."""
    import adma

    with _child(["auto"]) as links, adma.from_socket(links[0], timeout=TIMEOUT) as channel:
        found = [_plain(channel.explain(size)) for size in sizes]
        _exchange(channel)
    return found


def _plain(explanation: adma.Explanation) -> dict[str, Any]:
    return {
        "nbytes": explanation.nbytes,
        "carry": explanation.carry,
        "mechanism": explanation.mechanism,
        "why": explanation.why,
        "others": dict(explanation.others),
        "learnt": [asdict(way) for way in explanation.learnt],
    }


def _probe(link: socket.socket, mechanism: str) -> Finding:
    import adma

    try:
        with adma.from_socket(
            link,
            timeout=TIMEOUT,
            mechanism=mechanism,  # type: ignore[arg-type]
        ) as channel:
            _exchange(channel)
    except adma.MechanismUnavailable as error:
        cause = error.cause or str(error)
        return Finding(mechanism, False, error.errno or 0, cause, error.cure)
    except (OSError, EOFError, ValueError) as error:
        # A trial that fails in another way is a finding too, and says what happened.
        number = getattr(error, "errno", None) or 0
        return Finding(mechanism, False, number, f"{type(error).__name__}: {error}")
    return Finding(mechanism, True)


def _exchange(channel: adma.Channel) -> None:
    """Send a message there and back. Raises ValueError when other bytes came back."""
    out = bytes(i % 251 for i in range(251)) * (SIZE // 251 + 1)
    out = out[:SIZE]
    into = bytearray(SIZE)
    channel.write(out, timeout=TIMEOUT)
    channel.read(into, timeout=TIMEOUT)
    if into != out:
        raise ValueError(f"a message of {SIZE} bytes came back with other bytes")


@contextlib.contextmanager
def _child(mechanisms: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Run a second process, which echoes one message on each of as many sockets."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM) for _ in mechanisms]
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    arguments = [f"{end.fileno()}={name}" for end, name in zip(theirs, mechanisms, strict=True)]
    process = subprocess.Popen(
        [sys.executable, "-m", "adma.cli.probe", *arguments],
        pass_fds=[end.fileno() for end in theirs],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for end in theirs:
            end.close()
        yield ours
        process.wait(TIMEOUT)
    finally:
        for end in ours:
            end.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def serve(arguments: Sequence[str]) -> int:
    """Serve as the child: for each ``FD=MECHANISM``, connect and echo a message."""
    import adma

    into = bytearray(SIZE)
    for argument in arguments:
        fd, _, mechanism = argument.partition("=")
        link = socket.socket(fileno=int(fd))
        # The other end sees the same refusal, and tells it.
        with contextlib.suppress(OSError, EOFError, ValueError):  # noqa: SIM117
            with adma.from_socket(
                link,
                timeout=TIMEOUT,
                mechanism=mechanism,  # type: ignore[arg-type]
            ) as channel:
                channel.read(into, timeout=TIMEOUT)
                channel.write(into, timeout=TIMEOUT)
        with contextlib.suppress(OSError):
            link.close()
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))
