"""Stop runs on Kaggle: delete their kernels, which is the only way to cancel a session, and what was made for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import LIVE_STATES, Exit, KaggError, Ref, bad_input, kaggle_user, parse_ref, recorded
from plugins.lib.launch import journal, orphans
from plugins.lib.launch.journal import GONE, UNKNOWN
from plugins.lib.ledger import Ledger

if TYPE_CHECKING:
    import argparse

    from kagg import Context
    from plugins.lib.launch.journal import Attempt

PLUGIN = {
    "api": 1,
    "summary": "stop runs on Kaggle; their kernels are deleted, with what they wrote",
    "requires": {"sqlalchemy": "SQLAlchemy>=2.0"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `stop`."""
    parser.add_argument("run", nargs="+", help="a run's id or its beginning, its kernel (see: ps), last or last~N")
    parser.add_argument("--yes", action="store_true", help="delete also a run that is over, with its results")


class Target(NamedTuple):
    """A kernel to delete, and what the journal knows of it."""

    ref: Ref
    run: str
    attempt: Attempt | None = None
    age_s: float | None = None


def run(args: argparse.Namespace, ctx: Context) -> int:
    """Stop each run; nothing is deleted unless kagg made it. Exit 3 when some of several could not be stopped.

    JSON: a list of run, kernel, was (state), deleted, datasets (deleted), error.
    """
    targets = list({str(target.ref): target for target in (_target(ctx, text) for text in args.run)}.values())
    faults: list[KaggError] = []
    rows = []
    with recorded(ctx, "stop", " ".join(target.run for target in targets)) as row:
        for target in targets:
            try:
                rows.append(_stop(ctx, row, target, over_too=args.yes))
            except KaggError as error:
                if len(targets) == 1:
                    raise
                faults.append(error)
                ctx.say(f"{target.ref}: {error.message}", -1)
                rows.append({"run": target.run, "kernel": str(target.ref), "deleted": False, "error": error.message})
        row.result = {"stopped": rows}
        row.status, row.exit_code = ("findings", Exit.FINDINGS) if faults else ("done", Exit.DONE)
    ctx.emit(rows, "\n".join(map(_line, rows)))
    return int(row.exit_code)


def _target(ctx: Context, text: str) -> Target:
    """Return what to stop.

    Raises:
        KaggError: USAGE when there is no such run, or kagg did not make it; FAILED when it is not pushed yet.
    """
    user = kaggle_user(ctx)
    with Ledger.open(ctx) as ledger:
        name = journal.spelled_out(ctx, ledger, text)
        try:
            attempt = journal.find(ledger, name)
        except KaggError as unknown:
            if name != text:
                raise KaggError(f"{name} was never pushed", hint="nothing of it runs on Kaggle") from unknown
            return _foreign(ctx, user, text, unknown)
    if attempt.state in ("planned", "pushing") and attempt.attended:
        words = f"{attempt.attempt} is not pushed yet: it waits for a session, in run {attempt.run_id}"
        raise KaggError(words, hint="stop that process with Ctrl-C; nothing runs on Kaggle")
    if not attempt.ref:
        raise KaggError(f"{attempt.attempt} was never pushed", hint="what it left is removed by: python kagg.py reap")
    if not attempt.is_of(user):
        raise bad_input(f"{attempt.ref} is not yours: you are signed in as {user}")
    age_s = journal.age_s(ctx, attempt.pushed or attempt.begun)
    return Target(attempt.kernel(), attempt.attempt, attempt, age_s)


def _foreign(ctx: Context, user: str, text: str, unknown: KaggError) -> Target:
    """Return a run that this journal does not know, if its source says that kagg made it."""
    slug = text.strip().rpartition("/")[2]
    if unknown.details.get("several") or not ("/" in text or journal.SLUG.fullmatch(slug)):
        raise unknown
    ref = parse_ref(text if "/" in text else f"{user}/{text.strip()}")
    if ref.kind != "kaggle" or ref.owner.lower() != user.lower():
        raise bad_input(f"{text[:100]!r} is no kernel of yours", f"you are signed in as {user}")
    ref = ref._replace(version=None)
    made = orphans.header_run(ctx, ref)
    if made is None:
        raise unknown
    if not made:
        raise bad_input(f"{ref} was not made by kagg run; nothing was deleted", f"delete it at kaggle.com/code/{ref}")
    return Target(ref, made, None, journal.slug_age_s(ctx, ref.slug))


def _stop(ctx: Context, row: Any, target: Target, *, over_too: bool) -> dict[str, Any]:
    """Delete a run's kernel and datasets, unless it is over and has results that nobody asked to delete."""
    was = journal.look(ctx, target.ref)
    known = {"run": target.run, "kernel": str(target.ref), "was": was.state, "deleted": False, "datasets": []}
    attempt = target.attempt
    if was.state == UNKNOWN and not over_too:
        words = f"it is not known whether {target.ref} is over: {was.message}"
        raise KaggError(words, code=Exit.SERVICE, hint="try again; --yes deletes it all the same")
    young = target.age_s is not None and target.age_s < orphans.YOUNG_S
    if was.state == GONE and not (young and attempt and attempt.open):  # a new one may only not be readable yet
        return {**known, "datasets": _remove_datasets(ctx, row, target)}
    refused = attempt is not None and attempt.state == "refused"  # such a kernel reads as queued, and does not run
    if was.state not in (GONE, UNKNOWN, *LIVE_STATES) and not over_too and not refused:
        return known
    if attempt and attempt.attended:
        ctx.say(f"{target.run}: its client, run {attempt.run_id}, will see it as cancelled")
    ctx.say(f"deleting {target.ref}, with the log and the files that it wrote")
    orphans.remove(ctx, row, "kernel", str(target.ref), attempt=target.run, age_s=target.age_s)
    if attempt and attempt.job_id is None and not attempt.attended:  # nobody else will write its end
        with Ledger.open(ctx) as ledger:
            kept = ledger.run(attempt.run_id)["result"]
            words = "it was stopped: its kernel was deleted"
            ledger.end_run(attempt.run_id, "failed", Exit.FAILED, error=words, result=kept)
    return {**known, "deleted": True, "datasets": _remove_datasets(ctx, row, target)}


def _remove_datasets(ctx: Context, row: Any, target: Target) -> list[str]:
    """Delete the datasets that were made for a run, except those that other runs read, and return their names."""
    made = orphans.code_datasets(ctx, target.attempt, "created") if target.attempt else set()
    if not made:
        return []
    with Ledger.open(ctx) as ledger:
        known = journal.attempts(ledger)
        others = {one.attempt for one in known if one.open and one.attempt != target.run}
        used = orphans.datasets_in_use(ctx, ledger, known, others)
    removed = []
    for ref in sorted(made):
        if ref not in used:
            orphans.remove(ctx, row, "dataset", ref, attempt=target.run, age_s=None)
            removed.append(ref)
    return removed


def _line(row: dict[str, Any]) -> str:
    """Return what happened in words."""
    datasets = f", with {', '.join(row['datasets'])}" if row.get("datasets") else ""
    if row.get("error"):
        return f"{row['run']}: not stopped"
    if row["deleted"]:
        return f"{row['run']}: stopped and deleted{datasets}"
    if row["was"] == GONE:
        return f"{row['run']}: is not on Kaggle any more{datasets}"
    return (
        f"{row['run']}: is over ({row['was'].lower()}), nothing to stop; its results: python kagg.py attach "
        f"{row['run']}; to delete them: stop --yes {row['run']}"
    )
