"""What a session leaves: status, log, output files, and the quota that it used."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from plugins.lib.kaggle import archives, records, storage
from plugins.lib.kaggle.sessionlog import END, stored
from plugins.lib.kaggle.sessions import LIVE
from plugins.lib.kaggle.wire import ApiError, Redirect, Stream, compact, duration, from_iso, iso, number, page, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from plugins.lib.kaggle.records import Kernel
    from plugins.lib.kaggle.sessions import Session
    from plugins.lib.kaggle.world import World

URL_TTL_S = 3600.0
SIZE_CHUNK = 256 * 1024
HOSTILE = ("../evil.txt", "/tmp/evil-absolute.txt", "ok/../../evil-nested.txt")  # noqa: S108 - a name to refuse, not a file of ours
WAIT_FOR_LOG_S, LONGEST_WAIT_S = 60, 300


def session_status(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """Return {"status", "failureMessage"?}; QUEUED is the zero value and left out, so a queued run answers {}."""
    kernel = records.asked(world, user, body)
    found = records.session_of(world, kernel, records.version_number(kernel, body))
    if found is None:
        return {"status": "NEW_SCRIPT"}
    state = found[1]["state"]
    return compact({"status": "" if state == "QUEUED" else state, "failureMessage": found[1].get("failureMessage")})


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Return (name, path) of every regular file, sorted; links are left out, they could lead anywhere."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    root = folder.resolve()
    return [(path.relative_to(folder).as_posix(), path) for path in paths if path.resolve().is_relative_to(root)]


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
    listed = [(name, path) for name, path in _files(folder / "output")]
    if fault := world.faults.take("hostile_names", kernel.ref):
        listed += [(name, folder / "source") for name in fault.get("names", HOSTILE)]
    shown, following = page(listed, body, size=20, largest=200)
    files = [{"fileName": name, "url": _url(world, session["id"], name, path)} for name, path in shown]
    log = "" if text(body, "pageToken") else json.dumps(stored(folder / "log.jsonl"), ensure_ascii=False)
    return {"files": files, **compact({"log": log, "nextPageToken": following})}


def _url(world: World, session_id: int, name: str, path: Path) -> str:
    """Return a signed URL, .../kf/<session id>/<token>/<name>; the storage port drops the first two parts."""
    url = storage.sign(world, path, name=name.lstrip("/"), ttl_s=URL_TTL_S)
    return url.replace(world.storage_url, f"{world.storage_url}/kf/{session_id}", 1)


def list_files(world: World, user: str | None, body: dict[str, Any], /) -> dict[str, Any]:
    """List names and sizes of the output."""
    kernel = records.asked(world, user, body)
    finished = _finished(world, kernel, body)
    listed = _files(finished[0] / "output") if finished else []
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
    for name, path in _files(finished[0] / "output"):
        if name == wanted:
            return Redirect(_url(world, finished[1]["id"], name, path))
    raise ApiError(404, f"{wanted} is not in the output of {kernel.ref}")


def _zipped(world: World, folder: Path) -> Path:
    """Return a zip of a finished version's output, made once."""
    path = folder / "output.zip"
    with world.lock:
        if not path.exists():
            archives.build_zip(_files(folder / "output"), path)
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
        content = json.dumps(stored(folder / "log.jsonl"), ensure_ascii=False).encode()
        return Stream("application/json", iter([content]))
    wait_s = min(number(body, "waitForLogsUrlSeconds") or WAIT_FOR_LOG_S, LONGEST_WAIT_S)
    cut = world.faults.take("cut_log", kernel.ref)
    return Stream("text/event-stream", _live(session, wait_s, cut.get("events", 1) if cut else None))


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


def _live(session: Session, wait_s: float, cut_after: int | None) -> Iterator[bytes]:
    """Follow a log, waiting up to `wait_s` while the session is queued; end cleanly after `cut_after` events."""
    events = 0
    queued_until = session.world.clock() + timedelta(seconds=wait_s)
    for chunk in session.log.follow():
        if not chunk and session.state == "QUEUED" and session.world.clock() > queued_until:
            return
        if cut_after is None:
            yield chunk
            continue
        for event in re.findall(rb"data: .*\n\n", chunk):
            if event == END or events >= cut_after:
                return
            events += 1
            yield event
        if events >= cut_after:
            return
        yield b""


def quota(world: World, user: str | None, _body: dict[str, Any], /) -> dict[str, Any]:
    """Return what this account used of the week's accelerator time and what its live sessions hold back."""
    if user is None:
        raise ApiError(401, "Unauthenticated")
    refresh = week_end(world.clock())
    limits = world.sessions.limits
    return {
        "quotaRefreshTime": iso(refresh),
        "gpuQuota": _quota(world, user, "GPU", refresh - timedelta(days=7), limits.gpu_week_s),
        "tpuQuota": _quota(world, user, "TPU", refresh - timedelta(days=7), limits.tpu_week_s),
    }


def week_end(now: datetime) -> datetime:
    """Return the next Saturday 00:00 UTC, when the quota starts again."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (5 - midnight.weekday()) % 7  # Monday is 0, Saturday 5
    return midnight + timedelta(days=days or 7)


def _quota(world: World, user: str, kind: str, since: datetime, allowed_s: float) -> dict[str, Any]:
    """Return one ApiAcceleratorQuota. Reserved is what live sessions may still take."""
    usage = (world.load(world.root / "usage.json") or {"sessions": []})["sessions"]
    mine = [entry for entry in usage if entry["user"] == user and entry["accelerator"] == kind]
    used_s = sum(entry["seconds"] for entry in mine if from_iso(entry["ended"]) >= since)
    reserved_s = 0.0
    for session in world.sessions.live(user):
        if session.order.accelerator == kind:
            started = session.document.get("started")
            elapsed_s = (world.clock() - from_iso(started)).total_seconds() if started else 0.0
            used_s += elapsed_s
            reserved_s += max(session.order.timeout_s - elapsed_s, 0.0)
    fields = {"timeUsed": used_s, "timeReserved": reserved_s, "totalTimeAllowed": allowed_s}
    return {**{name: duration(seconds) for name, seconds in fields.items()}, **compact({"hasEverRun": bool(mine)})}
