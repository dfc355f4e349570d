# SPDX-License-Identifier: BSD-3-Clause
"""Hooks of MkDocs: pages that lie outside of docs/ become pages of the site, where links find them.

The pages are written for who reads the sources, so their links lead from file to file. The README
is the first page of the site. A link to a file that is no page becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# By the path in the sources: the path in the site.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "kernel/README.md": "kernel/README.md",
}
LINK = re.compile(r"(\[[^\]]*\])\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    here = page.file.src_uri
    source = next((path for path, to in OUTSIDE.items() if to == here), f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        to = OUTSIDE.get(path) or (path[5:] if path.startswith("docs/") else "")
        if not to or files.get_file_from_path(to) is None:
            return text[1:-1]
        return f"{text}({posixpath.relpath(to, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(moved, markdown)
