# SPDX-License-Identifier: BSD-3-Clause
"""Tests that every mechanism passes, for mechanisms and channels that others have written, too.

The kit needs pytest and hypothesis (``pip install 'adma[testing]'``). It needs neither root
nor a special build of adma. A test module of yours derives one class and names what it tests::

    import pigeon                      # where the mechanism registers itself, for this process
    from adma.testing import ConformanceSuite

    class TestPigeon(ConformanceSuite):
        mechanisms = ("pigeon",)       # forced, one after the other; "auto" is a name, too
        preload = ("pigeon",)          # modules that each peer process imports before it connects

    class TestLogged(ConformanceSuite):
        wrap = LoggedChannel           # called with the adma.Channel, at both ends

Pytest then finds about a hundred tests for each mechanism. A test has one end of a channel in
its own process, and the other in a `Peer`: a fresh interpreter that calls what the test asks it
to. What the tests ask for is in `adma.testing.calls`; a test of your own may ask for any function
that the peer can import and whose first argument is an `Endpoint`::

    from adma.testing import ConformanceSuite, calls

    class TestPigeon(ConformanceSuite):
        def test_it_comes_back(self, peer, channel):
            echoing = peer.begin(calls.messages.echo, 100, 1)
            ...

`InProcessSuite` has both ends in one process, the peer's in a thread. It leaves out the tests
of a peer that is killed. To test less, derive from parts: `conformance.Sizes`, `conformance.Order`
and so on, whose docstrings say what each of them checks.

After each test both processes must hold what they held before: threads, descriptors, mappings,
children (`leaks`). Nothing here but `ConformanceSuite`, `InProcessSuite` and `conformance`
imports pytest, so that a peer starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import calls, leaks, observe, payload
from .endpoint import Endpoint, at_rest
from .peer import Peer, PeerGone, Task
from .thread_peer import ThreadPeer

if TYPE_CHECKING:
    from . import conformance
    from .conformance import ConformanceSuite, InProcessSuite

__all__ = [
    "ConformanceSuite",
    "Endpoint",
    "InProcessSuite",
    "Peer",
    "PeerGone",
    "Task",
    "ThreadPeer",
    "at_rest",
    "calls",
    "conformance",
    "leaks",
    "observe",
    "payload",
]


def __getattr__(name: str) -> Any:
    if name not in ("conformance", "ConformanceSuite", "InProcessSuite"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.conformance")
    return module if name == "conformance" else getattr(module, name)
