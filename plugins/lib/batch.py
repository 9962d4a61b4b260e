"""Run the jobs of a file and report how each ended.

The ledger holds a row per job from before it starts, and what it has reached, so that a batch that was stopped or
killed goes on with what is not done: `--resume RUN`. One failing job stops no other.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagg import Exit, KaggError, file_sha256, parse_duration, refuse_secrets, room
from plugins.lib.batch_job import Batch, Steps, spine_steps
from plugins.lib.batch_report import check_report_path, document, for_people, write_report
from plugins.lib.jobfile import Job, JobResult, read_jobs
from plugins.lib.ledger import OPEN_STATES, Ledger

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType, ModuleType

    from kagg import Context

SHOWN_RUNNING = 8  # names of running jobs in a progress event


def run_batch(path: Path, args: argparse.Namespace, ctx: Context, steps: Steps | None = None) -> int:
    """Do what `kagg.py batch` does and return its exit code.

    Raises:
        KaggError: USAGE before anything runs: a bad job, an unknown run, engine or report format.
    """
    jobs = read_jobs(path, ctx, operation=args.operation)
    check_report_path(args.report)
    engine = room(ctx, "engine", args.engine)
    with Ledger.open(ctx) as ledger, _stop_on_signals() as stop:
        run_id, dest = _begin(path, args, ledger, ctx)
        status, exit_code = "failed", Exit.FAILED
        allowed = tuple(getattr(args, "allow_finding", None) or ())
        try:
            _refuse_secrets(ctx, path, jobs, allowed)
            rows = ledger.add_jobs(run_id, [(job.key, job.spec()) for job in jobs])
            batch = Batch(run_id, dest, rows, ledger, steps or spine_steps(allowed), ctx, stop, allowed)
            if getattr(args, "max_wait", None):
                batch = batch._replace(max_wait_s=parse_duration(args.max_wait))
            results = _results(batch, jobs, engine, args.parallel)
            status, exit_code = _verdict(results, stop)
            found = document(run_id, path, dest, [(job, results[job.key]) for job in jobs], exit_code)
            if args.report:
                write_report(args.report, found)
        except KeyboardInterrupt:
            status, exit_code = "interrupted", Exit.INTERRUPTED
            raise
        finally:
            ledger.stop_jobs(run_id)
            ledger.end_run(run_id, status, exit_code)
    ctx.emit(found, for_people(found))
    return exit_code


def _refuse_secrets(ctx: Context, path: Path, jobs: list[Job], allowed: tuple[str, ...]) -> None:
    """Let no secret of a job's row get into the ledger when the job leaves this machine."""
    sent = [job for job in jobs if job.on != "local"]
    texts = ((f"line {job.line}", json.dumps(job.spec(), ensure_ascii=False, default=str, indent=1)) for job in sent)
    refuse_secrets(ctx, path.name, texts, allowed)


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set as they raise KeyboardInterrupt: the jobs' threads see it at once."""
    stop = threading.Event()

    def stopped(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield stop
        return
    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _begin(path: Path, args: argparse.Namespace, ledger: Ledger, ctx: Context) -> tuple[str, Path]:
    """Begin a run, or take over the one that --resume names, and return its id and its folder."""
    if args.retry_failed and not args.resume:
        raise KaggError("--retry-failed needs --resume", code=Exit.USAGE, hint="name the run, or --resume last")
    target, sha256 = str(path.resolve()), file_sha256(path)
    earlier = _earlier(args.resume, target, sha256, ledger, ctx) if args.resume else None
    if earlier:
        run_id, params = earlier["id"], earlier["params"]
        ledger.reopen_run(run_id)
        if args.retry_failed:
            ledger.requeue_jobs(run_id, "failed")
    else:
        params = {
            "dest": str(args.dest.resolve()) if args.dest else None,
            "results": str(Path.cwd() / "kaggle_results"),
        }
        given = {"operation": args.operation, "parallel": args.parallel, "engine": args.engine}
        run_id = ledger.begin_run("batch", target, params=params | given, input_sha256=sha256)
    return run_id, Path(args.dest or params["dest"] or Path(params["results"], run_id)).resolve()


def _earlier(wanted: str, target: str, sha256: str, ledger: Ledger, ctx: Context) -> dict[str, Any] | None:
    """Return the row of the batch to go on with; None when the last one is wanted and there is none."""
    if wanted == "last":
        found = ledger.runs(1, command="batch", target=target)
        if not found:
            ctx.say(f"there is no earlier batch of {target}; starting one")
        return found[0] if found else None
    row = ledger.run(wanted)
    if row["command"] != "batch" or (row["target"] != target and row["input_sha256"] != sha256):
        raise KaggError(f"run {wanted} is {row['command']} {row['target']}", code=Exit.USAGE, hint="name that file")
    return row


def _results(batch: Batch, jobs: list[Job], engine: ModuleType, parallel: int) -> dict[str, JobResult]:
    """Do the open jobs and return every job's result by key; those that Ctrl-C left are interrupted or pending."""
    todo = [job for job in jobs if batch.rows[job.key]["status"] in OPEN_STATES]
    results = {job.key: _recorded(job, batch.rows[job.key]) for job in jobs}
    if len(todo) < len(jobs):
        batch.ctx.say(f"{len(jobs) - len(todo)} of {len(jobs)} jobs are done already")
    finished: set[str] = set()
    try:
        with contextlib.closing(engine.run(todo, batch.do, batch.ctx, parallel=parallel)) as ended:
            for result in ended:
                results[result.key] = result
                finished.add(result.key)
                running = [job.key for job in todo if job.key not in finished][: min(parallel, SHOWN_RUNNING)]
                event = {"job": result.key, "status": result.status, "finished": len(finished), "of": len(todo)}
                batch.ctx.progress(event | {"running": running, "end": len(finished) == len(todo)})
    except KeyboardInterrupt:
        batch.stop.set()
        batch.ledger.stop_jobs(batch.run_id)
        rows = {row["key"]: row for row in batch.ledger.jobs(batch.run_id)}
        results |= {job.key: _recorded(job, rows[job.key]) for job in todo if job.key not in finished}
    return results


def _recorded(job: Job, row: dict[str, Any]) -> JobResult:
    """Return a job's result as the ledger has it."""
    record = row["result"] or {}
    message = record.get("message") or {"pending": "not started", "interrupted": "stopped with the batch"}.get(
        row["status"], ""
    )
    exit_code = int(row["exit_code"] or 0)
    return JobResult(
        job.key, job.operation, row["status"], record.get("seconds", 0.0), message, exit_code, record.get("steps", {})
    )


def _verdict(results: dict[str, JobResult], stop: threading.Event) -> tuple[str, Exit]:
    """Return the run's status and exit code: done only when every job is."""
    states = {result.status for result in results.values()}
    if stop.is_set() and states - {"done", "failed"}:
        return "interrupted", Exit.INTERRUPTED
    return ("done", Exit.DONE) if states <= {"done"} else ("findings", Exit.FINDINGS)
