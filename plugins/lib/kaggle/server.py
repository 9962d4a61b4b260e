"""Serve Kaggle's API on this machine: one port for the API, one for storage, as two hosts are used by the real one."""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from plugins.lib.kaggle import account, blobs, datasets, kernels, storage
from plugins.lib.kaggle.listening import Common, HangUp, Server
from plugins.lib.kaggle.sessions import Limits, Sessions
from plugins.lib.kaggle.wire import ApiError, Redirect, Stream
from plugins.lib.kaggle.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from plugins.lib.kaggle.faults import Faults
    from plugins.lib.kaggle.wire import RPC

METHODS: dict[str, RPC] = {**account.METHODS, **kernels.METHODS, **datasets.METHODS, **blobs.METHODS}
MAX_BODY_BYTES = 10 * 1024**2  # the real one hangs up without an answer somewhere between 1.1 and 12.9 MB
NO_LINGER = struct.pack("ii", 1, 0)  # close() then resets the connection, socket(7)


class StoragePort(Common):
    """Signed downloads and uploads; plugins/lib/kaggle/storage.py answers."""

    def _answer(self) -> None:
        _answer_storage(self)

    do_GET = do_HEAD = do_PUT = do_POST = _answer  # noqa: N815 - http.server names them


def _answer_storage(port: Common) -> None:
    """Answer a request that is meant for storage, on whichever port it came."""
    world = port.server.kaggle.world
    if port.headers.get("Authorization"):
        world.leaks += 1
    path = port.path.removeprefix(port.server.kaggle.storage_url)
    port.path = re.sub(r"^/kf/\d+/", "/", path)  # kernel outputs carry their session's id, outputs.py
    storage.handle(port, world, world.faults)


def _is_utf8(body: dict[str, Any]) -> bool:
    """Tell whether no text in a body has a lone surrogate, which JSON can escape and UTF-8 cannot hold."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class ApiPort(Common):
    """Kaggle's API: POST /api/v1/{service}/{Method}, the older REST paths, the log stream, and our own controls."""

    def do_POST(self) -> None:  # noqa: N802 - http.server names it
        """Answer an RPC or a control."""
        self._guarded(self._post)

    def do_GET(self) -> None:  # noqa: N802 - http.server names it
        """Answer a REST path, a log stream, or /healthz.

        And what is meant for storage: the official CLI reaches us through HTTP_PROXY, and `requests` takes that proxy
        for the host that it is redirected to as well, whatever NO_PROXY says.
        """
        if self.path.startswith(self.server.kaggle.storage_url + "/"):
            _answer_storage(self)
        else:
            self._guarded(self._get)

    def _guarded(self, act: Callable[[str, dict[str, Any]], None]) -> None:
        """Turn ApiError into Kaggle's error body and HangUp into a closed connection."""
        url = urlsplit(self.path)
        try:
            act(unquote(url.path), dict(parse_qsl(url.query)))
        except ApiError as error:
            content = json.dumps(error.body).encode() if error.body else b""
            self.reply(error.status, content, "application/json" if content else "")
        except HangUp:
            self.close_connection = True

    def _get(self, path: str, query: dict[str, Any]) -> None:
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # nobody reads that body, so nothing may follow it
        if path == "/healthz":
            self.reply_json({"ok": True, "pid": self.server.kaggle.pid})
            return
        if path == "/_local/state":
            self._check_control()
            self.reply_json(self.server.kaggle.state())
            return
        rpc, fields, name = kernels.rest(path.removeprefix("/api/v1/"))
        self._call(name, rpc, {**query, **fields})

    def _post(self, path: str, query: dict[str, Any]) -> None:
        content = self._body()
        try:
            body = json.loads(content) if content else {}
        except ValueError as error:
            raise ApiError(400, "Invalid JSON payload received") from error
        if not isinstance(body, dict) or not _is_utf8(body):
            raise ApiError(400, "Invalid JSON payload received")
        if path == "/_local/faults":
            self._control(body)
            return
        name = path.removeprefix("/api/v1/")
        if name not in METHODS:
            raise ApiError(404, f"Not found: {path}")
        self._call(name, METHODS[name], {**query, **body})

    def _body(self) -> bytes:
        """Read the request body within MAX_BODY_BYTES."""
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # the body stays unread
            raise ApiError(411, "Length Required")
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise HangUp
        return self.rfile.read(int(length))

    def _check_control(self) -> None:
        """Let only those who can read server.json pass."""
        if self.headers.get("X-Local-Token") != self.server.kaggle.control_token:
            raise ApiError(403, "X-Local-Token is missing or wrong")

    def _control(self, body: dict[str, Any]) -> None:
        """Add a fault, or clear them all: {"kind": ..., "match": ..., "times": ..., options} or {"clear": true}."""
        self._check_control()
        faults = self.server.kaggle.faults
        if body.pop("clear", False):
            faults.clear()
        try:
            for fault in [body] if body else []:
                faults.add(**fault)
        except (TypeError, ValueError) as error:
            raise ApiError(400, str(error)) from error
        self.reply_json({"faults": faults.waiting()})

    def _call(self, name: str, rpc: RPC, body: dict[str, Any]) -> None:
        """Let the faults for `name` happen around one RPC."""
        kaggle = self.server.kaggle
        self._before(name)
        user = kaggle.world.accounts.who(self.headers.get("Authorization"))
        answer = rpc(kaggle.world, user, body)
        if kaggle.faults.take("lost_reply", name):
            raise HangUp
        if isinstance(answer, Redirect):
            self.reply(302, b"", headers={"Location": answer.location})
        elif isinstance(answer, Stream):
            self._stream(answer)
        elif kaggle.faults.take("bad_json", name):
            self.reply(200, json.dumps(answer).encode()[:-1] + b', "cut":', "application/json")
        elif kaggle.faults.take("null_list", name):
            self.reply_json({key: None if isinstance(value, list) else value for key, value in answer.items()})
        else:
            self.reply_json(answer)

    def _before(self, name: str) -> None:
        """Let happen what happens before the call is processed."""
        faults = self.server.kaggle.faults
        if fault := faults.take("latency", name):
            time.sleep(fault.get("ms", 100) / 1000)
        if fault := faults.take("stall", name):
            self._hold(fault.get("seconds", 60))
            raise HangUp
        if faults.take("reset", name):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.connection.close()
            raise HangUp
        if fault := faults.take("status", name):
            self._refuse(
                fault.get("status", 503), fault.get("body", "kaggle"), fault.get("retry_after", None), fault.options
            )
            raise HangUp

    def _hold(self, seconds: float) -> None:
        """Say nothing for `seconds`, or until the client or the server goes away."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._client_left() and not self.server.kaggle.stopping.wait(0.05):
            pass

    def _refuse(self, status: int, form: str, retry_after: str | float | None, options: dict[str, Any]) -> None:
        """Send one of the error bodies that Kaggle and the Google front end before it send."""
        message = options.get("message", "Too many requests" if status == 429 else "Internal error")
        google = {"error": {"code": status, "message": message, "status": "RESOURCE_EXHAUSTED"}}
        content, content_type = {
            "kaggle": (json.dumps({"code": status, "message": message}), "application/json"),
            "google": (json.dumps(google), "application/json; charset=UTF-8"),
            "html": (f"<!DOCTYPE html><title>Error {status}</title><p>{message}", "text/html; charset=UTF-8"),
            "empty": ("", ""),
        }[form]
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.reply(status, content.encode(), content_type, headers)

    def reply_json(self, answer: Any) -> None:
        """Send 200 with a JSON body."""
        self.reply(200, json.dumps(answer, ensure_ascii=False).encode(errors="replace"), "application/json")

    def reply(self, status: int, content: bytes, content_type: str = "", headers: dict[str, str] | None = None) -> None:
        """Send a whole reply."""
        self.send_response(status)
        for name, value in {"Content-Type": content_type, **(headers or {})}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, answer: Stream) -> None:
        """Send chunks as they come (RFC 9112 7.1); stop when the client or the server goes away."""
        self.send_response(200)
        for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for chunk in answer.chunks:
            if chunk:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            elif self._client_left() or self.server.kaggle.stopping.is_set():
                raise HangUp
        self.wfile.write(b"0\r\n\r\n")

    def _client_left(self) -> bool:
        """Tell whether the client has closed its end."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


