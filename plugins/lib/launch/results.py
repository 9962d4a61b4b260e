"""Fetch what a session left, and hold it against what the session itself says it wrote.

Kaggle's listing has neither sizes nor hashes, and may offer the files of another session. A session that reached its
end wrote session_summary.json with its run id and a manifest; one that was killed has only session_started.json, and
its files are kept as what they are: unverified.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, file_sha256, safe_path
from plugins.lib.download import store
from plugins.lib.kaggle.collect import Listing, in_parallel, kept_in_part, passes, sort_out
from plugins.lib.launch.manifest import MAX_BYTES, STARTED, SUMMARY, check_marker, marker, read_started, read_summary
from plugins.lib.metrics import printed_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from kagg import Context, Ref
    from plugins.lib.kaggle.collect import File

__all__ = ["Results", "fetch_results", "marker"]

MAX_NAME_BYTES = 255  # NAME_MAX of Linux
PAUSES_S = (2.0, 5.0, 10.0)  # outputs may be listed some seconds after the status says COMPLETE
SHOWN = 5
RESERVE = ".kagg_reserve"  # room for the summary, which a session that was killed leaves behind
COMPLETE = "COMPLETE"
KAGGLES_OWN = ("__results__", "__notebook", "__output__", "__script__", "custom.css")  # what Kaggle adds to outputs


class Results(NamedTuple):
    """What was fetched. `summary` is session_summary.json, checked; `faults` are lines for people.

    `verified`: the session reached its end, and every file here is the one that it wrote.
    """

    summary: dict[str, Any] | None
    files: list[File]
    verified: bool
    faults: list[str]


class _Job(NamedTuple):
    """One fetch under way."""

    ctx: Context
    ref: Ref
    dest: Path
    run_id: str
    listing: Listing
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    on_file: Callable[[File], None] | None

    def wants(self, name: str) -> bool:
        """Tell whether the user wants this file."""
        return passes(name, self.include, self.exclude)


def fetch_results(
    ctx: Context,
    ref: Ref,
    dest: Path,
    run_id: str,
    *,
    state: str,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    code_files: Mapping[str, str] | None = None,
    log: Path | None = None,
    on_file: Callable[[File], None] | None = None,
) -> Results:
    """Fetch the files of run `run_id` into `dest`; those that are there already, whole, are not fetched again.

    `state` is how the session ended, `code_files` {path: SHA-256} what was sent and comes back unchanged from a session
    that was killed, `log` the log.jsonl whose marker must agree with the summary.

    Raises:
        KaggError: INTEGRITY when the summary of a COMPLETE session is missing, foreign, malformed or contradicted by
            the log: then nothing is kept; INTEGRITY, FAILED or SERVICE when a file was not kept, with
            details["files"], ["failed"] {name: reason} and ["summary"].
    """
    job = _Job(ctx, ref, dest, run_id, Listing(ctx, ref), tuple(include), tuple(exclude), on_file)
    try:
        summary = _patiently(job) if state == COMPLETE else _summary(job)
    except KaggError as error:
        if state == COMPLETE or error.code != Exit.INTEGRITY:
            raise
        return _partial(job, state, code_files or {}, error.message)
    if log is not None and log.is_file():
        check_marker(summary, marker(printed_lines(log), run_id))
    return _whole(job, summary)


def _patiently(job: _Job) -> dict[str, Any]:
    """Return the summary of a session that has one for sure, though it may be listed late."""
    for pause_s in PAUSES_S:
        try:
            return _summary(job)
        except KaggError as error:
            if error.code != Exit.INTEGRITY or not error.details.get("late"):
                raise
            job.ctx.say(f"{job.ref}: {error.message}; looking again in {pause_s:g} s", 1)
        job.ctx.sleep(pause_s)
        job.listing.read()
    return _summary(job)


def _own_file(job: _Job, name: str) -> bytes:
    """Return a file of the session's own, which never lies in `dest`.

    Raises:
        KaggError: INTEGRITY when it is not listed.
    """
    if name not in job.listing.names:
        count = len(job.listing.names)
        what = f"{count} files are listed, {name} is not among them" if count else "no files are listed"
        hint = "these results are not used" if count else "see its log"
        raise KaggError(f"{job.ref}: {what}", code=Exit.INTEGRITY, hint=hint, details={"late": True})
    with tempfile.TemporaryDirectory(prefix="kagg-") as folder:
        path = store(job.ctx, job.listing.source(name), Path(folder) / name, max_bytes=MAX_BYTES, durable=False).path
        return path.read_bytes()


def _summary(job: _Job) -> dict[str, Any]:
    try:
        return read_summary(_own_file(job, SUMMARY), job.run_id)
    except KaggError as error:
        if not error.message.startswith(str(job.ref)):
            error.message = f"{job.ref}: {error.message}"
        raise


# ---------------------------------------------------------------- a session that reached its end


def _whole(job: _Job, summary: dict[str, Any]) -> Results:
    """Fetch the files of the manifest and compare each with it."""
    promised = {str(entry["path"]): entry for entry in summary["manifest"] if job.wants(entry["path"])}
    job.dest.mkdir(parents=True, exist_ok=True)
    paths, faults = sort_out(list(promised), job.dest, place)
    listed = set(job.listing.names)

    def one(name: str) -> File:
        entry, path = promised[name], paths[name]
        if _is_here(path, entry):
            return dict(entry)
        if name not in listed:
            raise KaggError(f"{name} is in the manifest and not among the outputs", code=Exit.INTEGRITY)
        source = job.listing.source(name)
        got = store(job.ctx, source, path, size_bytes=entry["size_bytes"], sha256=entry["sha256"], durable=False)
        return {"path": name, "size_bytes": got.size_bytes, "sha256": got.sha256}

    _check_room(job, [(path, promised[name]["size_bytes"]) for name, path in paths.items()])
    size_bytes = sum(promised[name]["size_bytes"] for name in paths)
    files = _fetch(job, paths, one, faults, size_bytes)
    for fault in faults.values():
        job.ctx.say(f"{job.ref}: {fault.message}", -1)
    if faults:
        error = kept_in_part(job.ref, faults, files)
        error.details["summary"] = summary
        raise error
    return Results(summary, files, verified=True, faults=_extra(job, summary))


def place(dest: Path, name: str) -> Path:
    """Return where a file of our own session goes: what is no name on every system may be one here.

    Raises:
        KaggError: INTEGRITY for a name that leaves `dest`, or that this system does not take.
    """
    try:
        return safe_path(dest, name)
    except KaggError:
        parts = name.split("/")
        odd = re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", name) or any(part in ("", ".", "..") for part in parts)
        if os.name != "posix" or odd or any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
            raise
        path = dest.joinpath(*parts)
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(dest)):
            raise
        return path


def _is_here(path: Path, entry: Mapping[str, Any]) -> bool:
    """Tell whether a file is what the manifest says."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    same = stat.S_ISREG(found.st_mode) and found.st_size == entry["size_bytes"]
    return same and file_sha256(path) == entry["sha256"]


