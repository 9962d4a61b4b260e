"""One job of a batch: pulled, and as its operation says checked, run, deployed, called and measured."""

from __future__ import annotations

import argparse
import json
import shutil
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import kagg
from kagg import Context, Endpoint, Exit, Finding, KaggError, file_sha256, hashed, safe_path
from plugins.lib.endpoints import deploy_target
from plugins.lib.jobfile import Job, JobResult
from plugins.lib.launch import attempts
from plugins.lib.prep.job import preprocess_notebook

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from plugins.lib.ledger import Ledger

MONITOR_INTERVAL_S = 1.0
MONITOR_PROBES = 10  # the least: a short measurement probes more often
MESSAGE_MAX = 500  # characters of "what happened"


class Steps(NamedTuple):
    """What jobs are made of: the spine's own functions unless a test brings others."""

    download: Callable[[Context, str, Path], Path]
    preprocess: Callable[[Context, Path, Path | None], list[Finding]]
    run: Callable[..., dict[str, Any]]
    deploy: Callable[[Context, Path, str], Endpoint]
    call: Callable[[Context, Endpoint, Any], dict[str, Any]]
    monitor: Callable[[Context, Endpoint, float, float], dict[str, Any]]


def spine_steps(allowed: Sequence[str] = ()) -> Steps:
    """Return the steps that the commands of kagg.py are made of; `allowed` are the ids of secrets that may be sent."""
    return Steps(
        download=kagg.pull_reference,
        preprocess=preprocess_notebook,
        run=kagg.run_target,
        deploy=partial(_deploy_here, allowed),
        call=kagg.call_endpoint,
        monitor=kagg.monitor_endpoint,
    )


def _deploy_here(allowed: Sequence[str], ctx: Context, path: Path, name: str) -> Endpoint:
    """Deploy on this machine with the room's default options."""
    parser = argparse.ArgumentParser()
    kagg.room(ctx, "deploy", "local").add_arguments(parser.add_argument_group())
    args = parser.parse_args([], argparse.Namespace(allow_finding=list(allowed)))
    return deploy_target(ctx, path, name, "local", args)


class JobContext(Context):
    """A batch's context for one job.

    Once the batch is stopped, the job's next look at the clock or next wait raises KeyboardInterrupt, once, as Ctrl-C
    does in the main thread: every step cleans up as if it were alone.
    """

    def __init__(self, ctx: Context, stop: threading.Event, job: str = "") -> None:
        self.__dict__.update(ctx.__dict__)
        self._outer, self._stop, self._told, self._job = ctx, stop, False, job

    def say(self, text: str, level: int = 0) -> None:
        """Tell people something on stderr, and which job it is about."""
        self._outer.say(f"{self._job}: {text}" if self._job else text, level)

    def _check(self) -> None:
        if self._stop.is_set() and not self._told:
            self._told = True
            raise KeyboardInterrupt

    def monotonic(self) -> float:
        """Return seconds for durations."""
        self._check()
        return self._outer.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; the end of the batch ends it."""
        self._check()
        if self._told:
            self._outer.sleep(seconds)
        elif self._stop.wait(max(0.0, seconds)):
            self._check()


class Batch(NamedTuple):
    """What all jobs of a batch share; `rows` are the ledger's, by key."""

    run_id: str
    dest: Path
    rows: dict[str, dict[str, Any]]
    ledger: Ledger
    steps: Steps
    ctx: Context
    stop: threading.Event
    allowed: tuple[str, ...] = ()
    max_wait_s: float = 24 * 3600.0  # for a free session on Kaggle

    def do(self, job: Job) -> JobResult:
        """Do one job and record how it ended; a failure is a result."""
        row = self.rows[job.key]
        if not self.ledger.claim_job(row["id"]):
            raise KaggError(f"job {job.key} is done by somebody else", hint="do not resume one run twice at once")
        task = _Task(self, job, row)
        started_s = self.ctx.monotonic()
        status, code, message = task.outcome()
        seconds = round(self.ctx.monotonic() - started_s, 3)
        message = " ".join(message.split())[:MESSAGE_MAX]
        record = {"steps": task.done, "message": message, "seconds": seconds}
        error = message if status != "done" else ""
        if not self.ledger.finish_job(row["id"], status, code, error=error, result=record):
            status, code, message = "interrupted", Exit.INTERRUPTED, "stopped with the batch"
        return JobResult(job.key, job.operation, status, seconds, message, int(code), task.done)