class LocalKaggle:
    """The local Kaggle: `with LocalKaggle(folder) as kaggle: ... kaggle.url ...`.

    Raises:
        OSError: a port is taken.
    """

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        storage_port: int = 0,
        clock: Callable[[], datetime] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.world = World(root, clock=clock)
        self.pid = os.getpid()
        self.control_token = secrets.token_hex(16)
        self.requests: deque[tuple[str, str, int]] = deque(maxlen=10_000)
        self.last_request_s = time.monotonic()
        self.stopping = threading.Event()
        self._api = Server(port, ApiPort, self)
        try:
            self._storage = Server(storage_port, StoragePort, self)
        except OSError:
            self._api.close()
            raise
        self.url = self.world.api_url = f"http://127.0.0.1:{self._api.port}"
        self.storage_url = self.world.storage_url = f"http://127.0.0.1:{self._storage.port}"
        self.world.sessions = Sessions(self.world, limits or Limits())

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose."""
        return self.world.faults

    @property
    def leaks(self) -> int:
        """How many requests brought an Authorization header to storage."""
        return self.world.leaks

    def state(self) -> dict[str, Any]:
        """Describe the server for tests in another process."""
        return {
            "requests": [list(request) for request in list(self.requests)],  # a copy: other threads go on appending
            "leaks": self.leaks,
            "faults": self.faults.waiting(),
            "sessions": self.world.sessions.live_ids(),
        }

    def start(self) -> Self:
        """Answer requests from now on; sessions that a dead server left behind become ERROR first."""
        self.world.sessions.recover()
        self._api.begin()
        self._storage.begin()
        return self

    def stop(self) -> None:
        """Kill running sessions, close both ports and every connection. Safe to call twice."""
        self.stopping.set()
        self.world.sessions.close()
        self._api.close()
        self._storage.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
