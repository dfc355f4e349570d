# SPDX-License-Identifier: BSD-3-Clause
"""What Yama's ptrace_scope leaves of `mapped:cma`, and that nothing else minds it.

The sysctl is set for the whole machine and set back, which needs root and a kernel with
Yama: a guest. The value 3 stays until the next boot, so it is tried in a run that is told
to be the last (ADMA_YAMA_FINAL=1), by the last test of this file.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import LARGE
from support import places
from support.calls import confined, meeting
from support.confine import USER
from support.mechanisms import FORCED

CMA = "mapped:cma"
ANY = {"ADMA_PTRACER": "any"}
_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
_FINAL = os.environ.get("ADMA_YAMA_FINAL") == "1"


def _changeable() -> bool:
    """At 3 nobody, not even root, may set it any more."""
    try:
        _SCOPE.write_text(_SCOPE.read_text())
    except OSError:
        return False
    return True


pytestmark = [
    pytest.mark.alone,  # ptrace_scope is the machine's
    pytest.mark.root,
    pytest.mark.skipif(not _SCOPE.exists(), reason="this kernel has no Yama"),
    pytest.mark.skipif(
        _SCOPE.exists() and not _changeable(), reason="Yama's ptrace_scope cannot be changed here"
    ),
]


@pytest.fixture
def scope() -> Iterator[Callable[[int], None]]:
    """Sets ptrace_scope; it is set back afterwards."""
    before = _SCOPE.read_text()

    def set_scope(value: int) -> None:
        _SCOPE.write_text(str(value))

    yield set_scope
    _SCOPE.write_text(before)


@pytest.fixture
def house() -> Iterator[Path]:
    """A directory of USER's, with a short path."""
    made = places.public()
    os.chown(made, USER, USER)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    """Starts processes of an ordinary user, siblings of each other."""
    peers: list[Peer] = []

    def begin(environment: dict[str, str] | None = None) -> Peer:
        peers.append(Peer(environment=environment))
        peers[-1].call(confined.become_user)
        return peers[-1]

    yield begin
    for peer in peers:
        if peer in Peer.alive:
            peer.close()


def exchange(first: Peer, second: Peer) -> None:
    """A large message each way."""
    for writer, reader in ((first, second), (second, first)):
        reading = reader.begin(messages.read_expected, LARGE, 1)
        writer.call(messages.write, LARGE, 1)
        reading.result()


def meet(server: Peer, client: Peer, door: Path, mechanism: str) -> None:
    """By name, so that it is known who is the client."""
    name = str(door)
    server.call(meeting.listen, name)
    accepting = server.begin(meeting.accept, name)
    client.call(meeting.connect, name, mechanism)
    accepting.result()
    server.call(meeting.stop, name)


def refusal(first: Peer, second: Peer) -> adma.MechanismUnavailable:
    """What both ends are told of mapped:cma, over a socket that both were given."""
    errors = []
    for task in first.begin_connect_to(second, CMA):
        with pytest.raises(adma.MechanismUnavailable) as caught:
            task.result()
        errors.append(caught.value)
    assert errors[0].errno == errors[1].errno == errno.EPERM
    assert errors[0].cause == errors[1].cause
    return errors[0]


def all_others_work(start: Callable[..., Peer]) -> None:
    """Every mechanism but mapped:cma, and what `auto` takes in its place."""
    helper = ("dma", "mapped:helper")
    expected = os.environ.get("ADMA_EXPECT_HELPER") == "1"
    if expected:
        assert set(helper) <= set(FORCED)
    first, second = start(), start()
    for mechanism in ("auto", *FORCED):
        if mechanism == CMA or (mechanism in helper and not expected):
            continue
        first.connect_to(second, mechanism)
        exchange(first, second)


@pytest.fixture(autouse=True)
def _helper_for_all() -> Iterator[None]:
    """Everybody may open the helper's device: who may is another matter."""
    device = "/dev/adma"
    if not os.path.exists(device):
        yield
        return
    mode = os.stat(device).st_mode & 0o7777
    os.chmod(device, 0o666)
    yield
    os.chmod(device, mode)


def test_scope_0(scope: Callable[[int], None], start: Callable[..., Peer]) -> None:
    scope(0)
    first, second = start(), start()
    first.connect_to(second, CMA)
    exchange(first, second)
    all_others_work(start)


