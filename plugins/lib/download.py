"""Download to a file that appears only when it is whole: resume, renewal of expired URLs, checks, atomic rename."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import queue
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from kagg import (
    RETRY_STATUSES,
    VERSION,
    Context,
    Exit,
    KaggError,
    decode_json,
    hashed,
    host_of,
    locked,
    retry_after_s,
    send,
    service_error,
    write_atomic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

    from kagg import Stream

PLUGIN = {"api": 1, "summary": "downloads that resume and verify", "requires": {}}

EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})  # storage answers 400 ExpiredToken; others vary
MAX_RENEWALS = 3  # fresh signed URLs for one file
MAX_RESTARTS = 3  # times a download begins again from byte 0
PIECE_BYTES = 1 << 18
NOTED_BYTES = 1 << 23  # a download of less begins again rather than being noted for a later process
SYNC_BYTES = 1 << 24  # the disk gets this much at a time while more arrives, so that little is left for the end


class Stored(NamedTuple):
    """A file that is whole, under its final name."""

    path: Path
    size_bytes: int
    sha256: str


class Promise(NamedTuple):
    """What a file must be: its size and SHA-256 when they are known, and never more than `max_bytes`."""

    size_bytes: int | None = None
    sha256: str = ""
    max_bytes: int | None = None

    def exceeded(self, size_bytes: int) -> bool:
        """Tell whether so many bytes are too many."""
        return any(limit is not None and size_bytes > limit for limit in (self.size_bytes, self.max_bytes))


class _Beside:
    """A thread for what a download can do meanwhile; it starts with the first call, and `depth` calls may wait.

    With a depth of 0 there is none: a thread costs more than what a small file takes.
    """

    def __init__(self, depth: int) -> None:
        self._todo: queue.Queue[tuple[Callable[..., Any], Any] | None] = queue.Queue(depth)
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def do(self, call: Callable[..., Any], argument: Any, *, wait: bool = True) -> None:
        """Call `call(argument)` there; without `wait` not while earlier calls do."""
        if not self._todo.maxsize:
            call(argument)
            return
        if not self._thread:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Full):
            self._todo.put((call, argument), block=wait)

    def _work(self) -> None:
        while task := self._todo.get():
            try:
                task[0](task[1])
            except OSError as error:
                self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._thread:
            self._todo.put(None)
            self._thread.join()
        if self._error and not kind:
            raise self._error


class _Part:
    """A download under way: `.NAME.part`, its hashes so far, and the ETag that a later process needs to go on."""

    md5: Any = None

    def __init__(self, dest: Path) -> None:
        name = dest.name if len(dest.name) < 80 else hashed(dest.name)
        self.path, self.note = dest.with_name(f".{name}.part"), dest.with_name(f".{name}.part.json")
        self.restarts = -1
        self.restart(keep_files=True)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            etag = str(decode_json(self.note.read_text(encoding="utf-8"))["etag"])
            self.size = self._feed(self.sha256)
            self.etag = etag

    def _feed(self, digest: Any) -> int:
        """Hash what is in the file and return how much that is."""
        size = 0
        with self.path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
        return size

    def with_md5(self) -> None:
        """Compute the MD5, too, because the server promises one and nobody a better hash."""
        if not self.md5:
            self.md5 = hashlib.md5(usedforsecurity=False)
            if self.size:
                self._feed(self.md5)

    def restart(self, *, keep_files: bool = False) -> None:
        """Begin again from byte 0."""
        self.sha256, self.size, self.etag = hashlib.sha256(), 0, ""
        self.md5 = None
        self.restarts += 1
        if not keep_files:
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)

    def receive(self, answer: Stream, promise: Promise, *, durable: bool) -> None:
        """Append an answer's body; the hashes and the disk are served by threads of their own."""
        synced = self.size
        with self.path.open("ab" if self.size else "wb", buffering=0) as stream:
            try:
                depth = 8 if _is_long(answer.headers, self.size) else 0
                with _Beside(depth) as hashing, _Beside(depth) as md5, _Beside(1) as syncing:
                    for piece in answer.pieces(PIECE_BYTES):
                        _write(stream, piece)
                        hashing.do(self.sha256.update, piece)
                        self.size += len(piece)
                        if self.md5:
                            md5.do(self.md5.update, piece)
                        if durable and self.size - synced >= SYNC_BYTES:
                            syncing.do(_sync, stream.fileno(), wait=False)
                            synced = self.size
                        if promise.exceeded(self.size):
                            answer.close()
                            break
            finally:
                if durable:
                    os.fsync(stream.fileno())


def _write(stream: FileIO, piece: bytes) -> None:
    """Write all of a piece; an unbuffered write may take a part of it."""
    view = memoryview(piece)
    while view:
        view = view[stream.write(view) or 0 :]


_sync = getattr(os, "fdatasync", os.fsync)


def download(ctx: Context, get_url: Callable[[], str], dest: Path, **checks: Any) -> Path:
    """Download to `dest` as `store` does and return the path."""
    return store(ctx, get_url, dest, **checks).path


