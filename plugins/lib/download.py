"""Download to a file that appears only when it is whole: resume, renewal of expired URLs, checks, atomic rename."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING

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
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "downloads that resume and verify", "requires": {}}

EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})  # storage answers 400 ExpiredToken; others vary
MAX_RENEWALS = 3  # fresh signed URLs for one file
MAX_RESTARTS = 3  # times a download begins again from byte 0
PIECE_BYTES = 1 << 18


class _Part:
    """A download under way: `.NAME.part`, its MD5 so far, and the ETag that a later process needs to go on."""

    def __init__(self, dest: Path) -> None:
        name = dest.name if len(dest.name) < 80 else hashed(dest.name)
        self.path, self.note = dest.with_name(f".{name}.part"), dest.with_name(f".{name}.part.json")
        self.restarts = -1
        self.restart(keep_files=True)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            etag = str(decode_json(self.note.read_text(encoding="utf-8"))["etag"])
            with self.path.open("rb") as stream:
                while piece := stream.read(PIECE_BYTES):
                    self.add(piece)
            self.etag = etag

    def add(self, piece: bytes) -> None:
        """Count and hash bytes that are in the file."""
        self.md5.update(piece)
        self.size += len(piece)

    def restart(self, *, keep_files: bool = False) -> None:
        """Begin again from byte 0."""
        self.md5, self.size, self.etag = hashlib.md5(usedforsecurity=False), 0, ""
        self.restarts += 1
        if not keep_files:
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)


def download(
    ctx: Context,
    get_url: Callable[[], str],
    dest: Path,
    *,
    size_bytes: int | None = None,
    attempts: int = 6,
    timeout_s: float = 30.0,
) -> Path:
    """Download to `dest`, which appears only when it is whole.

    Resumes with Range and If-Range in this process and in a later one, asks `get_url` again when a signed URL has
    expired, checks Content-Length, `size_bytes` and `x-goog-hash`, and renames at the end. No Authorization is sent.
    `attempts` counts tries in a row that brought no byte.

    Raises:
        KaggError: SERVICE when it cannot be had, INTEGRITY when what arrives twice is not what was promised.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    with locked(ctx.home / "temp" / "locks" / hashed(str(dest.absolute())), timeout_s=3600):
        part, url, idle, renewals, broken = _Part(dest), get_url(), 0, 0, 0
        while True:
            before = part.size
            try:
                promised_md5 = _receive(ctx, url, part, timeout_s, size_bytes)
                _verify(dest.name, part, promised_md5, size_bytes)
                part.path.replace(dest)
                part.note.unlink(missing_ok=True)
                return dest  # noqa: TRY300 - the loop goes on after an error only
            except KaggError as error:
                expired = error.details.get("status") in EXPIRED_STATUSES
                broken += error.code == Exit.INTEGRITY
                renewals += expired
                idle = 0 if part.size > before else idle + 1
                enough = broken > 1 or renewals > MAX_RENEWALS or part.restarts > MAX_RESTARTS or idle >= attempts
                if enough or not (expired or error.details.get("retry")):
                    raise
                pause_s = 0.0 if expired or broken else min(0.3 * 2**idle, 15.0) * ctx.random.uniform(0.5, 1.0)
                ctx.say(f"{dest.name}: {error.message}; going on from byte {part.size}", 1)
                ctx.sleep(error.details.get("wait_s") or pause_s)
                url = get_url() if expired else url


def _receive(ctx: Context, url: str, part: _Part, timeout_s: float, size_bytes: int | None) -> str:
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
    if part.etag:
        write_atomic(part.note, json.dumps({"etag": part.etag, "version": 1}), 0o600)
    with part.path.open("ab" if part.size else "wb") as stream:
        try:
            for piece in answer.pieces(PIECE_BYTES):
                stream.write(piece)
                part.add(piece)
        finally:
            stream.flush()
            os.fsync(stream.fileno())
    framed = answer.headers.get("Content-Length") or answer.headers.get("Transfer-Encoding")
    if not part.size and not framed and size_bytes is None:  # a cut-off header passes http.client as whole
        raise service_error(f"{host_of(url)} answered nothing at all to a download", retry=True)
    if size_bytes is not None and part.size < size_bytes:  # closed early by a server that announced no length
        raise service_error(f"{part.size} of {size_bytes} bytes arrived", retry=True)
    return _promised_md5(answer.headers)


def _promised_md5(headers: Mapping[str, str]) -> str:
    """Return the base64 MD5 of `x-goog-hash: crc32c=...,md5=...`; the two may come as headers of their own."""
    values = headers.get_all("x-goog-hash") if hasattr(headers, "get_all") else [headers.get("x-goog-hash") or ""]
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", ",".join(values or []))
    return found[1] if found else ""


def _verify(name: str, part: _Part, promised_md5: str, size_bytes: int | None) -> None:
    """Compare the part with the size and the MD5 that the server promised."""
    seen_md5 = base64.b64encode(part.md5.digest()).decode()
    if size_bytes is not None and part.size != size_bytes:
        fault = f"{part.size} bytes arrived, {size_bytes} were promised"
    elif promised_md5 and promised_md5 != seen_md5:
        fault = f"its MD5 is {seen_md5}, the server promised {promised_md5}"
    else:
        return
    part.restart()
    hint = "nothing was kept; try again later"
    raise KaggError(f"{name}: {fault}", code=Exit.INTEGRITY, hint=hint, details={"retry": True})
