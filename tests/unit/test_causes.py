# SPDX-License-Identifier: BSD-3-Clause
"""What is told of an errno: one cause and one cure for each step that the system may refuse."""

from __future__ import annotations

import errno
import itertools
import os
import re

import pytest

from adma import errors, kernel_helper
from adma.bench import table
from adma.bench.schema import Contestant, Report
from adma.cli import pingpong
from adma.mechanisms import NAMES, Refusal, cma, loopback

ERRNOS = sorted(errno.errorcode)
PAIRS = list(itertools.product(errors.TRIED, ERRNOS))


def test_every_pair_has_a_cause_and_a_cure() -> None:
    for tried, number in PAIRS:
        cause, cure = errors.explain(tried, number)
        assert cause, (tried, number)
        assert cure, (tried, number)
        assert "{" not in cause + cure
        assert cause not in cure


def test_a_failure_says_each_thing_once() -> None:
    """What was tried, why it failed, and what helps: nothing of it twice."""
    for tried, number in PAIRS:
        error = errors.failure(tried, number)
        assert error.errno == number
        text = str(error.strerror)
        told, _ = errors.TRIED[tried]
        assert text.startswith(f"{told}: ")
        assert text.count("; cure: ") == 1
        for part in (told, os.strerror(number)):
            assert text.count(part) <= 1, text
        assert "connect anew" not in text


def test_one_errno_has_one_cause() -> None:
    """Two errnos of the same step are told apart, as far as the table knows them."""
    for tried in errors.TRIED:
        causes = {number: errors.explain(tried, number)[0] for number in ERRNOS}
        # The same number under two names is one errno.
        assert len(set(causes.values())) >= len(set(causes)) - 2, tried


def test_only_a_shortage_of_memory_is_called_so() -> None:
    for number in ERRNOS:
        text = str(errors.failure("rings", number))
        assert ("memory left" in text) is (number == errno.ENOMEM)


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EPERM, "memfd_create"),
        (errno.ENOSYS, "newer kernel"),
        (errno.ENOMEM, "container"),
    ],
)
def test_the_cure_names_what_to_change(number: int, word: str) -> None:
    assert word in errors.explain("rings", number)[1]


@pytest.mark.parametrize("name", list(NAMES.values()))
def test_a_mechanism_that_failed_has_causes_of_its_own(name: str) -> None:
    """They are in the table, so that no mechanism is told of in general words."""
    assert name in errors.TRIED


@pytest.mark.parametrize("number", ERRNOS)
def test_a_refusal_does_not_repeat_itself(number: int) -> None:
    words = os.strerror(number)
    texts = [
        str(Refusal("shared", number, words)),
        str(Refusal("mapped:cma", number, *cma.explain(number, cma.Circumstances()))),
        str(Refusal("loopback:tcp", number, *loopback.explain(number, "127.0.0.1"))),
        str(Refusal("dma", number, *kernel_helper.explain(number, kernel_helper.Circumstances()))),
    ]
    for text in texts:
        assert text.count(words) == 1, text


@pytest.mark.parametrize("number", ERRNOS)
def test_every_refusal_has_a_cure(number: int) -> None:
    for found in (
        cma.explain(number, cma.Circumstances()),
        loopback.explain(number, "127.0.0.1"),
        kernel_helper.explain(number, kernel_helper.Circumstances()),
        kernel_helper.explain_dma(number, kernel_helper.Circumstances(loaded=True)),
        kernel_helper.explain_copies(number, kernel_helper.Circumstances(loaded=True)),
    ):
        assert all(found)


def test_a_contestant_that_is_missing_tells_its_cure_once() -> None:
    """As `adma pingpong` prints it, and as it stores it."""
    cure = "load the module"
    why = f"MechanismUnavailable: no module; cure: {cure}"
    missing = Contestant("adma:dma", "dma", measured=False, why=why, cure=cure)
    assert table.cast([missing]).count(cure) == 1
    report = Report("pingpong")
    report.contestants = [missing]
    (probe,) = pingpong.probes(report)
    assert (probe["cause"], probe["cure"]) == ("MechanismUnavailable: no module", cure)


def test_the_module_is_for_those_who_installed_a_wheel_too() -> None:
    """A wheel has no folder of the kernel module."""
    _, cure = kernel_helper.explain(errno.ENOENT, kernel_helper.Circumstances())
    assert "source distribution" in cure
    assert not re.search(r"make -C", cure)
