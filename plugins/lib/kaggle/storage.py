"""The storage origin of the local Kaggle: signed downloads as Google Cloud Storage answers them, and upload sessions.

Faults are matched against "storage/<METHOD>/<file name>". Beyond what faults.py says, `reset` and `stall` take `bytes`
(break off or hold after so much of the body), `truncate` takes `announce=False` (no Content-Length) and `corrupt` takes
`at` (which byte).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import mimetypes
import os
import re
import select
import socket
import struct
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

from plugins.lib.kaggle import blobs
from plugins.lib.kaggle import world as worlds
from plugins.lib.kaggle.blobs import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path
    from typing import BinaryIO

    from plugins.lib.kaggle.faults import Faults
    from plugins.lib.kaggle.world import World

CHUNK_BYTES = 256 * 1024
CRC32C_BYTES = 1024**2  # pure Python does about 5 MB/s: larger files get only md5, which is what kagglehub checks
CRC32C_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected: RFC 3720, appendix B.4
RANGE = re.compile(r"bytes=(\d*)-(\d*)")  # one range; anything else is answered with the whole file, RFC 9110, 14.2
NO_LINGER = struct.pack("ii", 1, 0)  # close() then resets the connection, socket(7)


class Mishap(NamedTuple):
    """How one body goes wrong."""

    stop_after: int | None = None
    then: str = "close"  # close | reset | stall
    seconds: float = 0.0
    announce: bool = True
    flip_at: int | None = None
    rate_bytes_per_s: float | None = None


class Served(NamedTuple):
    """A file as it is announced."""

    name: str
    size_bytes: int
    modified: str
    etag: str
    hashes: str


def sign(world: World, path: Path, *, name: str, ttl_s: float) -> str:
    """Return a URL for a file below world.root that works for `ttl_s` seconds and ends with the quoted `name`."""
    inside = path.relative_to(world.root).as_posix()
    claims = {"use": "storage", "path": inside, "name": name, "exp": world.clock().timestamp() + ttl_s}
    return f"{world.storage_url}/{worlds.sign(world.signing_key, claims)}/{quote(name)}"


def handle(handler: BaseHTTPRequestHandler, world: World, faults: Faults) -> None:
    """Answer one request to the storage origin."""
    try:
        _dispatch(handler, world, faults)
    except Refused as refusal:
        _refuse(handler, refusal)
    except (ConnectionError, TimeoutError):
        handler.close_connection = True


def _dispatch(handler: BaseHTTPRequestHandler, world: World, faults: Faults) -> None:
    if handler.headers.get("Authorization"):
        raise Refused(400, "InvalidArgument", "Credentials do not belong here: the URL is signed.")
    if handler.command == "PUT":
        _put(handler, world, faults)
    elif handler.command in ("GET", "HEAD"):
        _get(handler, world, faults)
    else:
        raise Refused(405, "MethodNotAllowed", f"{handler.command} is not allowed here.")


def _refuse(handler: BaseHTTPRequestHandler, refusal: Refused) -> None:
    """Send the XML error form of Google storage: cloud.google.com/storage/docs/xml-api/reference-status."""
    content = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message></Error>"
    ).encode()
    handler.send_response(refusal.status)
    handler.send_header("Content-Type", "application/xml; charset=UTF-8")
    for name, value in {"Content-Length": len(content), **refusal.headers}.items():
        handler.send_header(name, str(value))
    handler.send_header("Connection", "close")  # a request body may be left unread
    handler.end_headers()
    handler.close_connection = True
    if handler.command != "HEAD":
        handler.wfile.write(content)


# What goes wrong before the body


def _before(faults: Faults, name: str) -> None:
    """Let the faults happen that come before any work.

    Raises:
        Refused: the answer that a `status` fault asks for.
    """
    if fault := faults.take("latency", name):
        time.sleep(fault.get("ms", 100) / 1000)
    if fault := faults.take("status", name):
        status = fault.get("status", 503)
        code = {429: "TooManyRequests", 503: "SlowDown"}.get(status, "InternalError")
        retry_after = fault.get("retry_after", None)
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        raise Refused(status, code, fault.get("message", "Please try again."), headers)


def _mishap(faults: Faults, name: str, size_bytes: int) -> Mishap:
    """Return what is to go wrong with a body of this size."""
    if fault := faults.take("truncate", name):
        return Mishap(fault.get("bytes", size_bytes // 2), announce=fault.get("announce", True))
    for kind in ("reset", "stall"):
        if fault := faults.take(kind, name):
            return Mishap(fault.get("bytes", None), kind, fault.get("seconds", 60))
    if fault := faults.take("corrupt", name):
        return Mishap(flip_at=fault.get("at", size_bytes // 2))
    if fault := faults.take("slow", name):
        return Mishap(rate_bytes_per_s=float(fault.get("rate", 1024**2)))
    return Mishap()


def _break_off(handler: BaseHTTPRequestHandler, mishap: Mishap) -> None:
    """End the connection in the middle of something."""
    handler.wfile.flush()
    if mishap.then == "stall":
        _hold(handler.connection, mishap.seconds)
    if mishap.then == "reset":
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        handler.connection.close()
    handler.close_connection = True


def _hold(connection: socket.socket, seconds: float) -> None:
    """Say nothing for `seconds`, or until the client or the server closes the connection."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        readable, _, _ = select.select([connection], [], [], 0.05)
        if readable and not connection.recv(1, socket.MSG_PEEK):
            return
        time.sleep(0.05 if readable else 0)


