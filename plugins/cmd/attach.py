"""Go on with a run on Kaggle that was left: follow it, fetch and verify its results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kagg import shared

if TYPE_CHECKING:
    import argparse

    from kagg import Context

PLUGIN = {"api": 1, "summary": "go on with a run on Kaggle: follow it, fetch its results", "requires": {}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `attach`."""
    parser.add_argument("run", help="a run's id, its kernel (see: ps), or last")
    parser.add_argument("--dest", type=Path, help="folder of the result (default: where the run was to leave it)")
    parser.add_argument("--max-wait", metavar="TIME", help="for a free session, if it has none (default: the run's)")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Go on; the exit code is that of the run."""
    return int(shared("launch.command").attach(args, ctx))
