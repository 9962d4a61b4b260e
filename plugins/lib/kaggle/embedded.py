"""Start, find and stop the local Kaggle as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kagg import Exit, KaggError, locked

if TYPE_CHECKING:
    from pathlib import Path

    from kagg import Context

PLUGIN = {"api": 1, "summary": "the local Kaggle as a background process", "requires": {}}

START_S = 60.0  # a busy machine imports slowly
STOP_S = 30.0
IDLE = "30m"


def running(root: Path) -> dict[str, Any] | None:
    """Return server.json of the server that answers for `root`, None without one; a stale file does not count."""
    try:
        server: dict[str, Any] = json.loads((root / "server.json").read_bytes())
        alive = _health(str(server["url"])).get("pid") == server["pid"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    return server if alive else None


def _health(url: str) -> dict[str, Any]:
    """Ask a server on this machine who it is; environment proxies do not apply."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        answer = json.loads(connection.getresponse().read(4096))
    return answer if isinstance(answer, dict) else {}


def ensure_local(ctx: Context) -> dict[str, Any]:
    """Return {"url", "username", "key", ...} of the local Kaggle of KAGG_HOME; start it when it is not running.

    Two processes that ask at once start one. It stops by itself after 30 minutes without a request or a session.

    Raises:
        KaggError: SERVICE, it did not start in time or ended at once.
    """
    root = ctx.home / "local-kaggle"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(root / "start", timeout_s=2 * START_S):
        return running(root) or _start(ctx, root)


def _start(ctx: Context, root: Path) -> dict[str, Any]:
    """Start the server detached from this process and its terminal; wait until it answers."""
    argv = [
        sys.executable,
        str(ctx.root / "kagg.py"),
        "local-kaggle",
        "--root",
        str(root),
        "--port",
        "0",
        "--idle-timeout",
        IDLE,
    ]
    examples = ctx.root / "batch_examples" / "kernels"
    if examples.is_dir():
        argv += ["--seed", str(examples)]
    log = root / "server.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            argv,
            env=dict(ctx.env),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd=root,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        server = running(root)
        if server is not None:
            process.returncode = 0  # it lives on by intent: no warning about a child that nobody waited for
            return server
        time.sleep(0.02)
    process.kill()
    process.wait(STOP_S)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise KaggError(
        f"the local Kaggle did not start: {' '.join(last) or 'no message'}", code=Exit.SERVICE, hint=f"see {log}"
    )


def stop_local(root: Path) -> bool:
    """Stop the server of `root` and wait until it is gone; False when none was running.

    Raises:
        KaggError: SERVICE, it did not end in time.
    """
    server = running(root)
    if server is None:
        return False
    os.kill(server["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        if not (root / "server.json").exists():
            return True
        time.sleep(0.02)
    raise KaggError(f"the local Kaggle with pid {server['pid']} did not stop in {STOP_S:.0f} s", code=Exit.SERVICE)
