# SPDX-License-Identifier: BSD-3-Clause
"""What is run, on how many ranks, and every test that is known not to pass, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

ALL = (1, 2, 3, 4)
#: Ranks by the MPI; see `launch.FLAVOURS`.
Quick = Mapping[str, tuple[int, ...]]
ONE: Quick = {"mpich": (1,), "openmpi": (1,)}
PAIRS: Quick = {"mpich": (2,), "openmpi": (2,), "cliques": (2,)}
SEVERAL: Quick = {"mpich": (1, 3), "openmpi": (3,), "cliques": (3,)}


@dataclass(frozen=True)
class Module:
    """A module of mpi4py's tests, one of its demos, or a benchmark of `mpi4py.bench`."""

    name: str
    ranks: tuple[int, ...] = ALL
    #: Must adma carry messages in it? Otherwise a wrapper that hands all on to MPI would pass.
    carries: bool = False
    #: Must it even do so in each test?
    each: bool = False
    #: Do messages go both ways where the ranks are on several nodes?
    mixed: bool = False
    #: Is it run over communicators made from the world, too?
    communicators: bool = False
    #: On how many ranks it is run with --quick, by the MPI.
    quick: Quick = field(default_factory=dict)


MODULES = (
    Module("test_p2p_buf", carries=True, mixed=True, communicators=True, quick=PAIRS),
    Module("test_p2p_buf_matched", carries=True, mixed=True, communicators=True, quick=PAIRS),
    Module(
        "test_p2p_buf_part",
        carries=True,
        mixed=True,
        communicators=True,
        quick={"mpich": (2,), "openmpi": (1,)},  # it sends more than all others together
    ),
    Module("test_p2p_obj", carries=True, mixed=True, communicators=True, quick=SEVERAL),
    Module("test_p2p_obj_matched", carries=True, mixed=True, communicators=True, quick=SEVERAL),
    Module("test_request", quick=ONE),
    Module("test_status", quick=ONE),
    Module("test_msgspec", carries=True, quick={"mpich": (1,)}),
    Module("test_msgzero", carries=True, communicators=True, quick=PAIRS),
    Module("test_pickle", carries=True, quick=PAIRS),
    Module("test_threads", quick={"mpich": (2,)}),
    Module("test_subclass", quick={"mpich": (2,)}),  # what it sends goes to PROC_NULL
    Module("test_buffer", quick={"mpich": (1,)}),
    Module("test_pack", quick={"mpich": (1,)}),
    Module("test_grequest", quick=ONE),
    Module("test_util_pool"),
    Module("test_util_pkl5", carries=True, communicators=True, quick={"mpich": (2,)}),
    Module("osu_latency", (2,), carries=True, quick={"mpich": (2,)}),
    Module("osu_bw", (2,), carries=True, quick={"mpich": (2,)}),
    Module("osu_bibw", (2,), carries=True, quick={"mpich": (2,)}),
    Module("osu_multi_lat", (2, 4), carries=True, quick={"mpich": (4,)}),
    Module("osu_allgather", (2, 4)),
    Module("osu_alltoall", (2, 4)),
    Module("osu_alltoallv", (2, 4)),
    Module("osu_barrier", (2, 4)),
    Module("osu_bcast", (2, 4)),
    Module("osu_gather", (2, 4)),
    Module("osu_scatter", (2, 4)),
    Module("pingpong", (1, 2), carries=True, each=True, quick=PAIRS),
)


@dataclass(frozen=True)
class Expected:
    """Tests that do not pass, by a pattern of `Class.method`, and why."""

    module: str
    test: str
    reason: str
    mpi: str = "*"
    namespace: str = "*"
    #: It would hang, or end the process: it is not run.
    left_out: bool = False
    #: It fails at times, so that it may pass, too.
    sometimes: bool = False

    def holds(self, mpi: str, namespace: str, module: str) -> bool:
        return (
            module == self.module
            and fnmatchcase(mpi, self.mpi)
            and fnmatchcase(namespace, self.namespace)
        )


EXPECTED: tuple[Expected, ...] = ()