class _Task:
    """A job under way; `done` holds what each finished step gave, also in the ledger."""

    def __init__(self, batch: Batch, job: Job, row: dict[str, Any]) -> None:
        self.batch, self.job, self.job_id = batch, job, row["id"]
        self.steps, self.ctx = batch.steps, JobContext(batch.ctx, batch.stop, job.key)
        self.folder = batch.dest / job.folder
        self.earlier: dict[str, Any] = (row["result"] or {}).get("steps", {})
        # What lies on Kaggle stays in the row from the first note on, whenever this process is killed.
        self.done: dict[str, Any] = {name: self.earlier[name] for name in ("attempt",) if name in self.earlier}

    def outcome(self, *, again: bool = False) -> tuple[str, Exit, str]:
        """Do all steps and return status, exit code and what happened in one line."""
        try:
            safe_path(self.batch.dest, self.job.folder).mkdir(parents=True, exist_ok=True)
            return "done", Exit.DONE, self._all_steps()
        except KeyboardInterrupt:
            return "interrupted", Exit.INTERRUPTED, "stopped with the batch"
        except SystemError:  # CPython 3.11's ast.parse when another thread gets in between: cpython issue 106905
            if again:
                raise
            self.earlier = dict(self.done)
            return self.outcome(again=True)
        except KaggError as error:
            status = "interrupted" if error.code == Exit.INTERRUPTED else "failed"
            return status, error.code, f"{error.message}; {error.hint}" if error.hint else error.message
        except OSError as error:  # the disk is full, the folder is not writable
            return "failed", Exit.FAILED, f"{error.filename or self.folder}: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - one job's bug must not take the others with it
            self.ctx.say(traceback.format_exc().rstrip(), 1)
            return "failed", Exit.BUG, f"bug in kagg: {type(error).__name__}: {error}"

    def _all_steps(self) -> str:
        source = self._download()
        if self.job.operation == "download":
            return f"saved {source}"
        clean = self._preprocess(source)
        message = self._run(clean)
        if self.job.operation == "run":
            return message
        endpoint = self._deploy(clean)
        answer = self._call(endpoint)
        self._monitor(endpoint)
        return f"{endpoint.url} answered in {answer['latency_ms']} ms" if answer else f"deployed at {endpoint.url}"

    def _note(self, step: str, result: dict[str, Any]) -> None:
        """Keep a step's result, so that whoever resumes the batch does not take the step again."""
        self.done[step] = result
        self.batch.ledger.note_job(self.job_id, {"steps": self.done})

    def _download(self) -> Path:
        """Return the notebook's file: pulled, or the local one itself, which a download copies."""
        earlier = self.earlier.get("download")
        if earlier and Path(earlier["path"]).is_file() and file_sha256(Path(earlier["path"])) == earlier["sha256"]:
            path = Path(earlier["path"])
        elif self.job.path is None:
            path = self.steps.download(self.ctx, self.job.ref, self.folder)
        elif self.job.operation == "download":
            path = Path(shutil.copy(self.job.path, safe_path(self.folder, self.job.path.name)))
        else:
            path = self.job.path
        self._note("download", {"path": str(path), "sha256": file_sha256(path)})
        return path

    def _preprocess(self, source: Path) -> Path:
        """Return the notebook to run. A local one runs where it is, so that it finds its neighbours.

        Raises:
            KaggError: FINDINGS when it holds a secret and would leave this machine.
        """
        if source.suffix != ".ipynb":
            return source
        clean = None if source == self.job.path else self.folder / "clean" / source.name
        findings = self.steps.preprocess(self.ctx, source, clean)
        self.done["preprocess"] = {"findings": [finding._asdict() for finding in findings]}
        secrets = [one for one in findings if one.severity == "error" and one.id not in self.batch.allowed]
        if secrets and self.job.on != "local":  # the push would refuse it as well, after it waited for a session
            hint = f"take it out of the notebook, or give --allow-finding {secrets[0].id}; nothing was sent"
            raise KaggError(f"not sent: {secrets[0].message} in cell {secrets[0].cell}", code=Exit.FINDINGS, hint=hint)
        return clean or source

    def _run(self, path: Path) -> str:
        """Run the notebook, or take over what an interrupted batch has run, and return what happened.

        Raises:
            KaggError: it did not complete; the message is its own error's last line.
        """
        job, earlier = self.job, self.earlier.get("run")
        same = self.earlier.get("download") == self.done["download"]
        if earlier and same and earlier["status"] == "complete" and Path(earlier["folder"]).is_dir():
            self._note("run", earlier)
            return "complete, before the batch was resumed"
        if job.on == "local":
            folder = self._free_folder("run")
            result = self.steps.run(self.ctx, path, params=job.params, timeout_s=job.timeout_s, dest=folder)
        else:
            result, folder = self._run_on_kaggle(path)
        self._note("run", {**result, "folder": str(folder)})
        if result["status"] == "complete":
            count = len(result.get("outputs") or [])
            return f"complete, {count} output{'' if count == 1 else 's'}"
        where = f"cell {result['cell']}: " if result.get("cell") is not None else ""
        message = f"{where}{result.get('error') or result['status']}"
        raise KaggError(message, code=Exit(result.get("exit") or Exit.FAILED))

    def _effect(self, kind: str, target: str, request: dict[str, Any]) -> Any:
        """Record an effect of this job."""
        return self.batch.ledger.effect(self.batch.run_id, kind, target, request, self.job_id)

    def _run_on_kaggle(self, path: Path) -> tuple[dict[str, Any], Path]:
        """Run on Kaggle, or go on with what an interrupted batch has begun there; return the record and its folder."""
        what = [file_sha256(path), self.job.params, self.job.timeout_s, self.job.kaggle]
        digest = hashed(json.dumps(what, sort_keys=True, default=str))
        earlier = self.earlier.get("attempt") or {}
        again = bool(earlier.get("retry"))
        if earlier.get("sha256") == digest and attempts.can_go_on(self.ctx, earlier["id"], again=again):
            result = attempts.go_on(self.ctx, earlier["id"], self._effect, self.batch.max_wait_s)
            return result, Path(earlier["folder"])
        if earlier:
            attempts.refuse_live(self.ctx, self.batch.ledger, earlier["id"])
        folder, attempt = self._free_folder("run"), attempts.new(self.ctx, path)
        self._note("attempt", {"id": attempt, "sha256": digest, "folder": str(folder)})
        more = argparse.Namespace(
            **self.job.kaggle,
            effect=self._effect,
            attempt=attempt,
            allow_finding=list(self.batch.allowed),
            max_wait_s=self.batch.max_wait_s,
        )
        options = {"params": self.job.params, "timeout_s": self.job.timeout_s, "dest": folder, "on": "kaggle"}
        return self.steps.run(self.ctx, path, options=more, **options), folder

    def _free_folder(self, name: str) -> Path:
        """Return a folder for one more run; earlier runs are kept."""
        folder, number = self.folder / name, 1
        while folder.exists():
            number += 1
            folder = self.folder / f"{name}-{number}"
        return folder

    def _deploy(self, path: Path) -> Endpoint:
        request = {"name": self.job.name, "source_sha256": file_sha256(path)}
        with self.batch.ledger.effect(self.batch.run_id, "deploy", self.job.name, request, self.job_id) as effect:
            endpoint = self.steps.deploy(self.ctx, path, self.job.name)
            effect.outcome = {"url": endpoint.url, "target": endpoint.target}
        self._note("deploy", {"name": endpoint.name, "url": endpoint.url, "target": endpoint.target})
        return endpoint

    def _call(self, endpoint: Endpoint) -> dict[str, Any] | None:
        """Send the job's payload, once, and return the answer. Raises KaggError unless it is a 2xx."""
        if self.job.payload is None:
            return None
        request = {"payload": self.job.payload}
        with self.batch.ledger.effect(self.batch.run_id, "call", endpoint.name, request, self.job_id) as effect:
            answer = effect.outcome = self.steps.call(self.ctx, endpoint, self.job.payload)
        self._note("call", answer)
        if not 200 <= answer["status"] < 300:
            raise KaggError(f"{endpoint.name} answered {answer['status']}: {answer['body']}", code=Exit.SERVICE)
        return answer

    def _monitor(self, endpoint: Endpoint) -> None:
        """Measure the endpoint when the job says how long. Raises KaggError when a probe failed."""
        duration_s = self.job.monitor_s
        if not duration_s:
            return
        interval_s = min(MONITOR_INTERVAL_S, duration_s / MONITOR_PROBES)
        report = self.steps.monitor(self.ctx, endpoint, duration_s, interval_s)
        self._note("monitor", report)
        if report["errors"]:
            raise KaggError(
                f"{report['errors']} of {report['count']} probes of {endpoint.name} failed", code=Exit.FINDINGS
            )
