# SPDX-License-Identifier: BSD-3-Clause
"""What others put in the way of ADMA_TRACE; the environment of programs with more rights.

Whoever starts a set-user-id program chooses its environment. Such a program is started here by
exec(2) with a real uid that is another than the effective one, which is how the kernel sees it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adma.testing.peer import search_path
from support import places
from support.endpoints import InChild, become
from support.memory import IS_SANITIZED

VICTIM, ATTACKER = 4321, 4322
OWN = "this user's own"

pytestmark = [
    pytest.mark.root,
    # Programs are started with an environment of their own, without what loads the sanitizer.
    pytest.mark.skipif(IS_SANITIZED, reason="AddressSanitizer has to be loaded first"),
]


# ---- ADMA_TRACE ----


@pytest.fixture
def crowd() -> Iterator[Path]:
    """A directory like /tmp, with a file of the victim's beside it."""
    base = places.public()
    directory = base / "crowd"
    directory.mkdir()
    directory.chmod(0o1777)
    own = base / "own"
    own.write_text(OWN)
    os.chown(own, 0, 0)
    yield directory
    shutil.rmtree(base)


def put_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "own")


def put_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "new")


def put_hard_link(path: Path) -> None:
    os.link(path.parent.parent / "own", path)


def put_file(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def put_fifo(path: Path) -> None:
    os.mkfifo(path, 0o666)
    path.chmod(0o666)


def put_directory(path: Path) -> None:
    path.mkdir(mode=0o777)


IN_THE_WAY: list[Callable[[Path], None]] = [
    put_link, put_dangling_link, put_hard_link, put_file, put_fifo, put_directory,
]  # fmt: skip


def as_attacker(put: Callable[[Path], None], path: Path) -> None:
    """In another user's name; but links to files of others only root makes on most systems."""

    def run() -> None:
        if put is not put_hard_link:
            become(ATTACKER)
        put(path)

    InChild(run).result()


def run_python(code: str, environment: dict[str, str], user: Callable[[], None]) -> tuple[int, str]:
    """Run a program as `user` makes it; its exit status, and what it printed, errors included."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(into, 1)
            os.dup2(into, 2)
            user()
            kept = {"PATH": os.environ["PATH"], "PYTHONPATH": search_path()}
            os.execve(sys.executable, [sys.executable, "-c", code], kept | environment)
        finally:
            os._exit(127)
    os.close(into)
    with open(out) as pipe:
        text = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def stay() -> None:
    """As this user: it is the victim here, since others may not reach this Python."""


@pytest.mark.parametrize("put", IN_THE_WAY)
def test_what_another_user_put_in_the_way_of_a_timeline(
    crowd: Path, put: Callable[[Path], None]
) -> None:
    path = crowd / "timeline.json"
    as_attacker(put, path)
    status, said = run_python("import adma", {"ADMA_TRACE": str(path)}, stay)
    assert status == 1
    assert f"ADMA_TRACE: {str(path)!r} cannot be written: " in said
    check_untouched(path)


@pytest.mark.parametrize("put", IN_THE_WAY)
def test_what_is_in_the_way_when_the_program_ends(crowd: Path, put: Callable[[Path], None]) -> None:
    """Its file was made as it began, and something else is there now."""
    path = crowd / "timeline.json"
    ready, go = os.pipe(), os.pipe()
    for fd in (ready[1], go[0]):
        os.set_inheritable(fd, True)

    def between() -> None:
        os.read(ready[0], 1)
        path.unlink()
        as_attacker(put, path)
        os.write(go[1], b"!")

    other = InChild(between)
    code = f"import adma, os; os.write({ready[1]}, b'!'); os.read({go[0]}, 1)"
    status, said = run_python(code, {"ADMA_TRACE": str(path)}, stay)
    other.result()
    for fd in (*ready, *go):
        os.close(fd)
    assert status == 0
    assert f"the trace {str(path)!r} was not written: " in said
    check_untouched(path)


def check_untouched(path: Path) -> None:
    """Nothing was written to, or made."""
    assert (path.parent.parent / "own").read_text() == OWN
    assert not (path.parent / "new").exists()
    if path.is_file():
        assert path.read_text() in ("", OWN)


def test_a_fifo_that_somebody_reads(crowd: Path) -> None:
    """So that it can be opened. The timeline is not handed over."""
    path = crowd / "timeline.json"
    as_attacker(put_fifo, path)

    def read() -> bytes:
        become(ATTACKER)
        out = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.write(into, b"!")
        os.read(gone, 1)
        return os.read(out, 1)

    reading, into = os.pipe()
    gone, done = os.pipe()
    reader = InChild(read)
    os.read(reading, 1)
    status, said = run_python("import adma", {"ADMA_TRACE": str(path)}, stay)
    os.write(done, b"!")
    assert reader.result() == b""
    for fd in (reading, into, gone, done):
        os.close(fd)
    assert status == 1
    assert "no regular file" in said


def test_ones_own_file_is_written_anew(crowd: Path) -> None:
    path = crowd / "timeline.json"
    path.write_text("x" * 100_000)
    assert run_python("import adma", {"ADMA_TRACE": str(path)}, stay) == (0, "")
    json.loads(path.read_text())


# ---- programs with more rights than who started them ----

# All that the environment may choose: a file, an address, directories, and what would be an error.
CHOSEN = {
    "ADMA_LOOPBACK_ADDRESS": "127.9.9.9",
    "ADMA_PTRACER": "any",
    "ADMA_OPEN_DIR": "/chosen",
    "ADMA_COPIERS": "reader",
    "ADMA_LEARN": "0",
    "ADMA_ENGINE": "chosen",
    "TMPDIR": "/var/tmp",
    "TEMP": "/var/tmp",
}
TELL = """
from adma import config
from adma.connect import place
from adma.copying import engine
import adma
adma.copy(bytearray(1 << 20), bytes(1 << 20))
print(config.loopback_address(), config.any_tracer(), config.open_directory(), config.copiers(),
      config.learns(),
      repr(config.runtime_directory()), place._temporary())
"""
UNSET = "127.0.0.1 False /tmp both True '' /tmp\n"


def more_rights(what: str) -> None:
    """The next program that this process runs has another effective id than its real one."""
    if what == "user":
        os.setresuid(VICTIM, 0, 0)
    else:
        os.setresgid(VICTIM, 0, 0)


def with_more_rights(what: str, code: str, environment: dict[str, str]) -> tuple[int, str]:
    return run_python(code, environment, lambda: more_rights(what))


# Right after the exec; after the rights were given back, which only AT_SECURE remembers; and in a
# program whose own code changed the effective id, which AT_SECURE does not know of.
GIVE_BACK = "import os; os.setresgid(0, 0, 0); os.setresuid(0, 0, 0)\n"


@pytest.mark.parametrize("before", ["", GIVE_BACK], ids=["", "given back"])
@pytest.mark.parametrize("what", ["user", "group"])
def test_a_set_id_program_heeds_no_variable(crowd: Path, what: str, before: str) -> None:
    trace = crowd / "trace.json"
    runtime = {"XDG_RUNTIME_DIR": str(crowd.parent)}
    chosen = {**CHOSEN, **runtime, "ADMA_TRACE": str(trace)}
    assert with_more_rights(what, before + TELL, chosen) == (0, UNSET)
    assert not trace.exists()


@pytest.mark.parametrize("what", ["user", "group"])
def test_a_program_that_changed_its_effective_id_before(crowd: Path, what: str) -> None:
    trace = crowd / "trace.json"
    change = {"user": "os.setresuid(4321, 0, 0)", "group": "os.setresgid(4321, 0, 0)"}[what]
    chosen = {**CHOSEN, "ADMA_TRACE": str(trace)}
    assert run_python(f"import os; {change}\n{TELL}", chosen, stay) == (0, UNSET)
    assert not trace.exists()


def test_an_ordinary_program_heeds_them(crowd: Path) -> None:
    """Otherwise the tests above would show nothing."""
    trace = crowd / "trace.json"
    chosen = {**CHOSEN, "ADMA_TRACE": str(trace)}
    del chosen["ADMA_ENGINE"]
    runtime = {"XDG_RUNTIME_DIR": str(crowd.parent)}
    told = f"127.9.9.9 True /chosen reader False '{crowd.parent}' /var/tmp\n"
    assert run_python(TELL, chosen | runtime, stay) == (0, told)
    assert trace.stat().st_size