def store(
    ctx: Context,
    get_url: Callable[[], str],
    dest: Path,
    *,
    size_bytes: int | None = None,
    sha256: str = "",
    max_bytes: int | None = None,
    attempts: int = 6,
    timeout_s: float = 30.0,
    durable: bool = True,
) -> Stored:
    """Download to `dest`, which appears only when it is whole.

    Resumes with Range and If-Range in this process and in a later one, asks `get_url` again when a signed URL has
    expired or its content was wrong, and renames at the end. Checks Content-Length, `size_bytes`, and `sha256` or else
    the MD5 of `x-goog-hash`. No Authorization is sent. `attempts` counts tries in a row that brought no byte.
    What is not `durable` may be lost in a power cut: it can be fetched again.

    Raises:
        KaggError: SERVICE when it cannot be had, INTEGRITY when what arrives twice is not what was promised, or more
            than `max_bytes`.
    """
    promise = Promise(size_bytes, sha256.lower(), max_bytes)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with locked(ctx.home / "temp" / "locks" / hashed(str(dest.absolute())), timeout_s=3600):
        part, url, idle, renewals, broken = _Part(dest), get_url(), 0, 0, 0
        while True:
            before = part.size
            try:
                promised_md5 = _receive(ctx, url, part, timeout_s, promise, durable=durable)
                _verify(dest.name, part, promised_md5, promise)
                part.path.replace(dest)
                part.note.unlink(missing_ok=True)
                return Stored(dest, part.size, part.sha256.hexdigest())
            except KaggError as error:
                expired, wrong = error.details.get("status") in EXPIRED_STATUSES, error.code == Exit.INTEGRITY
                broken += wrong
                renewals += expired
                idle = 0 if part.size > before else idle + 1
                enough = broken > 1 or renewals > MAX_RENEWALS or part.restarts > MAX_RESTARTS or idle >= attempts
                if enough or not (expired or error.details.get("retry")):
                    raise
                pause_s = 0.0 if expired or broken else min(0.3 * 2**idle, 15.0) * ctx.random.uniform(0.5, 1.0)
                ctx.say(f"{dest.name}: {error.message}; going on from byte {part.size}", 1)
                ctx.sleep(error.details.get("wait_s") or pause_s)
                url = get_url() if expired or wrong else url


def _receive(ctx: Context, url: str, part: _Part, timeout_s: float, promise: Promise, *, durable: bool) -> str:
    """Append what the server sends to the part file and return the MD5 that it promises, "" when it does not."""
    headers = {"User-Agent": f"kagg/{VERSION}", "Accept-Encoding": "identity"}
    if part.size and part.etag:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.etag}
    elif part.size:
        part.restart()
    answer = send(ctx, "GET", url, headers=headers, timeout_s=timeout_s)
    start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    if answer.status not in (200, 206) or (answer.status == 206 and (not start or int(start[1]) != part.size)):
        answer.close()
        odd = answer.status in (206, 416)  # not the range that we asked for: begin again
        if odd:
            part.restart()
        wait_s = min(retry_after_s(ctx, answer.headers) or 0.0, 60.0)
        again = odd or answer.status in RETRY_STATUSES
        message = f"{host_of(url)} answered {answer.status} to a download"
        raise service_error(message, status=answer.status, retry=again, wait_s=wait_s)
    if answer.status == 200 and part.size:
        part.restart()
    etag = answer.headers.get("ETag") or ""
    part.etag = "" if etag.startswith("W/") else etag  # a weak one does not promise the same bytes
    if part.etag and _is_long(answer.headers, part.size):
        write_atomic(part.note, json.dumps({"etag": part.etag, "version": 1}), 0o600)
    promised_md5 = "" if promise.sha256 else _promised_md5(answer.headers)
    if promised_md5:
        part.with_md5()
    part.receive(answer, promise, durable=durable)
    framed = answer.headers.get("Content-Length") or answer.headers.get("Transfer-Encoding")
    if not part.size and not framed and promise.size_bytes is None:  # a cut-off header passes http.client as whole
        raise service_error(f"{host_of(url)} answered nothing at all to a download", retry=True)
    if promise.size_bytes is not None and part.size < promise.size_bytes:  # closed early, no length announced
        raise service_error(f"{part.size} of {promise.size_bytes} bytes arrived", retry=True)
    return promised_md5


def _is_long(headers: Mapping[str, str], size_bytes: int) -> bool:
    """Tell whether a download is worth going on with in a later process."""
    length = headers.get("Content-Length") or ""
    return not length.isdigit() or size_bytes + int(length) >= NOTED_BYTES


def _promised_md5(headers: Mapping[str, str]) -> str:
    """Return the base64 MD5 of `x-goog-hash: crc32c=...,md5=...`; the two may come as headers of their own."""
    values = headers.get_all("x-goog-hash") if hasattr(headers, "get_all") else [headers.get("x-goog-hash") or ""]
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", ",".join(values or []))
    return found[1] if found else ""


def _verify(name: str, part: _Part, promised_md5: str, promise: Promise) -> None:
    """Compare the part with what was promised."""
    seen_md5 = base64.b64encode(part.md5.digest()).decode() if part.md5 else ""
    again = True
    if promise.max_bytes is not None and part.size > promise.max_bytes:
        fault, again = f"it has more than {promise.max_bytes} bytes", False
    elif promise.size_bytes is not None and part.size != promise.size_bytes:
        fault = f"{part.size} bytes arrived, {promise.size_bytes} were promised"
    elif promise.sha256 and promise.sha256 != part.sha256.hexdigest():
        fault = f"its SHA-256 is {part.sha256.hexdigest()}, {promise.sha256} was promised"
    elif promised_md5 and promised_md5 != seen_md5:
        fault = f"its MD5 is {seen_md5}, the server promised {promised_md5}"
    else:
        return
    part.restart()
    hint = "nothing was kept; try again later"
    raise KaggError(f"{name}: {fault}", code=Exit.INTEGRITY, hint=hint, details={"retry": again})
