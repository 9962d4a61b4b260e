"""Speak HTTP/1.1 for serve.py: requests in, JSON answers out. Stand-alone, standard library only.

One thread a connection, one `send` an answer, TCP_NODELAY. http.server is not used: its unbuffered answers meet Nagle's
algorithm and delayed acknowledgements, 2 x 40 ms a call, and its header parser costs more than all of this together;
`python bench/serve.py` measures both.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BODY_BYTES = 6 * 1024**2  # what AWS Lambda takes: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_HEAD_BYTES = 32 * 1024
MAX_CONNECTIONS = 200
REFUSED_AT_ONCE = 32  # connections beyond the limit that still get a polite 503
IDLE_S, HEAD_S, BODY_S, SEND_S = 60.0, 10.0, 60.0, 30.0
ACCEPT_S = 0.2  # how soon a stop is noticed
LINGER_S, LINGER_BYTES = 1.0, 16 * 1024**2
REASONS = {status.value: status.phrase for status in HTTPStatus}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_BARE = re.compile(r"(?<!\r)\n|\r(?!\n)|\x00")
_ONCE = frozenset({"host", "content-length", "transfer-encoding"})


class Refused(Exception):  # noqa: N818 - an answer that is not 200, not only an error
    """End the request with this status; `extra` is added to the answer's header lines."""

    def __init__(self, status: int, message: str, extra: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.extra = status, message, extra


class Request(NamedTuple):
    """One parsed request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Wire:
    """The bytes of one connection, read within limits of size and time (a slow sender cannot hold it for ever)."""

    def __init__(self, sock: socket.socket, max_body: int) -> None:
        self.sock, self.max_body, self.buffer = sock, max_body, bytearray()

    def fill(self, deadline: float) -> None:
        """Receive something more before `deadline`, in seconds of the monotonic clock."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise Refused(408, "the request took too long to arrive")
        self.sock.settimeout(left_s)
        try:
            piece = self.sock.recv(65536)
        except TimeoutError:
            raise Refused(408, "the request took too long to arrive") from None
        if not piece:
            raise ConnectionResetError
        self.buffer += piece

    def until(self, mark: bytes, limit: int, deadline: float, status: int) -> bytes:
        """Take the bytes before `mark`, and drop the mark."""
        seen = 0
        while (end := self.buffer.find(mark, seen)) < 0:
            if len(self.buffer) > limit:
                raise Refused(status, f"more than {limit} bytes without an end")
            seen = max(0, len(self.buffer) - len(mark))
            self.fill(deadline)
        if end > limit:
            raise Refused(status, f"more than {limit} bytes")
        found = bytes(self.buffer[:end])
        del self.buffer[: end + len(mark)]
        return found

    def exactly(self, count: int, deadline: float) -> bytes:
        """Take `count` bytes."""
        while len(self.buffer) < count:
            self.fill(deadline)
        found = bytes(self.buffer[:count])
        del self.buffer[:count]
        return found

    def waits(self, timeout_s: float) -> bool:
        """Wait for the first byte of a request; False when the client is done."""
        while not self.buffer:
            self.sock.settimeout(timeout_s)
            piece = self.sock.recv(65536)
            if not piece:
                return False
            self.buffer += piece.lstrip(b"\r\n")  # RFC 9112 section 2.2
        return True

    def request(self, head_s: float = HEAD_S) -> Request:
        """Read one request."""
        head = self.until(b"\r\n\r\n", MAX_HEAD_BYTES, time.monotonic() + head_s, 431).decode("latin-1")
        if _BARE.search(head):
            raise Refused(400, "bare line end in the header")
        first, *lines = head.split("\r\n")
        method, target, version = _first_line(first)
        headers = _headers(lines)
        if version == "HTTP/1.1" and "host" not in headers:
            raise Refused(400, "no Host header")
        connection = headers.get("connection", "").lower()
        keep = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, self._body(headers), keep)

    def _body(self, headers: dict[str, str]) -> bytes:
        coding, length = headers.get("transfer-encoding", "").lower(), headers.get("content-length", "")
        if not coding and not length:
            return b""
        if coding and (length or coding != "chunked"):
            raise Refused(
                *((400, "both Content-Length and Transfer-Encoding") if length else (501, f"no coding {coding!r}"))
            )
        if length and not (length.isascii() and length.isdigit() and len(length) < 16):
            raise Refused(400, "bad Content-Length")
        if length and int(length) > self.max_body:
            raise Refused(413, f"the body has {length} bytes, the limit is {self.max_body}")
        deadline = time.monotonic() + BODY_S
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self.exactly(int(length), deadline) if length else self._chunks(deadline)

    def _chunks(self, deadline: float) -> bytes:
        """Decode a chunked body (RFC 9112 section 7.1); extensions and trailers are read and dropped."""
        pieces, total = [], 0
        while True:
            digits = self.until(b"\r\n", 1024, deadline, 400).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
                raise Refused(400, "bad chunk size")
            size = int(digits, 16)
            total += size
            if total > self.max_body:
                raise Refused(413, f"the body is larger than {self.max_body} bytes")
            if size == 0:
                break
            pieces.append(self.exactly(size, deadline))
            if self.exactly(2, deadline) != b"\r\n":
                raise Refused(400, "bad chunk end")
        while self.until(b"\r\n", MAX_HEAD_BYTES, deadline, 431):
            pass
        return b"".join(pieces)


