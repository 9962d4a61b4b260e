"""Find what runs left on Kaggle and nobody needs; list it, and with --yes delete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, kaggle_user, parse_duration, recorded, table
from plugins.lib.launch import journal, orphans
from plugins.lib.launch.quota import hours
from plugins.lib.ledger import Ledger

if TYPE_CHECKING:
    import argparse

    from kagg import Context
    from plugins.lib.launch.orphans import Orphan

PLUGIN = {
    "api": 1,
    "summary": "list what runs left on Kaggle and nobody needs; --yes deletes it",
    "requires": {"sqlalchemy": "SQLAlchemy>=2.0"},
}

COLUMNS = ("kind", "name", "why", "state", "age", "quota", "instead")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `reap`."""
    parser.add_argument("--yes", action="store_true", help="delete what is listed")
    parser.add_argument("--older-than", metavar="TIME", help="only what is older, for example 2h")
    parser.add_argument(
        "--all", action="store_true", help="with --yes: also what another machine of this account may still need"
    )


def run(args: argparse.Namespace, ctx: Context) -> int:
    """List the orphans, or delete them; exit 3 when some could not be deleted.

    JSON: a list of kind, ref, attempt, why, state, age_s, device, burned_s, elsewhere, advice, deleted, error.
    """
    older_s = parse_duration(args.older_than) if args.older_than else 0.0
    user = kaggle_user(ctx)
    with Ledger.open(ctx) as ledger:
        found = _older(orphans.find(ctx, ledger, user), older_s)
    chosen = [one for one in found if args.all or not one.elsewhere] if args.yes else []
    faults = _delete(ctx, chosen) if chosen else {}
    rows = [_row(one, deleted=one in chosen and one.ref not in faults, error=faults.get(one.ref)) for one in found]
    ctx.emit(rows, table([_shown(row) for row in rows], _columns(chosen)) if rows else "nothing to reap")
    _advise(ctx, args, found, chosen)
    return Exit.FINDINGS if faults else Exit.DONE


def _older(found: list[Orphan], older_s: float) -> list[Orphan]:
    """Leave out what is younger, and the datasets of runs that are left out."""
    kept = [one for one in found if one.age_s is None or one.age_s >= older_s]
    spared = {one.attempt for one in found if one.kind == "kernel" and one not in kept}
    return [one for one in kept if one.kind == "kernel" or one.attempt not in spared]


def _delete(ctx: Context, chosen: list[Orphan]) -> dict[str, str]:
    """Delete what was chosen and return the reasons of failures by name; a run's datasets go after its kernel."""
    faults: dict[str, str] = {}
    failed_runs: set[str] = set()
    with recorded(ctx, "reap", f"{len(chosen)} orphans") as row:
        for one in chosen:
            if one.attempt in failed_runs:
                faults[one.ref] = "its kernel is still there"
                continue
            try:
                orphans.remove(ctx, row, one.kind, one.ref, attempt=one.attempt, age_s=one.age_s)
            except KaggError as error:
                faults[one.ref] = error.message
                failed_runs.update({one.attempt} if one.kind == "kernel" else ())
                ctx.say(f"{one.ref} was not deleted: {error.message}", -1)
        row.result = {"deleted": [one.ref for one in chosen if one.ref not in faults], "failed": faults}
        row.status, row.exit_code = ("findings", Exit.FINDINGS) if faults else ("done", Exit.DONE)
    return faults


def _row(orphan: Orphan, *, deleted: bool, error: str | None) -> dict[str, Any]:
    return {**orphan._asdict(), "deleted": deleted, "error": error}


def _columns(chosen: list[Orphan]) -> tuple[str, ...]:
    return (*COLUMNS[:-1], "now") if chosen else COLUMNS


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for people."""
    now = "not deleted" if row["error"] else "deleted" if row["deleted"] else "left"
    quota = f"{hours(row['burned_s'])} {row['device'].upper()}" if row["burned_s"] else ""
    texts = {"name": row["ref"], "state": row["state"].lower(), "age": journal.ago(row["age_s"]), "quota": quota}
    return {**row, **texts, "now": now, "instead": row["advice"]}


def _advise(ctx: Context, args: argparse.Namespace, found: list[Orphan], chosen: list[Orphan]) -> None:
    """Say what to do next."""
    if found and not args.yes:
        ctx.say("nothing was deleted; delete these, with what they wrote, with: python kagg.py reap --yes")
    left = [one for one in found if one not in chosen and one.elsewhere]
    if left and not (args.yes and args.all):
        words = f"{len(left)} may be another machine's; wait until they are 12 h old, or delete them with"
        ctx.say(f"{words}: python kagg.py reap --yes --all")
