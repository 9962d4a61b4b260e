"""List the runs on Kaggle: those that are live, with --all also those that are over and still lie there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kagg import LIVE_STATES, Exit, KaggError, KernelStatus, kaggle_user, table
from plugins.lib.launch import journal, orphans
from plugins.lib.launch.journal import GONE, UNKNOWN, Attempt
from plugins.lib.launch.quota import hours
from plugins.lib.ledger import Ledger

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kagg import Context

PLUGIN = {
    "api": 1,
    "summary": "list the runs on Kaggle: state, age, quota they take, and who waits for them",
    "requires": {"sqlalchemy": "SQLAlchemy>=2.0"},
}

COLUMNS = ("run", "kernel", "state", "device", "age", "quota", "client")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ps`."""
    parser.add_argument("--all", action="store_true", help="also runs that are over and still lie on Kaggle")


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Print the runs, the newest first.

    JSON: run, kernel, state (Kaggle's in capitals; WAITING, UNKNOWN), live, message, device, accelerator, age_s,
    burned_s (at most: waiting for a machine is free, and does not show), client, dest, url, journaled.
    """
    user = kaggle_user(ctx)
    with Ledger.open(ctx) as ledger:
        known = [one for one in journal.attempts(ledger) if one.is_of(user)]
    rows = [_waiting(ctx, one) for one in known if one.state == "pushing" and one.attended]
    rows += _on_kaggle(ctx, user, known, everything=args.all)
    rows.sort(key=lambda row: float("inf") if row["age_s"] is None else row["age_s"])
    for row in rows:
        if row["state"] == UNKNOWN:
            ctx.say(f"{row['kernel']}: {row['message']}", -1)
    empty = "no run of yours is on Kaggle" if args.all else "no run of yours is live on Kaggle"
    ctx.emit(rows, table([_shown(row) for row in rows], COLUMNS) if rows else empty)
    return Exit.DONE


def _on_kaggle(ctx: Context, user: str, known: list[Attempt], *, everything: bool) -> list[dict[str, Any]]:
    """Return the rows of the kernels that lie on Kaggle, in the journal or not."""
    try:
        listed = orphans.our_kernels(ctx, user)
    except KaggError as error:
        if error.code != Exit.SERVICE:
            raise
        ctx.say(f"only what the journal knows: {error.message}", -1)
        listed = {}
    by_ref = {one.ref: one for one in known if one.state not in ("pushing", "refused")}
    skipped = {one.ref for one in known} - set(by_ref)
    refs = [one.ref for one in by_ref.values() if one.on_kaggle or one.ref in listed]
    refs += [ref for ref in listed if ref not in by_ref and ref not in skipped]
    refs = [ref for ref in refs if everything or _may_be_live(ctx, ref, by_ref.get(ref))]
    states = journal.look_at_all(ctx, map(journal.named, refs))
    return [
        _row(ctx, ref, status, by_ref.get(ref), listed.get(ref, {}))
        for ref, status in zip(refs, states, strict=True)
        if status.state in LIVE_STATES or status.state == UNKNOWN or (everything and status.state != GONE)
    ]


def _may_be_live(ctx: Context, ref: str, attempt: Attempt | None) -> bool:
    """Tell whether a kernel is young enough, and not fetched yet."""
    age_s = journal.age_s(ctx, attempt.pushed) if attempt else journal.slug_age_s(ctx, ref)
    young = age_s is None or age_s < journal.ASK_FOR.total_seconds()
    return young and (attempt is None or attempt.open)


def _row(
    ctx: Context, ref: str, status: KernelStatus, attempt: Attempt | None, item: Mapping[str, Any]
) -> dict[str, Any]:
    age_s = journal.age_s(ctx, attempt.pushed) if attempt else journal.slug_age_s(ctx, ref)
    device = attempt.device if attempt and attempt.device else orphans.device_of(item)
    return {
        "run": attempt.attempt if attempt else ref.partition("/")[2],
        "kernel": ref,
        "state": status.state,
        "live": status.state in LIVE_STATES,
        "message": status.message,
        "device": device,
        "accelerator": attempt.accelerator if attempt else str(item.get("machineShape") or ""),
        "age_s": age_s,
        "burned_s": orphans.burned_s(device, status.state, age_s),
        "client": _client(attempt),
        "dest": attempt.dest if attempt else "",
        "url": attempt.url if attempt else "",
        "journaled": attempt is not None,
    }


def _client(attempt: Attempt | None) -> str:
    """Say who waits for a run; nobody need wait for one whose results are here."""
    if attempt is None:
        return "elsewhere"
    return "fetched" if attempt.collected and not attempt.attended else attempt.client


def _waiting(ctx: Context, attempt: Attempt) -> dict[str, Any]:
    """Return the row of a run that waits for a session, or whose push is under way."""
    waiting = _row(ctx, attempt.ref, KernelStatus("WAITING"), attempt, {})
    return waiting | {"age_s": journal.age_s(ctx, attempt.begun)}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for people."""
    quota = hours(row["burned_s"]) if row["burned_s"] else ""
    device = row["accelerator"] or row["device"]
    texts = {"state": row["state"].lower(), "device": device, "age": journal.ago(row["age_s"]), "quota": quota}
    return {**row, **texts}
