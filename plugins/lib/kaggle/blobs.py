"""Uploads to the local Kaggle: StartBlobUpload, then Google's resumable PUT protocol on the storage origin.

    PUT createUrl, whole body, no Content-Range           -> 200
    PUT createUrl, Content-Range: bytes 4-9/10            -> 308 while bytes are missing, 200 with the last one
    PUT createUrl, Content-Range: bytes */10, empty body  -> 308 with "Range: bytes=0-3" (no Range: nothing yet) | 200

What arrived before an interruption is kept in blobs/<token>/data and survives a restart. The file of a finished upload
becomes a dataset's by a hard link, and goes when the last dataset that has it is deleted.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import urllib.parse
import weakref
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Exit, KaggError, safe_path
from plugins.lib.kaggle.wire import ApiError, from_iso, iso, number, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from plugins.lib.kaggle.wire import RPC
    from plugins.lib.kaggle.world import World

CHUNK_BYTES = 256 * 1024
SESSION_LIFETIME = timedelta(days=6)  # how long kaggle 2.2.4 keeps what it needs to resume an upload
DRAIN_BYTES = 8 * 1024**2  # read this much of a refused body, so that a client that is still sending sees the answer
TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
UPLOAD_PATH = "/upload/"

_locks: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()  # one writer per upload


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """An answer of the storage origin in its XML error form."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class Reply(NamedTuple):
    """What to answer to a PUT: 308 with the bytes that are there, or 200."""

    status: int
    received_bytes: int = 0


class Span(NamedTuple):
    """Which bytes a PUT carries: [start, end), or a question about them."""

    start: int
    end: int
    is_question: bool = False


