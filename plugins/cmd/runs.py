"""List recorded runs, show one, or compare several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Exit, bad_input, shared, table
from plugins.lib import runs_compare, runs_show
from plugins.lib.runs_found import SEARCHED, find_row, find_runs, full_name

if TYPE_CHECKING:
    import argparse

    from kagg import Context
    from plugins.lib.ledger import Ledger

PLUGIN = {
    "api": 1,
    "summary": "list runs, show one, compare several",
    "requires": {"sqlalchemy": "SQLAlchemy>=2.0"},
}

ACTIONS = ("list", "show", "compare")
STATUSES = ("running", "interrupted", "detached", "done", "failed", "findings", "unknown")
COLUMNS = ("id", "command", "target", "on", "status", "started", "duration_s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `runs`."""
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS, help="what to do (default: %(default)s)")
    parser.add_argument(
        "run_ids",
        nargs="*",
        metavar="RUN",
        help="last, last~1, an id or its beginning, a kernel's name, BATCH:JOB; compare takes several, or a batch",
    )
    parser.add_argument("--limit", type=int, default=20, help="list: how many, newest first (default: %(default)s)")
    parser.add_argument("--of", metavar="COMMAND", help="list: runs of this command only, for example run or batch")
    parser.add_argument("--status", choices=STATUSES, help="list: runs with this status only")
    for name, what in (("maximize", "more"), ("minimize", "less")):
        text = f"compare: of this metric {what} is better; may be repeated"
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=text)
    text = "compare: only metrics that match; may be repeated"
    parser.add_argument("--metric", action="append", default=[], metavar="GLOB", help=text)


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Do the action."""
    names = args.run_ids
    if args.action == "list" and names:
        raise bad_input(f"list takes no runs, {names[0][:60]!r} was given", "see: python kagg.py runs show RUN")
    if args.action == "show" and len(names) > 1:
        raise bad_input("show takes one run", "see: python kagg.py runs compare RUN RUN")
    if args.limit < 1:
        raise bad_input(f"--limit {args.limit} shows nothing")
    with shared("ledger").Ledger.open(ctx) as ledger:
        {"list": _list, "show": _show, "compare": _compare}[args.action](ctx, ledger, args)
    return Exit.DONE


def _list(ctx: Context, ledger: Ledger, args: argparse.Namespace) -> None:
    rows = ledger.runs(SEARCHED if args.status else args.limit, command=args.of)
    rows = [row for row in rows if not args.status or row["status"] == args.status][: args.limit]
    shown = [{**row, "on": (row["params"] or {}).get("on", "")} for row in rows]
    ctx.emit(rows, table([{**row, "started": str(row["started"])[:19]} for row in shown], COLUMNS))


def _show(ctx: Context, ledger: Ledger, args: argparse.Namespace) -> None:
    name = full_name(ledger, args.run_ids[0] if args.run_ids else "last")
    row, found = find_row(ledger, name), find_runs(ledger, name)
    effects = ledger.effects(row["id"])
    jobs: list[Any] = []
    one = found[0]
    if one.job and ":" in name:
        effects = [effect for effect in effects if effect["job_id"] == one.job["id"]]
    elif one.job:
        one, jobs = one._replace(label=row["id"], record={}, folder=None, job=None), found
    document = runs_show.document(one, effects, jobs)
    if document["folder"] and not document["folder_exists"]:
        ctx.say(f"note: {document['folder']} is not there any more; this is what the ledger kept", 1)
    ctx.emit(document, runs_show.for_people(document))


def _compare(ctx: Context, ledger: Ledger, args: argparse.Namespace) -> None:
    found = [run for name in args.run_ids for run in find_runs(ledger, name)]
    if len(found) < 2:
        raise bad_input(f"compare takes at least two runs, {len(found)} given", "for example: runs compare last~1 last")
    if len(found) > runs_compare.MAX_RUNS:
        raise bad_input(f"compare takes {runs_compare.MAX_RUNS} runs at most, {len(found)} are named")
    for run in found:
        if run.folder and not run.folder.is_dir():
            ctx.say(f"note: {run.folder} is not there any more; of {run.label} there is what the ledger kept")
    document = runs_compare.compare(found, maximize=args.maximize, minimize=args.minimize, only=args.metric)
    ctx.emit(document, runs_compare.for_people(document))
