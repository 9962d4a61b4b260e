"""Run a notebook, a script or a folder on this machine and leave a record of what happened.

Layout of `dest` after a run:

    output/          what the run wrote; its working folder unless cwd="source"
    executed.ipynb   a notebook with its outputs, also when it failed
    log.jsonl        every event in order, see notebook_runner.py; scripts have the stream events only
    params.json      the parameters, when there are any
    result.json      the record, written last: no record means that the run did not finish

A notebook gets parameters as papermill injects them. A script gets each as the argument `--name=value` (text as it is,
everything else as JSON) before `args`, and the whole object in the file named by KAGG_PARAMS. Parameters are stored:
secrets belong into the environment. KAGG_INPUT_DIR names the folder of the source, which modules are imported from.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, file_sha256, safe_path, write_atomic
from plugins.lib import child, notebook_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kagg import Context

Snapshot = dict[str, tuple[int, int]]  # POSIX path: size in bytes, mtime in ns

TAIL_LINES = 30
TAIL_CHARS = 65_536
STATUSES = {"timeout": "timeout", "kernel": "killed", "stopped": "killed"}  # by the reason of the runner's last event
SKIPPED_FOLDERS = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})  # never outputs of a run in its own folder


# ---------------------------------------------------------------- what to run


def find_entry(path: Path) -> Path:
    """Return the file to run: `path` itself, or of a folder what kernel-metadata.json, main.py or the only notebook is.

    Raises:
        KaggError: USAGE when there is none or it is no notebook or script.
    """
    entry = _entry_of_folder(path) if path.is_dir() else path
    if not entry.is_file():
        raise KaggError(f"{entry} is not a file", code=Exit.USAGE)
    if entry.suffix not in (".ipynb", ".py"):
        raise KaggError(f"{entry} is neither a notebook nor a Python script", code=Exit.USAGE)
    return entry


def _entry_of_folder(folder: Path) -> Path:
    metadata = folder / "kernel-metadata.json"
    if metadata.is_file():
        try:
            name = json.loads(metadata.read_text(encoding="utf-8")).get("code_file")
        except (ValueError, AttributeError) as error:
            raise KaggError(f"{metadata} is not a JSON object", code=Exit.USAGE) from error
        if isinstance(name, str) and name:
            return safe_path(folder, name)
    if (folder / "main.py").is_file():
        return folder / "main.py"
    notebooks = sorted(folder.glob("*.ipynb"))
    if len(notebooks) != 1:
        raise KaggError(
            f"{folder} holds {len(notebooks)} notebooks and no main.py",
            code=Exit.USAGE,
            hint="name the file to run (on Kaggle: --entry), or set code_file in kernel-metadata.json",
        )
    return notebooks[0]


# ---------------------------------------------------------------- what it wrote


def _files(folder: Path, skip: Path | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the regular files below `folder` as (POSIX path, lstat); links are not followed, caches are left out."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS and here / name != skip)
        for name in sorted(names):
            path = here / name
            if not path.is_symlink() and path.is_file():
                yield path.relative_to(folder).as_posix(), path.lstat()


def list_outputs(folder: Path, before: Snapshot | None = None, skip: Path | None = None) -> list[dict[str, Any]]:
    """Return path, size_bytes and sha256 of the files below `folder`, without `skip` and what is as in `before`."""
    known = before or {}
    return [
        {"path": name, "size_bytes": stat.st_size, "sha256": file_sha256(folder / name)}
        for name, stat in _files(folder, skip)
        if known.get(name) != (stat.st_size, stat.st_mtime_ns)
    ]


# ---------------------------------------------------------------- the run


class _Task(NamedTuple):
    """One run: what, where, with what."""

    entry: Path
    dest: Path
    folder: Path
    params: dict[str, Any]
    args: Sequence[str]
    timeout_s: float | None
    before: Snapshot
    started_s: float

    @property
    def is_notebook(self) -> bool:
        """Tell whether the notebook runner is needed."""
        return self.entry.suffix == ".ipynb"

    @property
    def params_file(self) -> Path:
        """Where the parameters are stored, when there are any."""
        return self.dest / "params.json"

    def command(self) -> list[str]:
        """Return the command that runs it; -P keeps the rooms beside the runner from hiding packages."""
        if not self.is_notebook:
            texts = {
                name: value if isinstance(value, str) else json.dumps(value) for name, value in self.params.items()
            }
            given = [f"--{name}={text}" for name, text in texts.items()]
            return [sys.executable, "-u", str(self.entry), *given, *self.args]
        command = [sys.executable, "-P", notebook_runner.__file__, str(self.entry), str(self.dest / "executed.ipynb")]
        command += ["--cwd", str(self.folder), "--path", str(self.entry.parent), "--cells"]
        command += ["--params", str(self.params_file)] if self.params else []
        return command + (["--timeout", str(self.timeout_s)] if self.timeout_s is not None else [])

    def environment(self, ctx: Context) -> dict[str, str]:
        """Return the environment that it runs in."""
        env = dict(ctx.env) | {"KAGG_INPUT_DIR": str(self.entry.parent), "PYTHONIOENCODING": "utf-8"}
        return env | ({"KAGG_PARAMS": str(self.params_file)} if self.params else {})


class _Seen:
    """What the events told so far: the log on disk, the last error lines and the runner's verdict."""

    def __init__(self, log: IO[str], on_event: Callable[[child.Event], None] | None) -> None:
        self.log, self.on_event = log, on_event
        self.end: child.Event | None = None
        self.errors = ""

    def take(self, event: child.Event) -> None:
        """Store one event and pass it on."""
        self.log.write(json.dumps(event) + "\n")
        self.log.flush()
        if event.get("event") == "end":
            self.end = event
        elif event.get("stream_name") == "stderr":
            self.errors = (self.errors + event["data"])[-TAIL_CHARS:]
        if self.on_event:
            self.on_event(event)


