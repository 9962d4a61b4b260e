"""Requests per second of plugins/lib/serve.py beside http.server, one process each. `python bench/serve.py [--json]`.

The same trivial predict answers in all of them: http.server as it comes (threads, HTTP/1.1), http.server with buffered
answers and TCP_NODELAY, and ours. One client over one keep-alive connection, interleaved, best of N rounds; with `wrk`
installed also 16 connections.
"""

from __future__ import annotations

import argparse
import http.server
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, Budget, add_common_arguments, report

APP = "def predict(payload):\n    return {'sum': payload['a'] + payload['b']}\n"
BODY = b'{"a": 1, "b": 2}'
REQUEST = (
    b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (len(BODY), BODY)
)
LUA = f'wrk.method = "POST"\nwrk.body = [[{BODY.decode()}]]\nwrk.headers["Content-Type"] = "application/json"\n'
PEER, TUNED, OURS = "http.server", "http.server buffered, no Nagle", "serve.py"
MIN_RATIO, MIN_TUNED_RATIO = 20.0, 1.0


class Plain(http.server.BaseHTTPRequestHandler):
    """What the documentation of http.server leads to."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer like the package does."""
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps({"sum": payload["a"] + payload["b"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent, as our server is."""


class Tuned(Plain):
    """The same, with one packet per answer."""

    wbufsize = 65536
    disable_nagle_algorithm = True


def serve_peer(kind: str) -> None:
    """Run as the peer's process: print the port, then serve."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tuned if kind == "tuned" else Plain)
    print(server.server_port, flush=True)
    server.serve_forever()


def start(name: str, folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a server process and return it with its port."""
    if name != OURS:
        command = [sys.executable, __file__, "--peer", "tuned" if name == TUNED else "plain"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return process, int(process.stdout.readline()) if process.stdout else 0
    (folder / "kagg_app.py").write_text(APP)
    (folder / "kagg_package.json").write_text('{"version": 1, "entry": "predict"}')
    state = folder / "state.json"
    command = [sys.executable, str(ROOT / "plugins/lib/serve.py"), "--package", str(folder), "--state", str(state)]
    process = subprocess.Popen(command, text=True)
    deadline = time.monotonic() + 30
    while not state.exists() or json.loads(state.read_text())["status"] != "ready":
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError("serve.py did not start")
        time.sleep(0.01)
    return process, int(json.loads(state.read_text())["port"])


def one_connection(port: int, seconds: float) -> float:
    """Return requests per second over one connection; every answer is checked."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            sock.sendall(REQUEST)
            answer = sock.recv(65536)
            while b"3}" not in answer[-2:]:
                answer += sock.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(answer[:200].decode("latin-1"))
            count += 1
    return count / elapsed


def many_connections(port: int, seconds: float, folder: Path) -> float:
    """Return requests per second over 16 connections as wrk counts them."""
    script = folder / "post.lua"
    script.write_text(LUA)
    command = [
        "wrk",
        "-t1",
        "-c16",
        f"-d{max(1, round(seconds))}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/predict",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    if not found or "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    return float(found[1])


def measure(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return the best rate of each server by number of connections."""
    best: dict[str, dict[str, float]] = {name: {} for name in (PEER, TUNED, OURS)}
    with tempfile.TemporaryDirectory() as folder:
        running = {name: start(name, Path(folder)) for name in best}
        try:
            for _ in range(rounds):
                for name, (_process, port) in running.items():
                    rates = {"1": one_connection(port, seconds)}
                    if shutil.which("wrk"):
                        rates["16"] = many_connections(port, seconds, Path(folder))
                    best[name] = {key: max(rate, best[name].get(key, 0.0)) for key, rate in rates.items()}
        finally:
            for process, _port in running.values():
                process.kill()
                process.wait(10)
                if process.stdout:
                    process.stdout.close()
    return best


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser, rounds=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--peer", choices=("plain", "tuned"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        serve_peer(args.peer)
    found = measure(args.rounds, args.seconds)
    budgets = [
        Budget(
            f"requests/s, 1 connection: {OURS} / {PEER}", found[OURS]["1"] / found[PEER]["1"], MIN_RATIO, at_least=True
        ),
        Budget(
            f"requests/s, 1 connection: {OURS} / {TUNED}",
            found[OURS]["1"] / found[TUNED]["1"],
            MIN_TUNED_RATIO,
            at_least=True,
        ),
    ]
    lines = [
        f"{name:<34}" + "".join(f"{rate:>10.0f}/s at {count}" for count, rate in rates.items())
        for name, rates in found.items()
    ]
    rates = {name: {count: round(rate, 1) for count, rate in row.items()} for name, row in found.items()}
    return report(args, {"requests_per_s": rates}, lines, budgets)


if __name__ == "__main__":
    raise SystemExit(main())