def test_scope_1_over_a_socket_names_nobody(
    scope: Callable[[int], None], start: Callable[..., Peer]
) -> None:
    scope(1)
    error = refusal(start(), start())
    assert error.cause == "Yama's ptrace_scope is 1, and the peer has not named this process"
    assert "ADMA_PTRACER=any" in error.cure
    all_others_work(start)


@pytest.mark.parametrize("mechanism", [CMA, "auto"])
def test_scope_1_the_client_names_its_server(
    scope: Callable[[int], None], start: Callable[..., Peer], house: Path, mechanism: str
) -> None:
    """Then the server copies, both ways."""
    scope(1)
    server, client = start(), start()
    meet(server, client, house / "door", mechanism)
    exchange(server, client)
    exchange(server, client)
    assert CMA in client.call(messages.explain, LARGE)


def test_scope_1_one_tracer_for_each_process(
    scope: Callable[[int], None], start: Callable[..., Peer], house: Path
) -> None:
    """The first server stays named as long as it lives, the second one does without."""
    scope(1)
    first, second, third, client = start(), start(), start(), start()
    meet(first, client, house / "first", CMA)
    with pytest.raises(adma.MechanismUnavailable, match="has named another process") as info:
        forced = str(house / "forced")
        second.call(meeting.listen, forced)
        accepting = second.begin(meeting.turn_away, forced)
        client.call(meeting.connect, forced, CMA)
    assert "ADMA_PTRACER=any" in info.value.cure
    accepting.result()
    second.call(meeting.stop, forced)

    meet(second, client, house / "second", "auto")
    exchange(second, client)
    assert "ptrace_scope is 1" in second.call(messages.explain, LARGE)
    client.call(messages.close_channel)
    second.call(messages.close_channel)

    exchange(first, client)  # the first one's right is what it was
    first.kill()
    meet(third, client, house / "third", CMA)
    exchange(third, client)


def test_scope_1_where_anybody_may_trace(
    scope: Callable[[int], None], start: Callable[..., Peer]
) -> None:
    scope(1)
    first, second = start(ANY), start(ANY)
    first.connect_to(second, CMA)
    exchange(first, second)


def test_scope_1_one_end_is_enough(
    scope: Callable[[int], None], start: Callable[..., Peer]
) -> None:
    """The end that may look into the other copies, both ways."""
    scope(1)
    first, second = start(ANY), start()
    first.connect_to(second, CMA)
    exchange(first, second)


def test_scope_2(scope: Callable[[int], None], start: Callable[..., Peer], house: Path) -> None:
    scope(2)
    for environment in (None, ANY):
        error = refusal(start(environment), start(environment))
        assert "ptrace_scope is 2" in error.cause
        assert "CAP_SYS_PTRACE" in error.cure
    server, client = start(), start()
    meet(server, client, house / "door", "auto")
    exchange(server, client)
    assert "ptrace_scope is 2" in server.call(messages.explain, LARGE)
    all_others_work(start)


def test_scope_2_does_not_bind_who_may_trace_anybody(
    scope: Callable[[int], None], fresh_peers: tuple[Peer, Peer]
) -> None:
    """Root, here."""
    scope(2)
    fresh_peers[0].connect_to(fresh_peers[1], CMA)
    exchange(*fresh_peers)


def test_a_scope_that_changes_in_mid_life(
    scope: Callable[[int], None], start: Callable[..., Peer]
) -> None:
    """The transfer that meets it, and all after it, are made by another mechanism."""
    scope(0)
    first, second = start(), start()
    first.connect_to(second)
    exchange(first, second)
    scope(2)
    # The reader computes: while both wait, `auto` may choose a mechanism that needs no rights.
    second.call(messages.iread, "read", LARGE)
    first.call(messages.write, LARGE)
    second.call(messages.wait, "read")
    assert second.call(messages.stats)["redone"] == 1
    exchange(first, second)


@pytest.mark.skipif(not _FINAL, reason="cannot be undone before the next boot (ADMA_YAMA_FINAL=1)")
def test_scope_3_which_stays(start: Callable[..., Peer], fresh_peers: tuple[Peer, Peer]) -> None:
    """Not for root, either. The last one of this file."""
    _SCOPE.write_text("3")
    error = refusal(*fresh_peers)
    assert "ptrace_scope is 3" in error.cause
    assert "boot with" in error.cure
    assert "ptrace_scope is 3" in refusal(start(ANY), start(ANY)).cause
    all_others_work(start)
