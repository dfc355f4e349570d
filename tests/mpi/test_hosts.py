# SPDX-License-Identifier: BSD-3-Clause
"""Two hosts, which are network namespaces, and a hostfile: adma within a host, MPI between them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import LIMIT, run
from launch import Flavour
from test_cases import CASES, OF_ONE_NODE

pytestmark = [pytest.mark.alone, pytest.mark.whole]
CASES_FILE = Path(__file__).with_name("cases.py")
ADDRESSES = "10.213.7.1", "10.213.7.2"
# What mpiexec calls in place of ssh: options, a host, and a command for its shell.
LAUNCHER = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec ip netns exec "PREFIX-$host" sh -c "$*"
"""
WHO = """
from adma import MPI, mpi
comm = MPI.COMM_WORLD
by = ["MPI" if comm.explain(each, 8).carry == "MPI" else "adma" for each in range(4)]
one, other = (comm.rank + 1) % 4, (comm.rank - 1) % 4
assert comm.sendrecv(comm.rank, one, source=other) == other
told = comm.gather((by, mpi.stats()))
if comm.rank == 0:
    print(told)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Flavour, tuple[str, ...]]]:
    """MPICH on both, two ranks each, and the command that runs mpiexec on the first."""
    prefix = f"adma-{os.getpid()}"
    names = [f"{prefix}-{address}" for address in ADDRESSES]
    made: list[str] = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        ends = "adma0", "adma1"
        ip(
            "link",
            "add",
            ends[0],
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            ends[1],
            "netns",
            names[1],
        )
        for name, end, address in zip(names, ends, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            for each in ("lo", end):
                ip("-n", name, "link", "set", each, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for name in made:
            ip("netns", "del", name)
        pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', '') or error}")
    directory = tmp_path_factory.mktemp("hosts")
    (directory / "hosts").write_text("".join(f"{address}:2\n" for address in ADDRESSES))
    launcher = directory / "launcher"
    launcher.write_text(LAUNCHER.replace("PREFIX", prefix))
    launcher.chmod(0o700)
    options = ("-launcher", "ssh", "-launcher-exec", str(launcher), "-f", str(directory / "hosts"))
    yield Flavour("hosts", "mpich", options), ("ip", "netns", "exec", names[0])
    for name in names:
        ip("netns", "del", name)


def test_who_is_on_which_host(hosts: tuple[Flavour, tuple[str, ...]]) -> None:
    flavour, above = hosts
    output = run(flavour, 4, "-c", WHO, above=above)
    first, second = ["adma", "adma", "MPI", "MPI"], ["MPI", "MPI", "adma", "adma"]
    by_adma, by_mpi = {"carried": 1, "by_mpi": 0}, {"carried": 0, "by_mpi": 1}
    told = [(first, by_adma), (first, by_mpi), (second, by_adma), (second, by_mpi)]
    assert output == f"{told}\n"


def test_what_ranks_rely_on_between_hosts(hosts: tuple[Flavour, tuple[str, ...]]) -> None:
    flavour, above = hosts
    names = [name for name in CASES if name not in OF_ONE_NODE]
    output = run(flavour, 4, CASES_FILE, ",".join(names), LIMIT, above=above)
    for name in names:
        assert output.split().count(name) == 4
