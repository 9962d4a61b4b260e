"""The commands `run --kaggle` and `attach`."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import (
    Exit,
    KaggError,
    bad_input,
    parse_duration,
    parse_ref,
    pull_reference,
    recorded,
    report_run,
    run_exit,
    show_event,
)
from plugins.lib.launch import git_token, journal
from plugins.lib.launch.options import read
from plugins.lib.launch.parameters import check_names
from plugins.lib.launch.plan import check_order, new_attempt
from plugins.lib.launch.preview import preview
from plugins.lib.launch.state import State
from plugins.lib.launch.steps import resume, run_on_kaggle
from plugins.lib.recording import taken_over

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kagg import Context
    from plugins.lib.recording import Run

LATER = "it goes on at Kaggle; for its results: python kagg.py attach {run}"


def run(args: argparse.Namespace, ctx: Context, params: dict[str, Any]) -> int:
    """Run a target on Kaggle and return the exit code; with --dry-run show what would be done."""
    wanted = read(args)
    check_names(params)
    git_token.read_token(ctx, wanted.git_token)  # a token in place of its variable's name
    check_order(ctx, args.target, params, args.rest, wanted)  # before the ledger has it
    path = Path(args.target)
    if args.dry_run:
        return preview(ctx, path, params, args.rest, wanted)
    attempt = new_attempt(ctx, path.resolve() if path.exists() else Path(parse_ref(args.target).slug or path.stem))
    dest = args.dest or Path("kaggle_results") / attempt
    if (dest / "result.json").exists() or (dest / "output").exists():
        raise bad_input(f"{dest} holds an earlier run", "name another folder or remove it")
    with recorded(ctx, "run", args.target, {**params, "on": "kaggle", "attempt": attempt}) as row:
        path = path if path.exists() else pull_reference(ctx, args.target, dest / "source")
        args.effect, args.attempt = row.effect, attempt
        with _left(ctx, row, attempt):
            result = run_on_kaggle(
                ctx,
                path,
                dest=dest,
                params=params,
                args=args.rest,
                options=args,
                on_event=lambda event: show_event(ctx, event),
            )
        _conclude(row, result)
        result["ledger_run"] = row.id
    if result["status"] == "detached":
        ctx.say(LATER.format(run=row.id))
    return report_run(ctx, args.target, result, dest)


@contextlib.contextmanager
def _left(ctx: Context, row: Run, attempt: str) -> Iterator[None]:
    """Let Ctrl-C leave a run that is pushed as --detach would: it goes on, and is nobody's orphan."""
    try:
        yield
    except KaggError as error:
        row.result = error.details.get("record") or {}
        raise
    except KeyboardInterrupt:
        with contextlib.suppress(KaggError):
            if State.load(ctx, attempt).has("pushed"):
                row.on_interrupt = "detached"
        raise


def _conclude(row: Run, result: dict[str, Any]) -> None:
    """Put a record's end into the ledger's row."""
    code = run_exit(result)
    row.result, row.exit_code, row.error = result, int(code), str(result.get("error") or "")
    row.status = {Exit.DONE: "done", Exit.FINDINGS: "findings"}.get(code, "failed")
    if result["status"] == "detached":
        row.status = "detached"


def attach(args: argparse.Namespace, ctx: Context) -> int:
    """Go on with a run that was left: follow it, fetch its results, and return its exit code."""
    max_wait_s = parse_duration(args.max_wait) if args.max_wait else None
    run_id, attempt = _found(ctx, args.run)
    state = State.load(ctx, attempt)
    if args.dest:
        state.reach(state.document["stage"], dest=str(args.dest.resolve()))
    with taken_over(ctx, run_id) as row, _left(ctx, row, attempt):
        result = resume(
            ctx, attempt, effect=row.effect, on_event=lambda event: show_event(ctx, event), max_wait_s=max_wait_s
        )
        _conclude(row, result)
    return report_run(ctx, attempt, result, Path(state.document["dest"]))


def _found(ctx: Context, text: str) -> tuple[str, str]:
    """Return the ledger's run and the attempt that `text` names.

    Raises:
        KaggError: USAGE for an unknown one, and for a job of a batch, which its batch goes on with.
    """
    from plugins.lib.ledger import Ledger

    with Ledger.open(ctx) as ledger:
        text = journal.spelled_out(ctx, ledger, text)
        if re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", text):
            rows = [ledger.run(text)]
        else:
            slug = text.rpartition("/")[2]
            rows = [row for row in ledger.runs(10_000) if (row["params"] or {}).get("attempt") == slug]
        if rows and (begun := (rows[0]["params"] or {}).get("attempt")):
            row = rows[0]
            if row["status"] in ("failed", "interrupted") and not journal.has_begun(ctx, str(begun)):
                words = f"run {row['id']} ended before anything was pushed: {row['error'] or 'no reason given'}"
                raise bad_input(words, "start it again")
            return row["id"], begun
        attempt = journal.find(ledger, text)
    if attempt and attempt.job_id is not None:
        hint = f"python kagg.py batch FILE --resume {attempt.run_id}, with --retry-failed when the job has failed"
        raise KaggError(f"{text} belongs to a batch, which goes on with it", code=Exit.USAGE, hint=hint)
    if attempt:
        return attempt.run_id, attempt.attempt
    raise bad_input(f"there is no run on Kaggle named {text[:80]!r}", "see: python kagg.py ps --all")