def _first_line(line: str) -> tuple[str, str, str]:
    """Split the request line; an absolute target loses its origin (RFC 9112 section 3.2.2)."""
    parts = line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not parts[2].startswith("HTTP/"):
        raise Refused(400, "bad request line")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(505, f"{version[:20]} is not spoken here")
    if target[:7].lower() == "http://":
        target = "/" + target[7:].partition("/")[2]
    if not target.startswith("/") and target != "*":
        raise Refused(400, "bad request target")
    return method, target, version


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Refused(400, "bad header line")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise Refused(400, f"two {name} headers")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


class Server:
    """Accepts connections, one thread each up to a limit; `answer` turns each request into status and JSON body."""

    def __init__(self, answer: Callable[[Request], tuple[int, bytes]], max_body: int, max_connections: int) -> None:
        self.answer, self.max_body, self.max_connections = answer, max_body, max_connections
        self.lock, self.connections, self.active, self.draining = threading.Lock(), 0, 0, False
        self.numbers = itertools.count(1)
        self.date = (0, "")

    def accept(self, listener: socket.socket) -> None:
        """Accept until `draining`, then take what already waits and close."""
        listener.settimeout(ACCEPT_S)
        with listener:
            while True:
                last = self.draining
                if last:
                    listener.setblocking(False)
                try:
                    sock, _ = listener.accept()
                except (TimeoutError, BlockingIOError):
                    if last:
                        return
                    continue
                except OSError:  # out of descriptors, or the client has gone: neither may end the server
                    time.sleep(0.01)
                    continue
                self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        """Start a thread for the connection; beyond the limit it only says 503, and far beyond it nothing."""
        with self.lock:
            over = self.connections - self.max_connections
            self.connections += 1
        if over < REFUSED_AT_ONCE:
            talk = self._refuse if over >= 0 else self._converse
            with contextlib.suppress(RuntimeError):  # the system has no thread left
                return threading.Thread(target=self._run, args=(sock, talk), daemon=True).start()
        sock.close()
        with self.lock:
            self.connections -= 1
        return None

    def _run(self, sock: socket.socket, talk: Callable[[Wire], None]) -> None:
        try:
            with sock, contextlib.suppress(OSError):  # the client went away: nobody is left to tell
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                talk(Wire(sock, self.max_body))
                _linger(sock)
        finally:
            with self.lock:
                self.connections -= 1

    def _refuse(self, wire: Wire) -> None:
        if wire.waits(1.0):
            with contextlib.suppress(Refused):
                wire.until(b"\r\n\r\n", MAX_HEAD_BYTES, time.monotonic() + 1.0, 431)
            self._send(wire, self._refusal(Refused(503, "too many connections", "Retry-After: 1\r\n")))

    def _converse(self, wire: Wire) -> None:
        keep = True
        while keep and wire.waits(IDLE_S):
            with self.lock:
                self.active += 1
            try:
                keep = self._one(wire)
            finally:
                with self.lock:
                    self.active -= 1

    def _one(self, wire: Wire) -> bool:
        """Answer one request and return whether the connection stays open."""
        keep = head_only = False
        try:
            request = wire.request()
            keep, head_only = request.keep_alive, request.method == "HEAD"
            status, body = self.answer(request)
            reply = (status, body, "")
        except Refused as refused:
            reply = self._refusal(refused)
        keep = keep and not self.draining
        self._send(wire, reply, keep=keep, head_only=head_only)
        return keep

    def _send(self, wire: Wire, reply: tuple[int, bytes, str], *, keep: bool = False, head_only: bool = False) -> None:
        status, body, extra = reply
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}\r\nDate: {self._date()}\r\n"
            f"Content-Type: application/json\r\n{length}X-Content-Type-Options: nosniff\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n{extra}\r\n"
        ).encode("latin-1")
        wire.sock.settimeout(SEND_S)
        wire.sock.sendall(head if head_only or status == 204 else head + body)

    def _refusal(self, refused: Refused) -> tuple[int, bytes, str]:
        kind = REASONS[refused.status].title().replace(" ", "")
        return refused.status, self.error(kind, refused.message, self.number()), refused.extra

    def error(self, kind: str, message: str, number: str) -> bytes:
        """Return the body of every answer that is an error; `number` finds its traceback in the log."""
        return json.dumps({"error": {"type": kind, "message": message[:500], "request_id": number}}).encode()

    def number(self) -> str:
        """Return a new request id."""
        return f"{os.getpid():x}-{next(self.numbers):x}"

    def drain(self, limit_s: float) -> None:
        """Stop accepting and wait up to `limit_s` for the requests that are being answered."""
        deadline = time.monotonic() + limit_s
        self.draining = True
        time.sleep(ACCEPT_S + 0.1)  # one turn of accept(), which then also takes the connections that wait
        while self.active and time.monotonic() < deadline:
            time.sleep(0.02)

    def _date(self) -> str:
        now = int(time.time())
        if now != self.date[0]:
            day = time.gmtime(now)  # not strftime: the package may have set a locale
            names = "MonTueWedThuFriSatSun", "JanFebMarAprMayJunJulAugSepOctNovDec"
            weekday, month = names[0][3 * day.tm_wday :][:3], names[1][3 * day.tm_mon - 3 :][:3]
            clock = f"{day.tm_hour:02}:{day.tm_min:02}:{day.tm_sec:02}"
            self.date = (now, f"{weekday}, {day.tm_mday:02} {month} {day.tm_year} {clock} GMT")
        return self.date[1]


def _linger(sock: socket.socket) -> None:
    """Let the client read the answer before the connection is reset by what it still sends."""
    sock.shutdown(socket.SHUT_WR)
    deadline, left = time.monotonic() + LINGER_S, LINGER_BYTES
    while left > 0 and (wait_s := deadline - time.monotonic()) > 0:
        sock.settimeout(wait_s)
        piece = sock.recv(65536)
        if not piece:
            return
        left -= len(piece)
