"""Upload files to Kaggle: StartBlobUpload, then pieces in Google's resumable protocol.

An upload that broke off goes on where it stopped, in this process or a later one: the open session is remembered under
the content's SHA-256 in KAGG_HOME/temp/uploads. Nothing but the API sees credentials.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, NamedTuple

from kagg import Context, Exit, KaggError, Reply, fetch, file_sha256, kaggle_base, kaggle_rpc, locked, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

START_UPLOAD = "blobs.BlobApiService/StartBlobUpload"
PIECE_BYTES = 8 * 1024**2  # a multiple of 256 KiB, as Google's resumable uploads ask for all pieces but the last
SESSION_LIFETIME = timedelta(days=6)  # how long kaggle 2.2.4 tries to go on with an upload
MAX_IDLE = 6  # requests in a row without a new byte, before an upload is given up


class Session(NamedTuple):
    """An open or finished upload. `url` is as good as a password for it."""

    token: str
    url: str
    started: str  # ISO, UTC
    done: bool = False


class _Job(NamedTuple):
    """What is to be uploaded, and where its session is remembered."""

    path: Path
    kind: str
    note: Path


class Uploaded(NamedTuple):
    """A finished upload and the file that remembers it."""

    token: str
    note: Path


def upload_blob(ctx: Context, path: Path, *, kind: str = "DATASET") -> str:
    """Upload a file and return the token that CreateDataset wants; see `upload`."""
    return upload(ctx, path, kind=kind).token


def upload(ctx: Context, path: Path, *, kind: str = "DATASET", identity: str = "") -> Uploaded:
    """Upload a file under its own name. `identity` tells files of one name and content apart; delete `note` after use.

    Raises:
        KaggError: SERVICE when Kaggle or its storage keeps refusing, INTEGRITY when the file changed meanwhile.
    """
    before = path.stat()
    job = _Job(path, kind, _note(ctx, path, kind, identity or path.name))
    with locked(job.note), path.open("rb") as source:
        session = _remembered(ctx, job.note)
        if session is None or not session.done:
            session = _finished(ctx, job, source, session)
    after = path.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        job.note.unlink(missing_ok=True)
        raise KaggError(f"{path} changed while it was uploaded", code=Exit.INTEGRITY, hint="upload it again")
    return Uploaded(session.token, job.note)


def _finished(ctx: Context, job: _Job, source: IO[bytes], session: Session | None) -> Session:
    """Go on with a session, or with a new one when there is none or the storage has forgotten it."""
    size_bytes = job.path.stat().st_size
    try:
        start = 0 if session is None else None
        session = session or _begin(ctx, job)
        _transmit(ctx, source, session.url, size_bytes, start)
    except _SessionEndedError:
        session = _begin(ctx, job)
        _transmit(ctx, source, session.url, size_bytes, 0)
    session = session._replace(done=True)
    _remember(job.note, session)
    return session


class _SessionEndedError(KaggError):
    """The storage does not know the upload session any more."""


def _note(ctx: Context, path: Path, kind: str, identity: str) -> Path:
    """Return where the session for this content, identity and server is remembered."""
    known_by = json.dumps([kaggle_base(ctx), kind, identity, path.name, file_sha256(path)])
    return ctx.home / "temp" / "uploads" / f"{hashlib.sha256(known_by.encode()).hexdigest()[:32]}.json"


def _remembered(ctx: Context, note: Path) -> Session | None:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(note.read_bytes())
        session = Session(*(found[field] for field in Session._fields))
        if ctx.now() - datetime.fromisoformat(session.started) < SESSION_LIFETIME:
            return session
    return None


def _remember(note: Path, session: Session) -> None:
    write_atomic(note, json.dumps({"version": 1, **session._asdict()}, sort_keys=True), 0o600)


def _begin(ctx: Context, job: _Job) -> Session:
    status = job.path.stat()
    about = {"contentLength": status.st_size, "lastModifiedEpochSeconds": int(status.st_mtime)}
    reply = kaggle_rpc(ctx, START_UPLOAD, {"type": job.kind, "name": job.path.name, **about})  # twice does no harm
    if not reply.get("token") or not reply.get("createUrl"):
        raise KaggError(f"Kaggle opened no upload for {job.path.name}", code=Exit.SERVICE)
    session = Session(str(reply["token"]), str(reply["createUrl"]), ctx.now().astimezone(UTC).isoformat())
    _remember(job.note, session)
    return session


def _transmit(ctx: Context, source: IO[bytes], url: str, size_bytes: int, start: int | None) -> None:
    """Send the file in pieces from `start` (None: ask the storage), asking again after every interruption."""
    at, idle = start, 0
    while True:
        try:
            reply = _ask(ctx, url, size_bytes) if at is None else _send_piece(ctx, url, source, at, size_bytes)
            if reply.status in (200, 201):
                return
            arrived = _arrived(reply, size_bytes)
            idle = 0 if at is None or arrived > at else idle + 1
            at = arrived
        except KaggError as error:
            status = error.details.get("status")
            if status in (404, 410):
                raise _SessionEndedError(error.message, code=Exit.SERVICE, details=error.details) from error
            idle += 1
            if not error.details.get("retry") or idle >= MAX_IDLE:
                raise
            at = None
            ctx.say(f"{error.message}; asking how much of the upload arrived", 1)
            ctx.sleep(min(0.3 * 2**idle, 15.0) * ctx.random.uniform(0.5, 1.0))
        if idle >= MAX_IDLE:
            raise KaggError(f"the storage took no byte in {idle} requests in a row", code=Exit.SERVICE)
        ctx.progress({"uploaded_bytes": at or 0, "size_bytes": size_bytes})


def _ask(ctx: Context, url: str, size_bytes: int) -> Reply:
    headers = {"Content-Range": f"bytes */{size_bytes}"}
    return fetch(ctx, "PUT", url, headers=headers, body=b"", attempts=1, ok=(200, 201, 308), follow=False)


def _send_piece(ctx: Context, url: str, source: IO[bytes], at: int, size_bytes: int) -> Reply:
    source.seek(at)
    piece = source.read(min(PIECE_BYTES, size_bytes - at))
    headers = {"Content-Type": "application/octet-stream"}
    if size_bytes:  # an empty file has no range
        headers["Content-Range"] = f"bytes {at}-{at + len(piece) - 1}/{size_bytes}"
    ok = (200, 201, 308)
    return fetch(ctx, "PUT", url, headers=headers, body=piece, timeout_s=120, attempts=1, ok=ok, follow=False)


def _arrived(reply: Reply, size_bytes: int) -> int:
    """Return how many bytes the storage has: "Range: bytes=0-41" is 42, no Range is none."""
    value = reply.headers.get("Range") or ""
    match = re.fullmatch(r"bytes=0-(\d+)", value)
    arrived = int(match[1]) + 1 if match else 0
    if (value and not match) or arrived > size_bytes:
        raise KaggError(f"the storage claims {value!r} of {size_bytes} bytes", code=Exit.INTEGRITY)
    return arrived
