"""Run a file of jobs; one that fails does not stop the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kagg import add_gate_arguments, count_argument, shared

if TYPE_CHECKING:
    import argparse

    from kagg import Context

PLUGIN = {"api": 1, "summary": "run the jobs of a file; one that fails does not stop the others", "requires": {}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batch`."""
    parser.add_argument("file", type=Path, help="jobs as CSV, JSON, JSON Lines, or text with one reference a line")
    operations = ("download", "run", "deploy")
    parser.add_argument("--operation", choices=operations, help="for jobs that name none (default: run)")
    help_text = "at most N jobs at once (default: %(default)s)"
    parser.add_argument("--parallel", type=count_argument, default=2, metavar="N", help=help_text)
    parser.add_argument("--engine", default="local", help="where jobs run (default: %(default)s)")
    parser.add_argument("--dest", type=Path, help="folder of the results (default: kaggle_results/RUN)")
    parser.add_argument("--report", type=Path, help="write the outcome of every job to a .json, .jsonl or .csv file")
    parser.add_argument("--resume", metavar="RUN", help="go on with an earlier batch: its run id, or last")
    parser.add_argument("--retry-failed", action="store_true", help="with --resume: the failed jobs again, too")
    parser.add_argument("--max-wait", default="24h", help="of a job for a session on Kaggle (default: %(default)s)")
    add_gate_arguments(parser)


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Run the jobs; exit 3 when one failed."""
    return int(shared("batch").run_batch(args.file, args, ctx))