def start_upload(world: World, user: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Open an upload session and return its token and URL."""
    if user is None:
        raise ApiError(401, "Unauthenticated")
    name, size_bytes = text(body, "name"), number(body, "contentLength")
    try:
        safe_path(world.root, name)
    except KaggError as error:
        raise ApiError(400, f"Invalid file name {name[:80]!r}") from error
    if "/" in name or "\\" in name or size_bytes < 0:
        raise ApiError(400, f"Invalid file name {name[:80]!r} or length {size_bytes}")
    if size_bytes > shutil.disk_usage(world.root).free:
        raise ApiError(400, f"No space for {size_bytes} bytes")
    _purge(world)
    token, upload_id = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    blob = {"user": user, "name": name, "size_bytes": size_bytes, "type": text(body, "type"), "upload_id": upload_id}
    world.save(_folder(world, token) / "blob.json", {**blob, "created": iso(world.clock()), "complete": False}, 0o600)
    query = urllib.parse.urlencode({"uploadType": "resumable", "upload_id": upload_id})
    return {"token": token, "createUrl": f"{world.storage_url}{UPLOAD_PATH}{token}?{query}"}


def _folder(world: World, token: str) -> Path:
    return world.root / "blobs" / token


def _is_expired(world: World, blob: dict[str, Any]) -> bool:
    return world.clock() - from_iso(blob["created"]) > SESSION_LIFETIME


def _purge(world: World) -> None:
    """Delete uploads that are too old to be resumed or used; a dataset made of them has its own links."""
    for path in (world.root / "blobs").glob("*/blob.json"):
        blob = world.load(path)
        if blob is not None and (_is_expired(world, blob) or _is_spent(path.parent, blob)):
            world.forget(path.parent)
            shutil.rmtree(path.parent, ignore_errors=True)


def _is_spent(folder: Path, blob: dict[str, Any]) -> bool:
    """Tell whether a dataset was made of this upload, and none has a link to it: it was unpacked, copied or deleted."""
    try:
        return bool(blob.get("claimed")) and (folder / "data").stat().st_nlink == 1
    except FileNotFoundError:  # deleted by another thread
        return True


def spend(world: World, tokens: Iterable[str] = ()) -> None:
    """Note that datasets have been made of these uploads, and drop the bytes that no dataset uses any more."""
    with world.lock:
        for token in tokens:
            path = _folder(world, token) / "blob.json"
            if blob := world.load(path):
                world.save(path, {**blob, "claimed": True}, 0o600)
        _purge(world)


def claim(world: World, user: str, token: str) -> tuple[str, Path]:
    """Return (file name, path of the bytes) of a finished upload of this user. It may be claimed again until `spend`.

    Raises:
        KaggError: USAGE, there is no such upload, or it is not finished.
    """
    blob = world.load(_folder(world, token) / "blob.json") if TOKEN.fullmatch(token) else None
    if blob is None or blob["user"] != user or _is_expired(world, blob):
        raise KaggError(f"unknown upload token {token[:8]!r}", code=Exit.USAGE)
    if not blob["complete"]:
        raise KaggError(f"the upload of {blob['name']!r} is not finished", code=Exit.USAGE)
    return str(blob["name"]), _folder(world, token) / "data"


def blob_name(world: World, path: str) -> str:
    """Return the file name that an upload URL stands for, "" for a URL that is not ours."""
    token = urllib.parse.urlsplit(path).path.removeprefix(UPLOAD_PATH)
    blob = world.load(_folder(world, token) / "blob.json") if TOKEN.fullmatch(token) else None
    return str(blob["name"]) if blob else ""


def receive(handler: BaseHTTPRequestHandler, world: World, *, stop_after: int | None = None) -> Reply:
    """Take one PUT of an upload session.

    Args:
        handler: the request.
        world: where the bytes go.
        stop_after: break the connection off after this many bytes of the body.

    Raises:
        Refused: 400 or 404; the body has been read as far as DRAIN_BYTES.
        ConnectionError: the body ended early; what came is kept.
    """
    body = _body(handler)
    try:
        folder, blob = _session(world, handler.path)
        with _one_writer(world, folder.name):
            return _take(handler, world, folder, blob, _limited(body, stop_after))
    except Refused:
        _drain(body)
        raise


def _session(world: World, path: str) -> tuple[Path, dict[str, Any]]:
    """Return the upload that a URL belongs to."""
    url = urllib.parse.urlsplit(path)
    token = url.path.removeprefix(UPLOAD_PATH)
    blob = world.load(_folder(world, token) / "blob.json") if TOKEN.fullmatch(token) else None
    upload_id = urllib.parse.parse_qs(url.query).get("upload_id", [""])[0].encode()
    known = blob is not None and secrets.compare_digest(blob["upload_id"].encode(), upload_id)
    if blob is None or not known or _is_expired(world, blob):
        raise Refused(404, "NoSuchUpload", "The upload session is unknown or has expired.")
    return _folder(world, token), blob


@contextmanager
def _one_writer(world: World, token: str) -> Iterator[None]:
    """Wait for an earlier PUT of the same session, whose broken connection may not have been noticed yet."""
    with world.lock:
        lock = _locks.setdefault(token, threading.Lock())
    if not lock.acquire(timeout=10):
        raise Refused(503, "SlowDown", "Another request of this upload session is being processed.")
    try:
        yield
    finally:
        lock.release()


def _take(
    handler: BaseHTTPRequestHandler, world: World, folder: Path, blob: dict[str, Any], body: Iterator[bytes]
) -> Reply:
    span = _span(handler, blob["size_bytes"])
    data = folder / "data"
    have = data.stat().st_size if data.exists() else 0
    if blob["complete"]:
        _drain(body)
        return Reply(200)
    if span.is_question or span.start > have:  # a gap: tell the client where to go on
        _drain(body)
        return Reply(308, have)
    have = _write(data, span, body)
    if have < blob["size_bytes"]:
        return Reply(308, have)
    blob["complete"] = True
    world.save(folder / "blob.json", blob, 0o600)
    return Reply(200)


def _span(handler: BaseHTTPRequestHandler, size_bytes: int) -> Span:
    """Read Content-Range; without one the body is the whole file."""
    value = handler.headers.get("Content-Range")
    if value is None:
        return Span(0, size_bytes)
    match = RANGE.fullmatch(value.strip())
    if match is None or int(match[3]) != size_bytes:
        raise Refused(400, "InvalidArgument", f"Content-Range {value!r} does not fit an upload of {size_bytes} bytes.")
    if match[1] is None:
        return Span(0, 0, is_question=True)
    start, end = int(match[1]), int(match[2]) + 1
    if not start < end <= size_bytes:
        raise Refused(400, "InvalidArgument", f"Content-Range {value!r} does not fit an upload of {size_bytes} bytes.")
    return Span(start, end)


def _write(data: Path, span: Span, body: Iterator[bytes]) -> int:
    """Store the body at its place, byte by byte as it comes, and return how much of the file is there now."""
    descriptor = os.open(data, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "r+b") as target:
        target.truncate(span.start)
        target.seek(span.start)
        for chunk in body:
            if target.tell() + len(chunk) > span.end:
                raise Refused(400, "InvalidArgument", f"The body is longer than {span.end - span.start} bytes.")
            target.write(chunk)
            target.flush()
        if target.tell() < span.end:
            raise Refused(400, "InvalidArgument", f"The body is shorter than {span.end - span.start} bytes.")
        return span.end


def _body(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    """Yield the request body. `requests` sends an empty file as chunked, all others with Content-Length."""
    if "chunked" in handler.headers.get("Transfer-Encoding", "").lower():
        while size_bytes := _chunk_size(handler):
            yield from _exactly(handler, size_bytes)
            handler.rfile.readline(8)
        handler.rfile.readline(8)
    else:
        yield from _exactly(handler, int(handler.headers.get("Content-Length") or 0))


def _chunk_size(handler: BaseHTTPRequestHandler) -> int:
    line = handler.rfile.readline(64).split(b";")[0].strip()
    try:
        return int(line, 16)
    except ValueError as error:
        raise ConnectionAbortedError(f"bad chunk size {line!r}") from error


def _exactly(handler: BaseHTTPRequestHandler, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        chunk = handler.rfile.read1(min(left, CHUNK_BYTES))
        if not chunk:
            raise ConnectionAbortedError(f"{left} of {size_bytes} bytes did not come")
        left -= len(chunk)
        yield chunk


def _limited(body: Iterator[bytes], stop_after: int | None) -> Iterator[bytes]:
    """Pass on the body; raise ConnectionAbortedError after `stop_after` bytes."""
    if stop_after is None:
        yield from body
        return
    left = stop_after
    for chunk in body:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            raise ConnectionAbortedError("broken off on purpose")


def _drain(body: Iterator[bytes]) -> None:
    left = DRAIN_BYTES
    for chunk in body:
        left -= len(chunk)
        if left < 0:
            raise ConnectionAbortedError("the body is too long to be refused politely")


METHODS: dict[str, RPC] = {"blobs.BlobApiService/StartBlobUpload": start_upload}
