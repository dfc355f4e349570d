# SPDX-License-Identifier: BSD-3-Clause
"""A word that a peer can write is read by a function: a check and the compiler find what is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "shared_words.py"
NATIVE = Path("transport", "native")
HONEST = """\
#include "shm/layout.h"
#include "shm/summary.h"
uint64_t look(struct adma_slot *slot);
uint64_t look(struct adma_slot *slot)
{
	/* slot->state and peer_writable are named in a comment */
	uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);

	return state + adma_shared_load_u64(&slot->length);
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The headers of shared memory, and a file that uses them well."""
    for name in ("layout.h", "summary.h", "shared.h"):
        (tmp_path / NATIVE / "shm").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / NATIVE / "shm" / name, tmp_path / NATIVE / "shm" / name)
    (tmp_path / NATIVE / "look.c").write_text(HONEST)
    return tmp_path


def check(tree: Path) -> list[str]:
    done = subprocess.run([sys.executable, str(SCRIPT), str(tree)], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1:] == [f"shared words: {len(lines) - 1} violations"], done.stderr
    assert done.returncode == (len(lines) > 1)
    return lines[:-1]


def change(tree: Path, name: str, old: str, new: str) -> None:
    path = tree / NATIVE / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_core_obeys() -> None:
    assert check(ROOT) == []


def test_a_small_tree_obeys(tree: Path) -> None:
    assert check(tree) == []


def test_a_plain_member(tree: Path) -> None:
    change(tree, "shm/layout.h", "struct adma_shared_u64 chunk;", "uint64_t chunk;")
    (line,) = check(tree)
    assert "chunk: a plain uint64_t of shared memory; cure:" in line


def test_a_plain_member_of_a_summary(tree: Path) -> None:
    change(tree, "shm/summary.h", "_Atomic uint64_t top;", "uint64_t top;")
    (line,) = check(tree)
    assert "top: a plain uint64_t" in line


def test_a_member_that_is_named(tree: Path) -> None:
    change(tree, "look.c", "adma_shared_load_u64(&slot->length)", "slot->length.peer_writable")
    (line,) = check(tree)
    assert line.startswith(f"{NATIVE}/look.c:9: peer_writable is named")


def test_an_atomic_word_that_is_read_in_passing(tree: Path) -> None:
    old = "atomic_load_explicit(&slot->state, memory_order_acquire)"
    change(tree, "look.c", old, "slot->state")
    (line,) = check(tree)
    assert line.startswith(f"{NATIVE}/look.c:7: slot->state is read without")


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.parametrize("word", ["adma_shared_load_u64(&slot->length)", "slot->length"])
def test_a_compiler_refuses_what_is_not_loaded(tree: Path, word: str) -> None:
    change(tree, "look.c", "adma_shared_load_u64(&slot->length)", word)
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-fsyntax-only", "-I.", "look.c"]
    done = subprocess.run(command, cwd=tree / NATIVE, capture_output=True, text=True)
    assert (done.returncode == 0) == word.startswith("adma"), done.stderr
