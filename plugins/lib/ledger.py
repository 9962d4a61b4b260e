"""The ledger: one row per run, per batch job and per effect on the world, so that nothing is lost or done twice.

SQLite at KAGG_HOME/ledger.db, or the database that KAGG_LEDGER names (postgresql://..., sqlite:///...). A row is
written before an act and its outcome after it: one that stayed `pending` or `running` says that nobody knows how the
act ended. Several processes may write at once; each transaction is short and takes its lock at its start.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kagg import VERSION, Exit, KaggError, keep_secret, locked
from plugins.lib.ledger_database import connect, create_file, explained, location, prepare, storable, tables
from plugins.lib.secrets.in_use import secrets_in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    import sqlalchemy as sa

    from kagg import Context

PLUGIN = {"api": 1, "summary": "runs, jobs and effects", "requires": {"sqlalchemy": "SQLAlchemy>=2.0"}}

GIT_TIMEOUT_S = 5.0
OPEN_STATES = ("pending", "interrupted")  # job states that a batch may claim


class Effect:
    """An act on the world that is under way; set `outcome` to what came of it."""

    def __init__(self, effect_id: int) -> None:
        self.id = effect_id
        self.outcome: dict[str, Any] | None = None


def _git_commit(target: str) -> str | None:
    """Return the commit that is checked out around a local target, None when there is none."""
    try:
        path = Path(target)
        folder = path if path.is_dir() else path.parent
        if not target or not path.exists():
            return None
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):  # a target that is no path, no git, a git that hangs
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _process_mark(pid: int) -> str | None:
    """Return what tells this process from a later one with the same pid ("" = unknown), None when it is gone."""
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, 0, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        return "" if handle and ctypes.windll.kernel32.CloseHandle(handle) else None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]  # state, and starttime: proc_pid_stat(5), fields 3 and 22


class Ledger:
    """An open ledger; threads may share it. Every method is one transaction."""

    def __init__(self, ctx: Context, url: str, path: Path | None) -> None:
        from sqlalchemy.engine import make_url

        self._ctx, self._path, self._begun = ctx, path, dict[str, float]()
        self.place = str(path) if path else make_url(url).render_as_string(hide_password=True)
        self._host = socket.gethostname()
        self._writer = connect(url, path)
        self._reader = self._writer.execution_options(kagg_reads=True)

    @classmethod
    def open(cls, ctx: Context) -> Ledger:
        """Open the ledger, made or migrated when needed, and mark the runs whose process is gone.

        From then on no row and no stream shows a secret in use, though nobody has signed in with it yet.

        Raises:
            KaggError: INTEGRITY when damaged, CONFIG when newer or not writable, MISSING without a driver.
        """
        for value in secrets_in_use(ctx.env):
            keep_secret(value)
        url, path = location(ctx)
        if path:
            create_file(path)
        ledger = cls(ctx, url, path)
        try:
            with locked(path) if path else contextlib.nullcontext(), explained(ledger.place, path):
                prepare(ledger._writer, ledger.place)
            ledger._mark_lost()
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Close the database; the ledger is not usable afterwards."""
        self._writer.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with explained(self.place, self._path), engine.begin() as connection:
            yield connection

    def _select(self, statement: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._transaction(self._reader) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _change(self, statement: sa.UpdateBase) -> int:
        """Execute one statement in its own transaction and return how many rows it changed."""
        with self._transaction(self._writer) as connection:
            return connection.execute(statement).rowcount

    def _mark_lost(self) -> None:
        """Mark what a dead process of this host left open: its runs and jobs interrupted, its effects unknown."""
        runs = tables().runs
        query = runs.select().where(runs.c.status == "running", runs.c.host == self._host)
        for row in self._select(query):
            mark = _process_mark(row["pid"])
            if mark is not None and (not mark or not row["process"] or mark == row["process"]):
                continue
            values = {"status": "interrupted", "ended": self._now(), "exit_code": int(Exit.INTERRUPTED)}
            values["error"] = f"process {row['pid']} ended without a word"
            still = runs.update().where(runs.c.id == row["id"], runs.c.status == "running", runs.c.pid == row["pid"])
            with self._transaction(self._writer) as connection:
                if connection.execute(still.values(values)).rowcount:  # else another process has taken the run over
                    self._orphan(connection, row["id"])

    def _orphan(self, connection: sa.Connection, run_id: str) -> int:
        """Close the open jobs and effects of a run that nobody works on any more and return how many jobs."""
        jobs, effects = tables().jobs, tables().effects
        lost = effects.update().where(effects.c.run_id == run_id, effects.c.status == "pending")
        connection.execute(lost.values(status="unknown", ended=self._now()))
        open_jobs = jobs.update().where(jobs.c.run_id == run_id, jobs.c.status == "running")
        values = {"status": "interrupted", "ended": self._now(), "exit_code": int(Exit.INTERRUPTED)}
        return connection.execute(open_jobs.values(values)).rowcount

    def _now(self) -> str:
        return self._ctx.now().isoformat(timespec="milliseconds")

    def begin_run(
        self, command: str, target: str, *, params: dict[str, Any] | None = None, input_sha256: str | None = None
    ) -> str:
        """Record that `command` starts on `target` and return the run's id, which sorts by time."""
        import secrets

        # Not ctx.random: two processes with one seed must not share an id.
        run_id = f"{self._ctx.now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        row = {"id": run_id, "command": command, "target": storable(target), "status": "running"}
        row |= {"started": self._now(), "kagg_version": VERSION, "git_commit": _git_commit(target)}
        row |= {"input_sha256": input_sha256, "params": storable(params)}
        self._change(tables().runs.insert().values(row | self._owner()))
        self._begun[run_id] = self._ctx.monotonic()
        return run_id

    def _owner(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "process": _process_mark(os.getpid()) or "", "host": self._host}

    def reopen_run(self, run_id: str) -> dict[str, Any]:
        """Take over a run that has ended and return its row as it was.

        Raises:
            KaggError: USAGE when there is no such run, FAILED when a process still works on it.
        """
        runs, row = tables().runs, self.run(run_id)
        values = {"status": "running", "ended": None, "error": None, "exit_code": None, "duration_s": None}
        values |= {"git_commit": _git_commit(row["target"])} | self._owner()
        with self._transaction(self._writer) as connection:
            ended = runs.update().where(runs.c.id == run_id, runs.c.status != "running")
            taken = connection.execute(ended.values(values)).rowcount
            if taken:
                self._orphan(connection, run_id)
        if not taken:
            message = f"run {run_id} is still running as process {row['pid']} on {row['host']}"
            raise KaggError(message, hint="wait for it to end, or stop it")
        self._begun[run_id] = self._ctx.monotonic()
        return row

    def end_run(self, run_id: str, status: str, exit_code: int, *, error: str = "", result: Any = None) -> None:
        """Record how a run ended: done, failed, findings, interrupted or unknown."""
        runs = tables().runs
        values = _ending(status, exit_code, error, result) | {"ended": self._now()}
        if run_id in self._begun:
            values["duration_s"] = round(self._ctx.monotonic() - self._begun.pop(run_id), 3)
        self._change(runs.update().where(runs.c.id == run_id).values(values))

    @contextlib.contextmanager
    def effect(
        self, run_id: str, kind: str, target: str, request: dict[str, Any] | None, job_id: int | None = None
    ) -> Iterator[Effect]:
        """Record an act on the world before and after it.

        The row ends `done`; `failed` when the body raises; `unknown`, that is when the act may have happened, when the
        body was interrupted or raises a KaggError with details["unknown"].
        """
        effects = tables().effects
        row = {"run_id": run_id, "job_id": job_id, "kind": kind, "target": storable(target), "status": "pending"}
        row |= {"request": storable(request), "started": self._now()}
        with self._transaction(self._writer) as connection:
            (effect_id,) = connection.execute(effects.insert().values(row)).inserted_primary_key or (0,)
        effect, status = Effect(int(effect_id)), "done"
        try:
            yield effect
        except BaseException as error:
            said = isinstance(error, KaggError) and error.details.get("unknown")
            status = "unknown" if said or not isinstance(error, Exception) else "failed"
            effect.outcome = {**(effect.outcome or {}), "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            values = {"status": status, "outcome": storable(effect.outcome), "ended": self._now()}
            self._change(effects.update().where(effects.c.id == effect.id).values(values))

    def add_jobs(self, run_id: str, jobs: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        """Add jobs (key, spec) as pending and return all rows of the run by key.

        A key that the run has already keeps its state, unless its spec changed: then it is pending again.
        """
        table, fresh = tables().jobs, []
        known = {row["key"]: row for row in self.jobs(run_id)}
        with self._transaction(self._writer) as connection:
            for ordinal, (key, spec) in enumerate(jobs):
                row = {"ordinal": ordinal, "spec": storable(spec), "status": "pending"}
                if key not in known:
                    fresh.append(row | {"run_id": run_id, "key": key, "attempts": 0})
                elif known[key]["spec"] != row["spec"]:
                    values = row | {"result": _on_kaggle(known[key]), "error": None, "exit_code": None}
                    connection.execute(table.update().where(table.c.id == known[key]["id"]).values(values))
            if fresh:
                connection.execute(table.insert(), fresh)
        return {row["key"]: row for row in self.jobs(run_id)}

    def requeue_jobs(self, run_id: str, status: str) -> int:
        """Make the run's jobs with this status pending again, from their first step, and return how many.

        What they have on Kaggle is not forgotten: it may be live, or be fetched without another run.
        """
        jobs, count = tables().jobs, 0
        for row in self.jobs(run_id):
            if row["status"] == status:
                query = jobs.update().where(jobs.c.id == row["id"], jobs.c.status == status)
                count += self._change(query.values(status="pending", result=_on_kaggle(row, retry=True)))
        return count

    def claim_job(self, job_id: int) -> bool:
        """Mark an open job as running; False when somebody else has it or it is over."""
        jobs = tables().jobs
        query = jobs.update().where(jobs.c.id == job_id, jobs.c.status.in_(OPEN_STATES))
        values = {"status": "running", "attempts": jobs.c.attempts + 1, "started": self._now()}
        return self._change(query.values(values | {"ended": None, "error": None, "exit_code": None})) == 1

    def note_job(self, job_id: int, result: dict[str, Any]) -> None:
        """Record what a running job has reached, for whoever resumes it."""
        jobs = tables().jobs
        query = jobs.update().where(jobs.c.id == job_id, jobs.c.status == "running")
        self._change(query.values(result=storable(result)))

    def finish_job(self, job_id: int, status: str, exit_code: int, *, error: str = "", result: Any = None) -> bool:
        """Record how a running job ended; False when it was marked otherwise meanwhile, which then stands."""
        jobs = tables().jobs
        query = jobs.update().where(jobs.c.id == job_id, jobs.c.status == "running")
        return self._change(query.values(_ending(status, exit_code, error, result) | {"ended": self._now()})) == 1

    def stop_jobs(self, run_id: str) -> int:
        """Mark the run's running jobs interrupted and its pending effects unknown, and return how many jobs."""
        with self._transaction(self._writer) as connection:
            return self._orphan(connection, run_id)

    def runs(self, limit: int = 20, *, command: str | None = None, target: str | None = None) -> list[dict[str, Any]]:
        """Return the newest runs first."""
        self._mark_lost()
        runs = tables().runs
        query = runs.select().order_by(runs.c.started.desc(), runs.c.id.desc()).limit(limit)
        if command is not None:
            query = query.where(runs.c.command == command)
        if target is not None:
            query = query.where(runs.c.target == storable(target))
        return self._select(query)

    def run(self, run_id: str) -> dict[str, Any]:
        """Return one run's row; KaggError (USAGE) when there is none."""
        self._mark_lost()
        rows = self._select(tables().runs.select().where(tables().runs.c.id == run_id))
        if not rows:
            hint = "see the runs with: kagg.py list runs"
            raise KaggError(f"there is no run {run_id[:80]!r}", code=Exit.USAGE, hint=hint)
        return rows[0]

    def jobs(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's jobs in the order of their file."""
        jobs = tables().jobs
        return self._select(jobs.select().where(jobs.c.run_id == run_id).order_by(jobs.c.ordinal, jobs.c.id))

    def effects(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's effects in the order in which they began."""
        effects = tables().effects
        return self._select(effects.select().where(effects.c.run_id == run_id).order_by(effects.c.id))

    def effects_of_kinds(self, kinds: Iterable[str]) -> list[dict[str, Any]]:
        """Return the effects of these kinds of all runs as they began; each with its run's row as `run`."""
        self._mark_lost()
        effects, runs = tables().effects, tables().runs
        chosen = effects.c.kind.in_(list(kinds))
        with_one = runs.c.id.in_(effects.select().where(chosen).with_only_columns(effects.c.run_id))
        rows = self._select(effects.select().where(chosen).order_by(effects.c.id))
        known = {row["id"]: row for row in self._select(runs.select().where(with_one))}
        return [row | {"run": known[row["run_id"]]} for row in rows if row["run_id"] in known]


def _on_kaggle(row: dict[str, Any], *, retry: bool = False) -> dict[str, Any] | None:
    """Return of a job's result what it has on Kaggle; `retry` says that an ended run is to be run again."""
    attempt = ((row["result"] or {}).get("steps") or {}).get("attempt")
    return {"steps": {"attempt": {**attempt, "retry": retry}}} if attempt else None


def _ending(status: str, exit_code: int, error: str, result: Any) -> dict[str, Any]:
    """Return the columns that say how a run or a job ended."""
    result = storable(result)
    return {"status": status, "exit_code": int(exit_code), "error": storable(error) or None, "result": result}
