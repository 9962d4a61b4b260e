"""Know, ask and end the server processes that lib/serve.py describes in state files."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from kagg import Context, KaggError
from plugins.lib.serve import process_start_time

if TYPE_CHECKING:
    from pathlib import Path

STOP_GRACE_S = 12.0  # the server gives requests 10 s to finish
PROBE_S = 2.0


class Started(NamedTuple):
    """A server process as its state file tells it."""

    state: Path
    pid: int
    port: int
    start_time: str
    status: str
    error: str

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.state.with_suffix(".log")

    @property
    def is_alive(self) -> bool:
        """Say whether this very process runs; another one with its pid does not count."""
        return bool(self.start_time) and process_start_time(self.pid) == self.start_time


def processes(home: Path) -> list[Started]:
    """Return what the state files tell."""
    return [found for path in sorted(home.glob("*.json")) if (found := read_state(path))]


def read_state(path: Path) -> Started | None:
    """Read one state file; None when it is absent or of another kind."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        texts = (str(found[key]) for key in ("start_time", "status", "error"))
        return Started(path, int(found["pid"]), int(found["port"]), *texts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def probe(port: int) -> tuple[int, dict[str, Any]] | None:
    """Ask /healthz once, over a new connection and never through a proxy; None when nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_S)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        reply = connection.getresponse()
        found = json.loads(reply.read(65536))
        return reply.status, found if isinstance(found, dict) else {}
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def end(ctx: Context, found: Started, grace_s: float | None = None) -> None:
    """Ask a process to end, then kill it; the pid is checked against its start time before each signal."""
    for number, wait_s in ((signal.SIGTERM, STOP_GRACE_S if grace_s is None else grace_s), (signal.SIGKILL, 5.0)):
        if not found.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, number)
        deadline = ctx.monotonic() + wait_s
        while found.is_alive and ctx.monotonic() < deadline:
            ctx.sleep(0.02)
    if found.is_alive:
        raise KaggError(f"process {found.pid} of {found.state.parent.name} cannot be ended")
