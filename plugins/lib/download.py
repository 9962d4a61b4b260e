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
    hashed,
    host_of,
    locked,
    network_reason,
    retry_after_s,
    send,
    write_atomic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PLUGIN = {"api": 1, "summary": "downloads that resume and verify", "requires": {"urllib3": "urllib3>=2.2"}}

MAX_RENEWALS = 3  # fresh signed URLs asked for in a row
MAX_RESTARTS = 3  # times a download begins again from byte 0


class _Part:
    """A download under way: `.NAME.part`, its MD5 so far, and the ETag that a later process needs to go on."""

    def __init__(self, dest: Path) -> None:
        self.path = dest.with_name(f".{dest.name[:100]}.part")
        self.note = dest.with_name(f".{dest.name[:100]}.part.json")
        self.md5, self.size, self.etag = hashlib.md5(usedforsecurity=False), 0, ""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self.etag = str(json.loads(self.note.read_text(encoding="utf-8"))["etag"])
            with self.path.open("rb") as stream:
                while piece := stream.read(1 << 20):
                    self.md5.update(piece)
                    self.size += len(piece)

    def restart(self) -> None:
        self.md5, self.size, self.etag = hashlib.md5(usedforsecurity=False), 0, ""
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

    Raises:
        KaggError: SERVICE when it cannot be had, INTEGRITY when what arrives twice is not what was promised.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    with locked(ctx.home / "temp" / "locks" / hashed(str(dest.resolve()))):
        part, url, idle, renewals, broken = _Part(dest), get_url(), 0, 0, 0
        while True:
            before = part.size
            try:
                headers = _receive(ctx, url, part, timeout_s)
                _verify(dest.name, part, headers, size_bytes)
                part.path.replace(dest)
                part.note.unlink(missing_ok=True)
                return dest
            except KaggError as error:
                broken += error.code == Exit.INTEGRITY
                expired = error.details.get("status") in (400, 401, 403, 404, 410)
                idle = 0 if part.size > before else idle + 1
                if (
                    (expired and renewals >= 3)
                    or broken > 1
                    or idle >= attempts
                    or not (expired or error.details.get("retry"))
                ):
                    raise
                renewals += expired
                pause = (
                    0.0
                    if expired or error.code == Exit.INTEGRITY
                    else min(0.3 * 2**idle, 15.0) * ctx.random.uniform(0.5, 1.0)
                )
                ctx.say(f"{dest.name}: {error.message}; going on from byte {part.size}", 1)
                ctx.sleep(error.details.get("wait_s") or pause)
                if expired:
                    url = get_url()


def _receive(ctx: Context, url: str, part: _Part, timeout_s: float) -> Mapping[str, str]:
    """Append what the server sends to the part file and return the answer's headers."""
    import urllib3

    headers = {"User-Agent": f"kagg/{VERSION}", "Accept-Encoding": "identity"}
    if part.size and part.etag:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.etag}
    elif part.size:
        part.restart()
    response = send(ctx, "GET", url, headers=headers, timeout_s=timeout_s)
    status, found = response.status, response.headers
    start = re.match(r"bytes (\d+)-", found.get("Content-Range") or "")
    if status not in (200, 206) or (status == 206 and (not start or int(start[1]) != part.size)):
        response.drain_conn()
        if status in (206, 416):
            part.restart()
        wait_s = min(retry_after_s(ctx, found) or 0.0, 60.0)
        raise KaggError(
            f"{host_of(url)} answered {status}",
            code=Exit.SERVICE,
            details={"status": status, "retry": status in RETRY_STATUSES or status in (206, 416), "wait_s": wait_s},
        )
    if status == 200:
        part.restart()
    part.etag = found.get("ETag") or ""
    if part.etag and not part.etag.startswith("W/"):
        write_atomic(part.note, json.dumps({"etag": part.etag, "version": 1}), 0o600)
    try:
        with part.path.open("ab") as stream:
            for piece in response.stream(1 << 18, decode_content=False):
                stream.write(piece)
                part.md5.update(piece)
                part.size += len(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise KaggError(
            f"the download broke off: {network_reason(error)}", code=Exit.SERVICE, details={"retry": True}
        ) from error
    finally:
        response.close()
    return dict(found)


def _verify(name: str, part: _Part, headers: Mapping[str, str], size_bytes: int | None) -> None:
    """Compare the part with the size and the MD5 that the server promised (x-goog-hash: crc32c=..,md5=<base64>)."""
    promised = re.search(
        r"md5=([A-Za-z0-9+/=]+)", ",".join(value for key, value in headers.items() if key.lower() == "x-goog-hash")
    )
    seen = base64.b64encode(part.md5.digest()).decode()
    if size_bytes is not None and part.size < size_bytes:
        fault = f"{part.size} of {size_bytes} bytes arrived"
    elif size_bytes is not None and part.size != size_bytes:
        fault = f"{part.size} bytes arrived, {size_bytes} were promised"
    elif promised and promised[1] != seen:
        fault = f"its MD5 is {seen}, the server promised {promised[1]}"
    else:
        return
    part.restart()
    raise KaggError(
        f"{name}: {fault}", code=Exit.INTEGRITY, hint="nothing was kept; try again later", details={"retry": True}
    )
