"""Serve an unpacked package over HTTP: JSON in, JSON out. Standard library only.

    python serve.py --package DIR --port 8000 --state state.json

This file, serve_app.py and serve_http.py work from any folder, with any interpreter from Python 3.11, without kagg.

GET /healthz         {"status": "ok", ...}; 503 while the module loads or after it failed, with the error's last line
GET /                what answers here
POST / or /predict   calls `predict(payload)` or `process_request(data)` with the decoded JSON; its answer is the body
any other            goes to `handler(request)` when that is the package's entry, otherwise 404 or 405

`handler` gets {"method", "path", "headers", "query", "body"} and returns the body, `(status, body)` or
`{"status": 201, "body": ...}`. Errors are {"error": {"type", "message", "request_id"}}; tracebacks stay in the log.
NaN and the infinities become null, because JSON has no such numbers (RFC 8259 section 6); numpy, pandas and torch
values are converted with their own `tolist`, `to_dict` and `isoformat`, a data frame becomes a list of records.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from plugins.lib.serve_app import LOOPBACK, Answers, Package
    from plugins.lib.serve_http import MAX_BODY_BYTES, MAX_CONNECTIONS
else:  # run as a script, from its own folder
    from serve_app import LOOPBACK, Answers, Package
    from serve_http import MAX_BODY_BYTES, MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


DRAIN_S = 10.0


def process_start_time(pid: int) -> str:
    """Return when process `pid` started, in a form that only its own life has; "" when there is no such process.

    A pid is reused, a pid with its start time and boot is not. Zombies count as gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _start_time_by_ps(pid)
    return "" if fields[0] in "ZX" else f"{fields[19]}@{boot}"  # fields 3 and 22 of proc(5)


def _start_time_by_ps(pid: int) -> str:
    """Ask `ps`, where there is no /proc (macOS)."""
    import subprocess

    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env={"LC_ALL": "C"})
    state, _, started = found.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else started.strip()


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(511)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _socket_name(path: Path) -> Iterator[str]:
    """Name a Unix socket, whose path may have 108 bytes (unix(7)), through its open folder where the system can."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}" if Path("/proc/self/fd").exists() else str(path)
    finally:
        os.close(folder)


def offer(listener: socket.socket, path: Path) -> None:
    """Hand the listening socket to whoever asks at `path` (SCM_RIGHTS); with two acceptors no connection is lost."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as door, _socket_name(path) as name:
        path.unlink(missing_ok=True)  # left by a server that was killed
        door.bind(name)
        path.chmod(0o600)
        door.listen(1)
        while listener.fileno() >= 0:
            with door.accept()[0] as asking:
                socket.send_fds(asking, [b"."], [listener.fileno()])


def take_over(path: Path) -> socket.socket:
    """Return the listening socket that another server offers at `path`."""
    with socket.socket(socket.AF_UNIX) as asking, _socket_name(path) as name:
        asking.settimeout(10)
        asking.connect(name)
        _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
    os.set_inheritable(descriptors[0], False)
    return socket.socket(fileno=descriptors[0])


def read_token(path: Path | None) -> str:
    """Read the token file, which nobody else may be able to read."""
    if path is None:
        return ""
    if path.stat().st_mode & 0o077:
        raise SystemExit(f"serve: {path} is readable by others; run: chmod 600 {path}")
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < 16:
        raise SystemExit(f"serve: the token in {path} has less than 16 characters")
    return token