# Uploads


def _put(handler: BaseHTTPRequestHandler, world: World, faults: Faults) -> None:
    name = f"storage/PUT/{blobs.blob_name(world, handler.path)}"
    _before(faults, name)
    if faults.take("expire", name):
        raise Refused(404, "NoSuchUpload", "The upload session is unknown or has expired.")
    mishap = _mishap(faults, name, int(handler.headers.get("Content-Length") or 0))
    if mishap.then != "close" and mishap.stop_after is None:
        _break_off(handler, mishap)
        return
    try:
        reply = blobs.receive(handler, world, stop_after=mishap.stop_after)
    except ConnectionError:
        _break_off(handler, mishap)
        return
    if faults.take("lost_reply", name):
        handler.close_connection = True
        return
    handler.send_response(reply.status)
    if reply.received_bytes:
        handler.send_header("Range", f"bytes=0-{reply.received_bytes - 1}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


# Downloads


def _get(handler: BaseHTTPRequestHandler, world: World, faults: Faults) -> None:
    claims = _claims(world, handler.path)
    name = f"storage/{handler.command}/{claims['name']}"
    _before(faults, name)
    if claims["exp"] <= world.clock().timestamp() or faults.take("expire", name):
        raise Refused(400, "ExpiredToken", "The provided token has expired.")
    with _open(world, claims["path"]) as source:
        served = _served(world.root / claims["path"], claims["name"], os.fstat(source.fileno()))
        mishap = _mishap(faults, name, served.size_bytes) if handler.command == "GET" else Mishap()
        if mishap.then != "close" and mishap.stop_after is None:
            _break_off(handler, mishap)
            return
        span = _span(handler, served)
        _send_headers(handler, served, span, announce=mishap.announce)
        start, end = span or (0, served.size_bytes)
        if handler.command == "GET" and not _send_body(handler, source, start, end, mishap):
            _break_off(handler, mishap)


def _claims(world: World, path: str) -> dict[str, Any]:
    """Return what a signed URL allows.

    Raises:
        Refused: 403, the signature is not ours or the name was changed; 404, there is no token at all.
    """
    token, slash, name = urlsplit(path).path.removeprefix("/").partition("/")
    if not slash:
        raise Refused(404, "NoSuchKey", "The specified key does not exist.")
    claims = worlds.unsign(world.signing_key, token)
    if claims is None or claims.get("use") != "storage" or claims["name"] != unquote(name):
        raise Refused(403, "SignatureDoesNotMatch", "The request signature does not match the URL.")
    return claims


def _open(world: World, inside: str) -> BinaryIO:
    """Open a file below world.root; a link anywhere on the way is as good as no file."""
    path = world.root / inside
    try:
        if path.resolve(strict=True) != path or not path.is_file():  # world.root is resolved
            raise FileNotFoundError(inside)
        return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb")
    except OSError as error:
        raise Refused(404, "NoSuchKey", "The specified key does not exist.") from error


def _served(path: Path, name: str, status: os.stat_result) -> Served:
    modified = format_datetime(
        datetime.fromtimestamp(int(status.st_mtime), UTC), usegmt=True
    )  # English in every locale
    md5, crc32c = _hashes(path, status.st_mtime_ns, status.st_size)
    known = f"crc32c={_b64(crc32c)}," if crc32c else ""
    return Served(name, status.st_size, modified, f'"{md5.hex()}"', f"{known}md5={_b64(md5)}")


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@functools.lru_cache(maxsize=4096)
def _hashes(path: Path, _modified_ns: int, size_bytes: int) -> tuple[bytes, bytes]:
    """Return (md5, crc32c) of a file, the second empty above CRC32C_BYTES. Computed once per version of the file."""
    with path.open("rb") as source:
        md5 = hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).digest()
        source.seek(0)
        return md5, crc32c(source.read()).to_bytes(4, "big") if size_bytes <= CRC32C_BYTES else b""


