"""A git host for tests: `git http-backend` behind a web server on this machine, with or without a password."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Seen(NamedTuple):
    """A request that the host got."""

    method: str
    path: str
    headers: dict[str, str]


class GitHost:
    """Serve the bare repositories of a folder; `token` (None: nobody is asked) is the password of every user."""

    def __init__(self, folder: Path, token: str | None = None, config: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.token, self.config = folder, token, config
        self.seen: list[Seen] = []
        self.refuse_push = self.elsewhere = ""  # elsewhere: where this host sends everybody
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    def make(self, name: str, *options: str) -> str:
        """Make an empty repository and return its URL."""
        place = self.folder / f"{name}.git"
        git = ["git", "-c", "init.defaultBranch=main"]
        subprocess.run([*git, "init", "--quiet", "--bare", *options, str(place)], check=True)
        subprocess.run([*git, "-C", str(place), "config", "http.receivepack", "true"], check=True)
        for setting in self.config:
            subprocess.run([*git, "-C", str(place), "config", *setting.split("=")], check=True)
        return f"{self.url}/{name}.git"

    def refs(self, name: str) -> dict[str, str]:
        """Return what a repository has."""
        words = ["git", "-C", str(self.folder / f"{name}.git"), "for-each-ref", "--format=%(refname) %(objectname)"]
        lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
        return dict(line.split(" ") for line in lines)

    def authorized(self, header: str | None) -> bool:
        if self.token is None:
            return True
        kind, _, value = (header or "").partition(" ")
        return kind == "Basic" and base64.b64decode(value).decode().partition(":")[2] == self.token

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join(5)
        self.server.server_close()


def _handler(host: GitHost):
    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def answer(self):
            host.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
            body = self.body()
            if not host.authorized(self.headers.get("Authorization")):
                self.refuse(401)
            elif host.elsewhere:
                self.refuse(302)
            elif host.refuse_push and "receive-pack" in self.path:
                self.refuse(403)
            else:
                self.backend(body)

        def refuse(self, status):
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
            if status == 302:
                self.send_header("Location", host.elsewhere + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def body(self):
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            return whole

        def backend(self, body):
            path, _, query = self.path.partition("?")
            env = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(host.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_NOSYSTEM": "1",
                "HOME": str(host.folder),
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "CONTENT_LENGTH": str(len(body)),
                "REMOTE_ADDR": "127.0.0.1",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            }
            done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 - http.server names them

        def log_message(self, *args):
            pass

    return Handler
