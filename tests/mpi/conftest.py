# SPDX-License-Identifier: BSD-3-Clause
"""The marks of tests over MPI."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "whole: left to make test-mpi by make test-mpi-quick")
    config.addinivalue_line("markers", "alone: prints a time, or changes the machine's network")
