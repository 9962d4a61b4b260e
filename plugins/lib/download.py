"""Download to a file that appears only when it is whole: resume, renewal of expired URLs, checks, atomic rename."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import (
    RETRY_STATUSES,
    VERSION,
    Context,
    Exit,
    KaggError,
    hashed,
    host_of,
    retry_after_s,
    send,
    service_error,
    write_atomic,
)
from kagg import _try_lock as try_lock  # `locked` keeps its file
from plugins.lib.download_parts import Held, Part, Promise, is_long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


PLUGIN = {"api": 1, "summary": "downloads that resume and verify", "requires": {}}

EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})  # storage answers 400 ExpiredToken; others vary
MAX_RENEWALS = 3  # fresh signed URLs for one file
MAX_RESTARTS = 3  # times a download begins again from byte 0
HELD_BYTES = 1 << 21  # what is promised to be no larger is kept in memory until it is whole
LOCK_S = 3600.0


class Stored(NamedTuple):
    """A file that is whole, under its final name."""

    path: Path
    size_bytes: int
    sha256: str


@contextlib.contextmanager
def _alone(ctx: Context, dest: Path) -> Iterator[None]:
    """Be the only one that downloads to `dest`. The file of the lock goes with its holder.

    Raises:
        KaggError: FAILED after LOCK_S seconds.
    """
    path = ctx.home / "temp" / "locks" / f"{hashed(str(dest.absolute()))}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    dest.parent.mkdir(parents=True, exist_ok=True)
    until_s = time.monotonic() + LOCK_S
    while True:
        with path.open("a+b") as stream:
            if try_lock(stream.fileno()) and _is_at(stream.fileno(), path):
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):  # Windows keeps what is open
                        path.unlink()
                return
        if time.monotonic() > until_s:
            raise KaggError(f"{dest} is being downloaded by another process", hint="wait and try again")
        time.sleep(0.02)


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file still has its name; the lock of one that was removed excludes nobody."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


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
    small = size_bytes is not None and size_bytes <= HELD_BYTES
    with contextlib.nullcontext() if small else _alone(ctx, dest):
        part, url, idle, renewals, broken = (Held if small else Part)(dest), get_url(), 0, 0, 0
        while True:
            before = part.size
            try:
                promised_md5 = _receive(ctx, url, part, timeout_s, promise, durable=durable)
                _verify(dest.name, part, promised_md5, promise)
                part.settle(dest, durable=durable)
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


def _receive(ctx: Context, url: str, part: Part, timeout_s: float, promise: Promise, *, durable: bool) -> str:
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
    if part.is_noted and part.etag and (durable or is_long(answer.headers, part.size)):
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


def _promised_md5(headers: Mapping[str, str]) -> str:
    """Return the base64 MD5 of `x-goog-hash: crc32c=...,md5=...`; the two may come as headers of their own."""
    values = headers.get_all("x-goog-hash") if hasattr(headers, "get_all") else [headers.get("x-goog-hash") or ""]
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", ",".join(values or []))
    return found[1] if found else ""


def _verify(name: str, part: Part, promised_md5: str, promise: Promise) -> None:
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