class Verdict(NamedTuple):
    """How a run ended, in the words of result.json."""

    status: str
    exit_code: int
    error: str | None = None
    cell: int | None = None
    traceback: Sequence[str] = ()


def _verdict(task: _Task, code: int, stopped: str, seen: _Seen) -> Verdict:
    """Say how a run ended; `stopped` is "timeout" when its time was up for us. Complete needs every sign to agree."""
    exit_code = code if code >= 0 else 128 - code  # as shells report signals
    lines = seen.errors.strip().splitlines()[-TAIL_LINES:]
    end = seen.end or {}
    reason = stopped or end.get("reason") or ""
    if code == 0 and not reason and (seen.end is not None or not task.is_notebook):
        return Verdict("complete", 0)
    status = {"timeout": "timeout", "kernel": "killed", "stopped": "killed"}.get(
        reason, "killed" if code < 0 else "error"
    )
    if end.get("reason"):
        traceback = end["traceback"] or lines
        return Verdict(status, exit_code or 1, end["traceback_last_line"], end["cell"], traceback)
    if status == "timeout":
        error = f"the run took longer than {task.timeout_s:g} s"
    elif code < 0:
        error = f"the run was ended by {signal.Signals(-code).name}"
    else:
        error = lines[-1] if lines else f"exit code {code}"
    return Verdict(status, exit_code or 1, error, None, lines)


def _follow(ctx: Context, task: _Task, on_event: Callable[[child.Event], None] | None) -> Verdict:
    """Run the child to its end, whatever ends it, and leave none of its processes behind."""
    stopped = ""
    deadline_s = None
    if task.timeout_s is not None:  # the notebook runner keeps the time itself and needs some to interrupt its kernel
        deadline_s = ctx.monotonic() + task.timeout_s + (2 * child.STOP_GRACE_S if task.is_notebook else 0)
    with (task.dest / "log.jsonl").open("w", encoding="utf-8") as log:
        seen = _Seen(log, on_event)
        process = child.Child(task.command(), task.folder, task.environment(ctx), ctx, events=task.is_notebook)
        try:
            for event in process.events(deadline_s):
                seen.take(event)
        except child.OutOfTimeError:
            stopped = "timeout"
            for event in process.stop():
                seen.take(event)
        except BaseException:
            seen.on_event = None
            for event in process.stop():
                seen.take(event)
            raise
        finally:
            code = process.close()
    return _verdict(task, code, stopped, seen)


def run_local(
    ctx: Context,
    path: Path,
    *,
    dest: Path,
    params: dict[str, Any] | None = None,
    timeout_s: float | None = None,
    args: Sequence[str] = (),
    on_event: Callable[[child.Event], None] | None = None,
    cwd: str = "dest",
) -> dict[str, Any]:
    """Run `path` in `dest`/output (or, with cwd="source", in its own folder) and return what result.json holds.

    A run that fails is a result, not an exception. Ctrl-C and errors of `on_event` end the run, leave a record with
    the status "killed" and are raised again. `timeout_s` counts from the start and covers the whole run.

    Raises:
        KaggError: USAGE when there is nothing to run or `dest` holds another run.
    """
    entry, dest = find_entry(path).resolve(), dest.resolve()
    output = dest / "output"
    if (dest / "result.json").exists() or (output.is_dir() and any(output.iterdir())):
        raise KaggError(f"{dest} holds an earlier run", code=Exit.USAGE, hint="name another folder or remove it")
    output.mkdir(parents=True, exist_ok=True)
    folder = entry.parent if cwd == "source" else output
    before = {name: (stat.st_size, stat.st_mtime_ns) for name, stat in _files(folder, dest)}
    task = _Task(entry, dest, folder, params or {}, args, timeout_s, before, ctx.monotonic())
    if task.params:
        write_atomic(task.params_file, json.dumps(task.params, indent=2, sort_keys=True) + "\n", 0o600)
    record = {
        "version": 1,
        "source": str(entry),
        "source_sha256": file_sha256(entry),
        "params": task.params,
        "started": ctx.now().isoformat(),
    }
    try:
        verdict = _follow(ctx, task, on_event)
    except BaseException as error:
        verdict = Verdict("killed", 1, f"ended by {type(error).__name__}")
        _finish(ctx, task, record, verdict)
        raise
    return _finish(ctx, task, record, verdict)


def _finish(ctx: Context, task: _Task, record: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """Write the record of a run that has ended, last of all its files."""
    executed = task.dest / "executed.ipynb"
    record |= verdict._asdict() | {
        "traceback": list(verdict.traceback),
        "ended": ctx.now().isoformat(),
        "duration_s": round(ctx.monotonic() - task.started_s, 6),
        "log": str(task.dest / "log.jsonl"),
        "output_folder": str(task.folder),
        "outputs": list_outputs(task.folder, task.before, task.dest),
        "executed_notebook": str(executed) if executed.is_file() else None,
    }
    write_atomic(task.dest / "result.json", json.dumps(record, indent=2, sort_keys=True) + "\n", 0o600)
    return record