def _check_room(job: _Job, files: Sequence[tuple[Path, int]]) -> None:
    """Raise FAILED when the disk cannot hold what is to come."""
    free = shutil.disk_usage(job.dest).free
    if sum(size_bytes for _, size_bytes in files) <= free:  # though all of it were to come
        return
    needed = sum(size_bytes for path, size_bytes in files if not path.exists())
    if needed > free:
        hint = "make room, or fetch less: --include GLOB"
        raise KaggError(f"{job.dest}: the results need {needed} bytes, the disk has {free}", hint=hint)


def _extra(job: _Job, summary: Mapping[str, Any]) -> list[str]:
    """Return lines about files that are not where both sides say they are."""
    known = {str(entry["path"]) for entry in summary["manifest"]} | {SUMMARY, STARTED}
    extra = [n for n in job.listing.names if n not in known and not n.startswith(KAGGLES_OWN) and job.wants(n)]
    lines = [f"{item['path']} was not saved: {item['reason']}" for item in summary["skipped"]]
    return lines + ([_named(extra, "listed by Kaggle and not in the manifest; not fetched")] if extra else [])


def _named(names: Sequence[str], what: str) -> str:
    shown = ", ".join(name[:80] for name in names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
    return f"{len(names)} file{'s' if len(names) != 1 else ''} {what}: {shown}"


# ---------------------------------------------------------------- a session that was killed


def _partial(job: _Job, state: str, code_files: Mapping[str, str], why: str) -> Results:
    """Keep what a session left that has no summary, when it is surely its own."""
    try:
        read_started(_own_file(job, STARTED), job.run_id)
    except KaggError as error:
        if error.code != Exit.INTEGRITY:
            raise
        return Results(None, [], verified=False, faults=[f"nothing was kept: {error.message}"])
    own = (SUMMARY, STARTED, RESERVE)
    wanted = [name for name in job.listing.names if job.wants(name) and name not in own]
    job.dest.mkdir(parents=True, exist_ok=True)
    paths, faults = sort_out(wanted, job.dest)

    def one(name: str) -> File:
        got = store(job.ctx, job.listing.source(name), paths[name], durable=False)
        return {"path": name, "size_bytes": got.size_bytes, "sha256": got.sha256}

    files = []
    for file in _fetch(job, paths, one, faults):
        if code_files.get(file["path"]) == file["sha256"]:  # our own code; a session that ends well removes it
            _remove(paths[file["path"]], job.dest)
        else:
            files.append(file)
    lines = [f"the session ended with {state.lower()}: its files are what it had written, and not verified ({why})"]
    return Results(None, files, verified=False, faults=lines + [error.message for error in faults.values()])


def _remove(path: Path, dest: Path) -> None:
    """Remove a file and the folders that it leaves empty."""
    path.unlink(missing_ok=True)
    for folder in path.relative_to(dest).parents:
        if folder.parts and not any((dest / folder).iterdir()):
            (dest / folder).rmdir()


def _fetch(
    job: _Job,
    names: Collection[str],
    one: Callable[[str], File],
    faults: dict[str, KaggError],
    size_bytes: int | None = None,
) -> list[File]:
    """Fetch several files at once and return those that arrived by path; the others go to `faults`."""
    files: list[File] = []
    for name, outcome in in_parallel(names, one, size_bytes):
        if isinstance(outcome, KaggError):
            faults[name] = outcome
            continue
        files.append(outcome)
        if job.on_file:
            job.on_file(outcome)
    return sorted(files, key=lambda file: str(file["path"]))