class Process:
    """This process: its state file, its signals, its life."""

    def __init__(self, args: argparse.Namespace, token: str) -> None:
        self.args, self.package = args, Package(args.package.resolve())
        self.state = args.state.resolve() if args.state else None
        self.door = self.state.with_suffix(".sock") if self.state and hasattr(socket, "send_fds") else None
        self.answers = Answers(self.package, args.host, token, args.max_body, args.max_connections)
        self.started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.wake, self.stop = os.pipe()
        self.port = args.port

    def note(self, status: str, error: str = "") -> None:
        """Replace the state file in one step."""
        if self.state is None:
            return
        pid = os.getpid()
        fields = {"version": 1, "pid": pid, "start_time": process_start_time(pid), "started": self.started}
        fields |= {"host": self.args.host, "port": self.port, "package": str(self.package.folder)}
        temp = self.state.with_name(f".{self.state.name}.{pid}.tmp")
        with os.fdopen(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            json.dump({**fields, "status": status, "error": error}, stream, sort_keys=True)
        temp.replace(self.state)

    def on_signal(self, number: int, _frame: Any) -> None:
        """Ask `run` to stop; during the load end at once: nothing is being answered, and a module may catch all."""
        if self.package.status == "loading":
            self.note("stopped")
            os._exit(0)
        os.write(self.stop, bytes([number]))

    def watch_signals(self) -> None:
        """Let SIGTERM and SIGINT wake `run`, also when the system gives them to another thread than the main one."""
        for number in (signal.SIGTERM, signal.SIGINT):  # the module may have put its own in the way
            signal.signal(number, self.on_signal)
        os.set_blocking(self.stop, False)
        signal.set_wakeup_fd(self.stop, warn_on_full_buffer=False)

    def listen(self) -> None:
        """Open the port, or take it over."""
        self.listener = take_over(self.args.take_over) if self.args.take_over else bind(self.args.host, self.args.port)
        self.port = self.listener.getsockname()[1]

    def accept(self) -> None:
        """Answer in the background; threads do not survive the fork of `detach`, so this comes after it."""
        threading.Thread(target=self.answers.server.accept, args=(self.listener,), daemon=True).start()
        if self.door:
            threading.Thread(target=offer, args=(self.listener, self.door), daemon=True).start()

    def detach(self) -> Callable[[], None]:
        """Go on in a process without parent; the calling one ends when the returned function is called, or with 1."""
        if not hasattr(os, "fork"):
            raise SystemExit("serve: --detach needs fork(), which this system does not have")
        ready, tell = os.pipe()
        if os.fork():
            os.close(tell)
            os._exit(0 if os.read(ready, 1) else 1)
        os.close(ready)
        os.setsid()
        return lambda: os.close(tell) if os.write(tell, b".") else None

    def run(self) -> int:
        """Serve until SIGTERM, finish what is being answered, and return 0."""
        later = self.args.take_over
        if not later:
            self.listen()
        detached = self.detach() if self.args.detach else None
        signal.signal(signal.SIGTERM, self.on_signal)
        self.note("loading")
        if detached:
            detached()
        if not later:
            self.accept()
        self.package.load()
        self.watch_signals()
        if later and self.package.status == "ready":
            self.listen()
            self.accept()
        self.note(self.package.status, self.package.error)
        while os.read(self.wake, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            pass  # a signal that the module handles
        self.answers.server.drain(self.args.drain)
        if self.door:
            self.door.unlink(missing_ok=True)
        self.note("stopped")
        last = threading.Timer(2.0, os._exit, (0,))  # threads of the module must not keep the process
        last.daemon = True
        last.start()
        return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    options = argparse.ArgumentParser(description="Serve an unpacked package over HTTP.", allow_abbrev=False)
    add = options.add_argument
    add("--package", type=Path, required=True, help="folder with kagg_app.py and kagg_package.json")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port, 0 for a free one (default: %(default)s)")
    add("--state", type=Path, help="file that tells pid, port and status")
    add("--token-file", type=Path, help="file with the bearer token, mode 0600; a must beyond this machine")
    add("--max-body", type=int, default=MAX_BODY_BYTES, help="bytes (default: %(default)s)")
    add("--max-connections", type=int, default=MAX_CONNECTIONS, help="(default: %(default)s)")
    add("--drain", type=float, default=DRAIN_S, help="seconds to finish requests when stopped (default: %(default)s)")
    add("--detach", action="store_true", help="serve in the background; return when the state file exists")
    add(
        "--take-over",
        type=Path,
        metavar="SOCKET",
        help="load first, then take the port of the server that offers it here",
    )
    return options


def main(argv: list[str] | None = None) -> int:
    """Check the options and serve."""
    args = parser().parse_args(argv)
    token = read_token(args.token_file)
    if args.host not in LOOPBACK and not token:
        raise SystemExit(f"serve: --host {args.host} needs --token-file: others can reach it")
    return Process(args, token).run()


if __name__ == "__main__":
    raise SystemExit(main())
