# SPDX-License-Identifier: BSD-3-Clause
"""The command ``adma``: one module per command, each with ``declare()`` and a ``run()``."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from adma.cli import bench, demo, info, pingpong, plot, trace, tune

__all__ = ["main"]

COMMANDS = (info, pingpong, bench, demo, plot, trace, tune)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (that of the process unless given) and return its exit status.

    0: done; 1: something could not be done, said on stderr; 2: the command line is wrong;
    130: Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is all ASCII still gets a table
    parser = build_parser()
    options = parser.parse_args(argv)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("adma: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output is gone (as with `| head`): nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        print(f"adma: {_words(error)}", file=sys.stderr)
        return 1


def _words(error: Exception) -> str:
    """An error in one line, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    from adma.bench.build import version

    parser = argparse.ArgumentParser(
        prog="adma",
        description="Moves bytes between buffers of two processes: what works here, how fast.",
    )
    parser.add_argument("--version", action="version", version=f"adma {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.declare(commands)
    return parser
