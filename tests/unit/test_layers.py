# SPDX-License-Identifier: BSD-3-Clause
"""The check of layers finds each kind of violation, and nothing else.

Each test seeds one violation into a small tree in which all is well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "layers"
CORE, PACKAGE, MODULE = "transport/native", "transport/adma", "kernel/module"

TABLE = """\
# Architecture

<!-- layers -->
| tree | layer | files | what it is |
|------|-------|-------|------------|
| `transport/native` | api | `api/` | entry points |
| | ring | `ring/*.c` and `ring/*.h` | |
| | base | `base/` | |
| | include | `include/**` | |
| `transport/adma` | public | `__init__.py` | |
| | channel | `channel.py` | |
| | errors | `errors.py` | |
| | core | `_core/` | |
| `kernel/module` | main | `main.c` | |
| | pin | `pin.c`, `pin.h` | |
| | user | `user.?` | |

One header for several files:
`transport/native/ring/ring.h`.
<!-- /layers -->
"""

TREE = {
    "docs/architecture.md": TABLE,
    # The names base_one and list_add are those of functions of other files, too.
    f"{CORE}/include/core.h": "int api_send(int n);\n",
    f"{CORE}/api/send.c": """\
        #include "base/list.h"
        #include "core.h"
        #include "../ring/ring.h"
        int api_send(int n)
        {
            ring_turn = ring_push(n) + LIST_ADD(n);
            return n;
        }
        """,
    f"{CORE}/ring/ring.h": """\
        #ifndef RING_H
        #define RING_H
        struct ring_ops {
            int (*push)(int n); /* api_send() is not used here */
        };
        extern int ring_turn;
        extern const struct ring_ops
            ring_fast;
        int ring_push(
            int n);
        #ifdef __cplusplus
        }
        #endif
        #endif
        """,
    f"{CORE}/ring/ring.c": """\
        #include "ring.h"
        #include "base/list.h"
        int ring_turn;
        int ring_push(int n)
        {
            return ring_fast.push ? list_add(n, 0) : n;
        }
        """,
    f"{CORE}/ring/ring_fast.c": """\
        #include "ring.h"
        static int list_add(int n) { return n; }
        const struct ring_ops ring_fast = {
            .push = list_add,
        };
        """,
    f"{CORE}/base/list.h": """\
        #define LIST_ADD(n) list_add(n, \\
                                     1)
        static inline int list_add(int n, int m) { return n + m; }
        int base_one(const char *api_send, int (*ring_push)(int));
        """,
    f"{CORE}/base/list.c": """\
        #include "list.h"
        struct entry { int ring_push, ring_turn; };
        static int go(struct entry *entry, struct entry one);
        __attribute__((noinline)) int base_one(const char *api_send, int (*ring_push)(int))
        {
            struct entry one = { .ring_push = *api_send }, *ring_fast = &one;
            int (*api)(int) = ring_push;

        #if 1
            if (api(1)) {
        #else
            if (api(2)) {
        #endif
                for (unsigned ring_turn = 0; ring_turn < 2; ring_turn++)
                    goto ring_push;
            }
        ring_push:
            return one.ring_turn + go(ring_fast, one);
        }
        static int go(struct entry *entry, struct entry one)
        {
            return entry->ring_turn + one.ring_push + 'a' + "api_send(1)"[0]; // api_send(1)
        }
        """,
    f"{PACKAGE}/__init__.py": "from .channel import Channel\nfrom .errors import Closed\n",
    f"{PACKAGE}/channel.py": """\
        from typing import TYPE_CHECKING

        from ._core import handle
        if TYPE_CHECKING:
            from . import Closed


        class Channel:
            def close(self):
                from adma.errors import Closed
        """,
    f"{PACKAGE}/errors.py": "class Closed(Exception): ...\n",
    f"{PACKAGE}/_core/__init__.py": "",
    f"{PACKAGE}/_core/handle.py": "from .._native import ffi, lib\n",
    f"{MODULE}/main.c": """\
        #include <linux/module.h>
        #include "pin.h"
        #include "user.h"
        static DEFINE_MUTEX(user_lock);
        static int __init main_init(void)
        {
            struct pin *pin;

            mutex_lock(&user_lock);
            list_for_each_entry(pin, &pins, node)
                user_get(pin->user_get);
            return pin_init();
        }
        module_init(main_init);
        MODULE_LICENSE("GPL");
        """,
    f"{MODULE}/pin.h": "extern struct list_head pins;\nint __must_check pin_init(void);\n",
    f"{MODULE}/pin.c": '#include "pin.h"\nLIST_HEAD(pins);\nint pin_init(void) { return 0; }\n',
    f"{MODULE}/user.h": "u32 user_get(void (*done)(u32 n));\n",
    f"{MODULE}/user.c": '#include "user.h"\nu32 user_get(void (*done)(u32 n)) { return 1; }\n',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, lines in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(lines))
    return tmp_path


def run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--root", str(root), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def violations(root: Path) -> list[tuple[str, str, str]]:
    """Rule, file and text of each."""
    ran = run(root, "--json")
    assert ran.stderr == ""
    found = [one for tree in json.loads(ran.stdout) for one in tree["violations"]]
    assert ran.returncode == (1 if found else 0)
    return [(one["rule"], f"{one['file']}:{one['line']}", one["text"]) for one in found]


def append(root: Path, name: str, lines: str) -> int:
    """Add lines to a file, which may be new; the number of the first of them."""
    path = root / name
    before = path.read_text() if path.exists() else ""
    path.parent.mkdir(exist_ok=True)
    path.write_text(before + lines)
    return before.count("\n") + 1


def test_a_clean_tree_passes(root: Path) -> None:
    ran = run(root, "--largest")
    assert ran.returncode == 0, ran.stdout
    lines = ran.stdout.splitlines()
    assert "layers: C core 7 files, 0 circles, 0 upward arrows, 0 violations" in lines
    assert (
        "layers: Python package 5 files, 0 circles, 0 upward arrows, 1 imports for types, "
        "0 violations"
    ) in lines
    assert "layers: kernel module 5 files, 0 circles, 0 upward arrows, 0 violations" in lines
    assert "  ring       3 files     26 lines" in lines
    assert f"  largest file: {CORE}/base/list.c, 23 lines" in lines
    assert f"  longest function: base_one, 16 lines, {CORE}/base/list.c:4" in lines


UPWARD = [
    ("an include", f"{CORE}/base/list.h", '#include "ring/ring.h"\n', "includes ring/ring.h"),
    ("a call", f"{CORE}/base/list.c", "int up(void) { return api_send(1); }\n", "uses api_send"),
    ("an address", f"{CORE}/ring/ring.c", "int (*up)(int) = api_send;\n", "uses api_send"),
    ("an object", f"{CORE}/base/list.c", "int up(void) { return ring_turn; }\n", "uses ring_turn"),
    ("a macro", f"{CORE}/base/list.h", "#define UP(n) (n + ring_push(n))\n", "uses ring_push"),
    ("a header's function", f"{CORE}/ring/ring.h", "static inline int up(int n)\n{\n\treturn "
     "api_send(n);\n}\n", "uses api_send"),
    ("a call in the module", f"{MODULE}/user.c", "int up(void) { return pin_init(); }\n",
     "uses pin_init"),
    ("a list of the module", f"{MODULE}/user.c", "int up(void) { return list_empty(&pins); }\n",
     "uses pins"),
    ("an import", f"{PACKAGE}/errors.py", "from .channel import Channel\n", "imports channel.py"),
    ("an import in a function", f"{PACKAGE}/_core/handle.py",
     "def up() -> None:\n    from ..errors import Closed\n", "imports errors.py"),
    ("an absolute import", f"{PACKAGE}/errors.py", "import adma.channel as up\n",
     "imports channel.py"),
    ("an import of the package", f"{PACKAGE}/channel.py", "from adma import Closed\n",
     "imports __init__.py"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "lines", "what"), [one[1:] for one in UPWARD],
                         ids=[one[0] for one in UPWARD])  # fmt: skip
def test_an_arrow_that_points_up(root: Path, file: str, lines: str, what: str) -> None:
    first = append(root, file, lines)
    upward = [one for one in violations(root) if one[0] == "upward"]
    assert len(upward) == 1
    place, said = upward[0][1:]
    assert place.rsplit(":", 1)[0] == file
    assert first <= int(place.rsplit(":", 1)[1]) < first + lines.count("\n")
    assert said.startswith(what)
    assert "which is higher" in said


def test_where_a_name_is_defined_is_told(root: Path) -> None:
    append(root, f"{CORE}/base/list.c", "int up(void) { return api_send(1); }\n")
    said = next(one[2] for one in violations(root) if one[0] == "upward")
    assert f"defined at {CORE}/api/send.c:4; this file is in layer base, that one in api" in said


CIRCLES = {
    "includes": {f"{CORE}/base/a.h": '#include "b.h"\n', f"{CORE}/base/b.h": '#include "a.h"\n'},
    "calls": {
        f"{CORE}/base/a.c": "int b(void);\nint a(void) { return b(); }\n",
        f"{CORE}/base/b.c": "int a(void);\nint b(void) { return a(); }\n",
    },
    "an include and a call": {
        f"{CORE}/base/a.h": '#include "b.h"\nint a(void);\n',
        f"{CORE}/base/a.c": '#include "a.h"\nint a(void) { return 1; }\n',
        f"{CORE}/base/b.h": "int b(void);\n",
        f"{CORE}/base/b.c": "int b(void) { return a(); }\n",
    },
    "imports": {
        f"{PACKAGE}/_core/a.py": "from . import b\n",
        f"{PACKAGE}/_core/b.py": "def f() -> None:\n    from adma._core.a import x\n",
    },
}


@pytest.mark.parametrize("files", CIRCLES.values(), ids=CIRCLES)
def test_a_circle(root: Path, files: dict[str, str]) -> None:
    for name, lines in files.items():
        append(root, name, lines)
    found = [one[2] for one in violations(root) if one[0] == "circle"]
    assert len(found) == 1
    assert found[0].startswith("2 units need each other: ")
    told, arrows = found[0].split(". Turn")
    assert sorted(told.split(": ")[1].split(", ")) == sorted(
        name.split("/", 2)[2] for name in files
    )
    assert arrows.count("\n") == 2
    assert "1 circles" in run(root).stdout


def test_imports_for_type_checkers_make_no_circle(root: Path) -> None:
    append(root, f"{PACKAGE}/_core/a.py", "from . import b\n")
    append(root, f"{PACKAGE}/_core/b.py", "import typing\nif typing.TYPE_CHECKING:\n"
           "    from . import a\nelse:\n    a = 1\n")  # fmt: skip
    assert violations(root) == []


DECLARATIONS = [
    (f"{CORE}/base/list.h", "int ring_push(int n);\n",
     f"declares ring_push, which {CORE}/ring/ring.c:4 defines. Declare it in ring/ring.h."),
    (f"{CORE}/api/send.h", "extern int ring_turn;\n", "Declare it in ring/ring.h."),
    (f"{MODULE}/user.h", "extern u32 gone(void);\n",
     f"declares gone, which no file of {MODULE} defines."),
    (f"{CORE}/api/send.c", "int ring_push(int n);\n", "Declare it in ring/ring.h, and include"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "lines", "what"), DECLARATIONS)
def test_a_declaration_of_what_another_file_defines(
    root: Path, file: str, lines: str, what: str
) -> None:
    first = append(root, file, lines)
    [(rule, place, said)] = violations(root)
    assert (rule, place) == ("declaration", f"{file}:{first}")
    assert what in said


def test_several_files_of_one_header_are_listed(root: Path) -> None:
    table = root / "docs/architecture.md"
    table.write_text(TABLE.replace("One header", "Not one header"))
    assert {one[0] for one in violations(root)} == {"declaration", "circle"}
    table.write_text(TABLE.replace("ring/ring.h", "base/list.h"))
    assert "is not a header of several files" in " ".join(one[2] for one in violations(root))


@pytest.mark.parametrize("name", [f"{CORE}/a.c", f"{CORE}/ring/deep/a.h", f"{PACKAGE}/a.py"])
def test_a_file_in_no_layer(root: Path, name: str) -> None:
    append(root, name, "")
    assert [one[:2] for one in violations(root)] == [("no layer", f"{name}:0")]


def test_a_layer_without_files(root: Path) -> None:
    (root / MODULE / "main.c").unlink()
    assert [one[0] for one in violations(root)] == ["empty layer"]


@pytest.mark.parametrize(
    "line",
    [
        "from ._native import lib",
        "from . import _native",
        "import adma._native",
        "from adma._native import ffi, lib",
        "from ._core._native import lib",
        "from ._core._messages import Calls",
        "if TYPE_CHECKING:\n    from ._native import CData",
        "def f() -> None:\n    from ._native import lib",
    ],
)
def test_the_compiled_module_outside_the_binding(root: Path, line: str) -> None:
    append(root, f"{PACKAGE}/errors.py", line + "\n")
    assert [one[0] for one in violations(root)] == ["binding"]


def test_what_cannot_be_read_is_told(root: Path) -> None:
    append(root, f"{CORE}/base/list.c", "int f(void) {\n")
    append(root, f"{CORE}/api/send.c", '#include "nowhere.h"\n')
    append(root, f"{PACKAGE}/errors.py", "def f(:\n")
    assert {"unreadable", "include"} <= {one[0] for one in violations(root)}


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (None, "there is no such file"),
        ("# Nothing\n", "no table between"),
        (TABLE.replace("| tree |", "| wood |"), "the first columns are not tree, layer, files"),
        (TABLE.replace("`api/`", "api"), "files in backticks"),
        (TABLE.replace("transport/adma", "transport/other"), "is no tree of this project"),
    ],
)
def test_a_table_that_cannot_be_read(root: Path, table: str | None, what: str) -> None:
    path = root / "docs/architecture.md"
    path.unlink()
    if table is not None:
        path.write_text(table)
    ran = run(root)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert what in ran.stderr
