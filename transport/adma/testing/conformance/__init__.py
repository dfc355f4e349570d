# SPDX-License-Identifier: BSD-3-Clause
"""What every channel does alike, whatever moves the bytes: tests in parts, and all of them.

The tests know the name of a mechanism and nothing else of it. See `adma.testing` for how to
put one through them.
"""

from __future__ import annotations

try:
    import hypothesis as _  # noqa: F401
    import pytest
except ModuleNotFoundError as error:
    raise ImportError(
        f"the conformance kit of adma needs {error.name}; cure: pip install 'adma[testing]'",
        name=error.name,
    ) from None

_PARTS = """
base cancelling closing death kinds order probing random_steps reports sizes timeouts too_long
waiting
"""
# Before they are imported: pytest shows the values in their assertions.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS.split()))

from .base import Conformance, InProcess  # noqa: E402
from .cancelling import Cancelling  # noqa: E402
from .closing import Closing  # noqa: E402
from .death import Death  # noqa: E402
from .kinds import Kinds  # noqa: E402
from .order import Order  # noqa: E402
from .probing import Probing  # noqa: E402
from .random_steps import RandomSteps  # noqa: E402
from .reports import Reports  # noqa: E402
from .sizes import Sizes  # noqa: E402
from .timeouts import Timeouts  # noqa: E402
from .too_long import TooLong  # noqa: E402
from .waiting import Waiting  # noqa: E402

__all__ = [
    "Cancelling",
    "Closing",
    "Conformance",
    "ConformanceSuite",
    "Death",
    "InProcess",
    "InProcessSuite",
    "Kinds",
    "Order",
    "Probing",
    "RandomSteps",
    "Reports",
    "Sizes",
    "Timeouts",
    "TooLong",
    "Waiting",
    "WithoutDeath",
]


class WithoutDeath(
    Sizes,
    Order,
    Kinds,
    Probing,
    Waiting,
    TooLong,
    Cancelling,
    Timeouts,
    Closing,
    Reports,
    RandomSteps,
):
    """All parts but `Death`, between this process and a peer."""


class ConformanceSuite(WithoutDeath, Death):
    """All parts, between this process and a peer process."""


class InProcessSuite(InProcess, WithoutDeath):
    """All parts but `Death`, between two threads of this process."""
