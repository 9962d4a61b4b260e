"""Listen on a port of this machine: limits, the Host check, a record of every request, and no connection left open."""

from __future__ import annotations

import socket
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from plugins.lib.kaggle.server import LocalKaggle

IDLE_S = 75.0  # keep-alive, and the limit for one read or write
HOSTS = ("127.0.0.1", "localhost")


class HangUp(Exception):  # noqa: N818 - not an error: the connection is closed without an answer, on purpose
    """Close the connection and say nothing more."""


class Server(ThreadingHTTPServer):
    """One listening port. Knows its open connections, so that `close` leaves none behind."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler], kaggle: LocalKaggle) -> None:
        self.kaggle = kaggle
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name=f"kaggle:{self.port}", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def hosts(self) -> set[str]:
        """Values of the Host header that are ours; bare localhost is what the official CLI says through HTTP_PROXY."""
        storage = urlsplit(self.kaggle.storage_url).netloc  # comes to the other port too, see ApiPort.do_GET
        return {f"{host}:{self.port}" for host in HOSTS} | {"localhost", storage}

    def begin(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and shut every open connection."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join(5)
        with self._open_lock:
            for connection in self._open:
                _shut(connection)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        with self._open_lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class names it
        """Answer 500 to what nobody expected and keep the traceback in server.log; a client that left is no news."""
        text = traceback.format_exc()
        if isinstance(sys.exception(), (ConnectionError, TimeoutError, HangUp)):
            return
        with (self.kaggle.world.root / "server.log").open("a", encoding="utf-8") as log:
            log.write(text)
        body = b'{"code":500,"message":"Internal error"}'
        head = (
            f"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        try:
            request.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        except OSError:
            return


def _shut(connection: socket.socket) -> None:
    """Wake up whoever reads from or writes to this connection."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class Common(BaseHTTPRequestHandler):
    """What both ports share: limits, the Host check, and a record of every request."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # http.server's own unbuffered writes and Nagle cost 2 x 40 ms per call
    disable_nagle_algorithm = True
    timeout = IDLE_S
    server_version = "kagg-local-kaggle"
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent; `requests` has the record."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - the base class names it
        """Record the request when its status line is sent."""
        self.server.kaggle.requests.append((self.command, self.path, int(code)))
        self.server.kaggle.last_request_s = time.monotonic()

    def parse_request(self) -> bool:
        """Refuse other hosts (DNS rebinding) before anything else is looked at."""
        if not super().parse_request():
            return False
        absolute = urlsplit(self.path)
        host = absolute.netloc or self.headers.get("Host", "")
        if host.lower() in self.server.hosts:
            return True
        self.send_error(421, "Misdirected Request")
        return False
