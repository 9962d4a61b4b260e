"""What a session leaves: status, log and output files."""

from __future__ import annotations

import functools
import json
import math
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from plugins.lib.kaggle import archives, mishaps, records, storage
from plugins.lib.kaggle.listening import HangUp
from plugins.lib.kaggle.sessionlog import END, stored
from plugins.lib.kaggle.sessions import LIVE
from plugins.lib.kaggle.walk import files_below, is_shown
from plugins.lib.kaggle.wire import ApiError, Redirect, Stream, compact, from_iso, number, page, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugins.lib.kaggle.faults import Fault
    from plugins.lib.kaggle.records import Kernel
    from plugins.lib.kaggle.sessions import Session
    from plugins.lib.kaggle.world import World

URL_TTL_S = 3600.0
SIZE_CHUNK = 256 * 1024
HOSTILE = ("../evil.txt", "/tmp/evil-absolute.txt", "ok/../../evil-nested.txt")  # noqa: S108 - a name to refuse, not a file of ours
WAIT_FOR_LOG_S, LONGEST_WAIT_S = 60, 300
EVENT = re.compile(rb"data: .*\n\n")


def session_status(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Return {"status", "failureMessage"?}; QUEUED is the zero value and left out, so a queued run answers {}."""
    kernel = records.asked(world, user, body)
    found = records.session_of(world, kernel, records.version_number(kernel, body))
    if found is None:
        return {"status": "NEW_SCRIPT"}
    state = found[1]["state"]
    return compact({"status": "" if state == "QUEUED" else state, "failureMessage": found[1].get("failureMessage")})


def _listed(world: World, kernel: Kernel, finished: tuple[Path, dict[str, Any]]) -> list[tuple[str, Path]]:
    """Return (name, path) of what a finished version offers as its output."""
    folder, session = finished
    found = mishaps.listed(world, kernel, folder, _own(folder, session["id"], session["ended"]))
    return [(name, path) for name, path in found.items() if is_shown(name)]


@functools.lru_cache(maxsize=4)
def _own(folder: Path, _session: int, _ended: str) -> dict[str, Path]:
    """Return {name: path} of the output of a session that is over; nothing changes it any more."""
    output = folder / "output"
    return {name: output / name for name in files_below(output)}


def _stored_log(world: World, folder: Path, session: dict[str, Any]) -> list[dict[str, object]]:
    """Return the events of a session that is over, none while the fault log_late holds them back."""
    log_at = session.get("logAt")
    return [] if log_at and world.clock() < from_iso(log_at) else stored(folder / "log.jsonl")


def _finished(world: World, kernel: Kernel, body: dict[str, Any]) -> tuple[Path, dict[str, Any]] | None:
    """Return (version folder, session.json) of the session that the body asks for, None unless it is over."""
    found = records.session_of(world, kernel, records.version_number(kernel, body))
    if found is None or found[1]["state"] in LIVE:
        return None
    return kernel.version_folder(found[0]), found[1]


def list_session_output(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """List signed URLs of the output, and the log (first page only, after the end only)."""
    kernel = records.asked(world, user, body)
    finished = _finished(world, kernel, body)
    if finished is None:
        return {"files": []}
    folder, session = finished
    listed = _listed(world, kernel, finished)
    if fault := world.faults.take("hostile_names", kernel.ref):
        listed += [(name, folder / "source") for name in fault.get("names", HOSTILE)]
    shown, following = page(listed, body, size=20, largest=200)
    files = [{"fileName": name, "url": _url(world, session["id"], name, path)} for name, path in shown]
    events = [] if text(body, "pageToken") else _stored_log(world, folder, session)
    log = json.dumps(events, ensure_ascii=False) if events else ""
    return {"files": files, **compact({"log": log, "nextPageToken": following})}


def _url(world: World, session_id: int, name: str, path: Path) -> str:
    """Return a signed URL, .../kf/<session id>/<token>/<name>; the storage port drops the first two parts."""
    url = storage.sign(world, path, name=name.lstrip("/"), ttl_s=URL_TTL_S)
    return url.replace(world.storage_url, f"{world.storage_url}/kf/{session_id}", 1)


def list_files(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """List names and sizes of the output."""
    kernel = records.asked(world, user, body)
    finished = _finished(world, kernel, body)
    listed = _listed(world, kernel, finished) if finished else []
    shown, following = page(listed, body, size=20, largest=200)
    ended = finished[1]["ended"] if finished else ""
    files = [compact({"name": name, "size": path.stat().st_size, "creationDate": ended}) for name, path in shown]
    return {"files": files, **compact({"nextPageToken": following})}


def download_output(world: World, user: str | None, body: dict[str, Any], /) -> Redirect:
    """Redirect to one output file, or to a zip of all."""
    kernel = records.asked(world, user, body)
    version = number(body, "versionNumber")
    finished = _finished(world, kernel, {"versionLabel": f"v{version}"} if version else {})
    if finished is None:
        raise ApiError(404, f"{kernel.ref} has no output")
    wanted = text(body, "filePath")
    if not wanted:
        path = _zipped(world, finished[0])
        return Redirect(storage.sign(world, path, name=f"{kernel.document['slug']}.zip", ttl_s=URL_TTL_S))
    for name, path in _listed(world, kernel, finished):
        if name == wanted:
            return Redirect(_url(world, finished[1]["id"], name, path))
    raise ApiError(404, f"{wanted} is not in the output of {kernel.ref}")


def _zipped(world: World, folder: Path) -> Path:
    """Return a zip of a finished version's output, made once."""
    path = folder / "output.zip"
    with world.lock:
        if not path.exists():
            output = folder / "output"
            archives.build_zip([(name, output / name) for name in files_below(output)], path)
    return path


def download_output_zip(world: World, user: str | None, body: dict[str, Any], /) -> Stream:
    """Send the zip itself, by session id."""
    wanted = number(body, "kernelSessionId")
    for kernel in records.every(world):
        for version in range(kernel.latest, 0, -1):
            session = world.load(kernel.version_folder(version) / "session.json")
            if (
                session
                and session["id"] == wanted
                and records.visible(world, user, kernel)
                and session["state"] not in LIVE
            ):
                path = _zipped(world, kernel.version_folder(version))
                return Stream("application/zip", _chunks(path))
    raise ApiError(404, f"Session {wanted} was not found")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(SIZE_CHUNK):
            yield chunk


def logs_stream(world: World, user: str | None, body: dict[str, Any], /) -> Stream:
    """Stream the log of a live session from its first event, or send the stored array of a finished one."""
    kernel, version = _logged(world, user, body)
    folder = kernel.version_folder(version)
    session = world.sessions.at(folder)
    if session is None:
        events = _stored_log(world, folder, world.load(folder / "session.json") or {})
        return Stream("application/json", iter([json.dumps(events, ensure_ascii=False).encode()]))
    wait_s = min(number(body, "waitForLogsUrlSeconds") or WAIT_FOR_LOG_S, LONGEST_WAIT_S)
    take, ref = world.faults.take, kernel.ref
    chunks = _live(session, wait_s, Cut.of(take("cut_log", ref)), take("no_end_of_log", ref))
    pieces = take("split_log", ref)
    return Stream("text/event-stream", _split(chunks, int(pieces.get("bytes", 1))) if pieces else chunks)


def _split(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Cut chunks into pieces of `size` bytes, wherever that falls."""
    for chunk in chunks:
        yield from (chunk[at : at + size] for at in range(0, len(chunk), max(size, 1)))
        if not chunk:
            yield chunk


def _logged(world: World, user: str | None, body: dict[str, Any]) -> tuple[Kernel, int]:
    """Return the kernel and version whose log is wanted: by session id, else by name."""
    wanted = number(body, "kernelSessionId")
    for kernel in records.every(world) if wanted else []:
        for version in range(kernel.latest, 0, -1):
            session = world.load(kernel.version_folder(version) / "session.json")
            if session and session["id"] == wanted and records.visible(world, user, kernel):
                return kernel, version
    if wanted:
        raise ApiError(403, records.DENIED)
    kernel = records.asked(world, user, body)
    found = records.session_of(world, kernel, records.version_number(kernel, body))
    if found is None:
        raise ApiError(404, f"{kernel.ref} has no session")
    return kernel, found[0]


class Cut(NamedTuple):
    """Where a log stream is cut: after so many events, or so many seconds; `abrupt` without a last chunk."""

    events: float
    seconds: float
    abrupt: bool

    @classmethod
    def of(cls, fault: Fault | None) -> Cut | None:
        """Read the fault cut_log; one event unless it says something else."""
        if fault is None:
            return None
        seconds = float(fault.get("seconds", math.inf))
        events = float(fault.get("events", 1 if seconds == math.inf else math.inf))
        return cls(events, seconds, bool(fault.get("abrupt", False)))


def _live(session: Session, wait_s: float, cut: Cut | None, endless: Fault | None) -> Iterator[bytes]:
    """Follow a log, waiting up to `wait_s` while the session is queued."""
    queued_until = session.world.clock() + timedelta(seconds=wait_s)
    cut = cut or Cut(math.inf, math.inf, abrupt=False)
    events, cut_at_s = 0, time.monotonic() + cut.seconds
    for chunk in session.log.follow(0.5 if cut.seconds == math.inf else 0.05):
        if not chunk and session.state == "QUEUED" and session.world.clock() > queued_until:
            return
        if chunk == END and endless:
            yield from _silence(float(endless.get("hold", 0)))
            return
        kept = chunk
        if cut.events < math.inf:
            found = [event for event in EVENT.findall(chunk) if event != END][: int(cut.events) - events]
            events, kept = events + len(found), b"".join(found)
        yield kept
        if events >= cut.events or (chunk == END and cut.events < math.inf) or time.monotonic() >= cut_at_s:
            if cut.abrupt:
                raise HangUp
            return


def _silence(seconds: float) -> Iterator[bytes]:
    """Say nothing for a while; stop when the client leaves."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        yield b""
        time.sleep(0.05)
