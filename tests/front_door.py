"""What tests of the spine use: `main` with captured streams, a context that counts its waits, a scripted web server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from kagg import Context, main

API = "/api/v1/kernels.KernelsApiService/"


class QuickContext(Context):
    """A context that waits 10 ms instead of any longer time, notes what was asked for, and lets its clocks agree."""

    def __init__(self, env):
        self.waits: list[float] = []
        super().__init__(env, stdout=io.StringIO(), stderr=io.StringIO())

    def sleep(self, seconds):
        if seconds > 0:
            self.waits.append(seconds)
            super().sleep(min(seconds, 0.01))

    def monotonic(self):
        return super().monotonic() + sum(self.waits)

    def now(self):
        return super().now() + timedelta(seconds=sum(self.waits))


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def kagg(ctx: Context, *argv: object) -> Done:
    """Run a command in this process, the way the program does."""
    ctx.stdout, ctx.stderr = io.StringIO(), io.StringIO()
    code = main([str(word) for word in argv], ctx)
    return Done(code, ctx.stdout.getvalue(), ctx.stderr.getvalue())


def environment(folder, **more: str) -> dict[str, str]:
    """Return an environment in which everything that kagg keeps lies in `folder`, and nobody is signed in."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    home = {"HOME": str(folder / "home"), "KAGG_HOME": str(folder / "home" / ".kagg"), "KAGG_NO_PLUGINS": "1"}
    return kept | home | {"KAGG_ENDPOINTS": str(folder / "endpoints.json")} | more


def close(ctx: Context) -> None:
    """Close the connections that a context keeps for later; a program leaves that to its end."""
    for kept in ctx.cache.values():
        for connection in kept if isinstance(kept, list) else []:
            if hasattr(connection, "close"):
                connection.close()


class Request(NamedTuple):
    """What the web server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Web:
    """A web server that answers from a table: `web.on(path, answer, ...)`, each answer once, the last one for ever.

    An answer is (status, body, headers), or a function of the handler that does what it likes with the connection.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.table: dict[str, list[Any]] = {}
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    def on(self, path: str, *answers: Any) -> str:
        """Answer `path` (with its query, else without) with these; return its URL."""
        self.table[path] = list(answers)
        return self.url + path

    def next(self, path: str) -> Any:
        with self.lock:
            answers = self.table.get(path) or self.table.get(path.partition("?")[0]) or [(404, b"", {})]
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join(5)
        self.server.server_close()


def _handler(web: Web):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.requests.append(Request(self.command, self.path, headers, body))
            found = web.next(self.path)
            with contextlib.suppress(ConnectionError):
                if callable(found):
                    found(self)
                else:
                    self.whole(*found)

        def whole(self, status, body=b"", headers=None, *, close=False):
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            self.close_connection = self.close_connection or close

        do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = answer  # noqa: N815 - http.server names them

        def log_message(self, *args):
            pass

    return Handler


def cut(body: bytes, announced: int):
    """Return an answer that announces more bytes than it sends."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(announced))
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_WR)

    return answer