@functools.cache
def _crc32c_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (CRC32C_POLYNOMIAL if value & 1 else 0) for value in table]
    return table


def crc32c(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli) that Google storage announces for every object."""
    table, crc = _crc32c_table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _span(handler: BaseHTTPRequestHandler, served: Served) -> tuple[int, int] | None:
    """Return [start, end) of the bytes that are asked for, None without a Range that counts."""
    match = RANGE.fullmatch(handler.headers.get("Range", "").strip())
    if match is None or not (match[1] or match[2]):
        return None
    if handler.headers.get("If-Range", served.etag) not in (served.etag, served.modified):
        return None
    if not match[1]:
        start, end = max(served.size_bytes - int(match[2]), 0), served.size_bytes
    else:
        start, end = int(match[1]), min(int(match[2] or served.size_bytes) + 1, served.size_bytes)
        if match[2] and int(match[2]) < start:  # not a range at all: RFC 9110, 14.1.1
            return None
    if start >= end:
        size = {"Content-Range": f"bytes */{served.size_bytes}"}
        raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.", size)
    return start, end


def _send_headers(
    handler: BaseHTTPRequestHandler, served: Served, span: tuple[int, int] | None, *, announce: bool
) -> None:
    start, end = span or (0, served.size_bytes)
    handler.send_response(206 if span else 200)
    handler.send_header("Content-Type", mimetypes.guess_type(served.name)[0] or "application/octet-stream")
    handler.send_header("Accept-Ranges", "bytes")
    handler.send_header("ETag", served.etag)
    handler.send_header("Last-Modified", served.modified)
    handler.send_header("x-goog-hash", served.hashes)
    if span:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{served.size_bytes}")
    if announce:
        handler.send_header("Content-Length", str(end - start))
    else:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()


def _send_body(handler: BaseHTTPRequestHandler, source: BinaryIO, start: int, end: int, mishap: Mishap) -> bool:
    """Send the bytes; say whether it was all of them."""
    stop = end if mishap.stop_after is None else min(start + mishap.stop_after, end)
    if mishap.flip_at is None and mishap.rate_bytes_per_s is None and start < stop:
        handler.wfile.flush()
        if handler.connection.sendfile(source, start, stop - start) < stop - start:
            raise ConnectionAbortedError("the file became shorter while it was sent")
        return stop == end
    source.seek(start)
    chunk_bytes = CHUNK_BYTES if mishap.rate_bytes_per_s is None else max(int(mishap.rate_bytes_per_s / 20), 1)
    for position, chunk in _chunks(source, start, stop, min(chunk_bytes, CHUNK_BYTES)):
        if mishap.rate_bytes_per_s is not None:
            handler.wfile.flush()
            time.sleep(len(chunk) / mishap.rate_bytes_per_s)
        if mishap.flip_at is not None and position <= mishap.flip_at < position + len(chunk):
            at = mishap.flip_at - position
            handler.wfile.write(chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :])
        else:
            handler.wfile.write(chunk)
    return stop == end


def _chunks(source: BinaryIO, start: int, stop: int, chunk_bytes: int) -> Iterator[tuple[int, bytes]]:
    position = start
    while position < stop:
        chunk = source.read(min(chunk_bytes, stop - position))
        if not chunk:
            raise ConnectionAbortedError("the file became shorter while it was sent")
        yield position, chunk
        position += len(chunk)
