"""A child process whose output arrives as events, and which never outlives its caller."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from plugins.lib import process_guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kagg import Context

Event = dict[str, Any]

READ_BYTES = 65_536
QUEUE_EVENTS = 256  # bounds the memory of a run that prints faster than its log is written
STOP_GRACE_S = 6.0  # SIGTERM to SIGKILL; the notebook runner itself needs up to 3 s to interrupt its kernel
DRAIN_S = 2.0  # how long a detached grandchild may hold the streams open after the child has ended
TICK_S = 0.2
LINE_S = 0.05  # unbuffered prints write a line in several pieces


class OutOfTimeError(Exception):
    """The deadline of a wait has passed."""


class Child:
    """A process in its own group, with both streams turned into events by two threads."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str], ctx: Context, *, events: bool) -> None:
        self.ctx, self.started_s = ctx, ctx.monotonic()
        self.queue: queue.Queue[Event | None] = queue.Queue(QUEUE_EVENTS)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.guard = process_guard.start_guard(self.process.pid)
        readers = [(self.process.stdout, "stdout", events), (self.process.stderr, "stderr", False)]
        self.open_streams = len(readers)
        self.threads = [threading.Thread(target=self._read, args=reader, daemon=True) for reader in readers]
        for thread in self.threads:
            thread.start()

    def _read(self, stream: IO[bytes], name: str, events: bool) -> None:  # noqa: FBT001 - a thread's target
        for event in _parsed(stream) if events else _decoded(stream):
            stamp = {} if events else {"stream_name": name, "time": round(self.ctx.monotonic() - self.started_s, 6)}
            self.queue.put(stamp | event)
        self.queue.put(None)

    def events(self, deadline_s: float | None) -> Iterator[Event]:
        """Yield events until both streams have ended.

        Raises:
            OutOfTimeError: `deadline_s` of ctx.monotonic() has passed.
        """
        ended_s: float | None = None
        while self.open_streams:
            now_s = self.ctx.monotonic()
            if self.process.poll() is not None and ended_s is None:
                ended_s = now_s
                self.signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)  # what it left behind
            if ended_s is not None and now_s > ended_s + DRAIN_S and self.queue.empty():
                return
            if ended_s is None and deadline_s is not None and now_s > deadline_s:
                raise OutOfTimeError
            with contextlib.suppress(queue.Empty):
                event = self.queue.get(timeout=TICK_S)
                if event is None:
                    self.open_streams -= 1
                else:
                    yield event

    def signal(self, number: int) -> None:
        """Signal the whole group; a group that is gone is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self.process.terminate()
            else:
                os.killpg(self.process.pid, number)

    def stop(self) -> Iterator[Event]:
        """Ask the group to end, then make it; yield what it still says."""
        self.signal(signal.SIGTERM)
        try:
            yield from self.events(self.ctx.monotonic() + STOP_GRACE_S)
        except OutOfTimeError:
            self.signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            yield from self.events(None)

    def close(self) -> int:
        """Free everything; return the exit code, negative for a signal."""
        self.signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        code = self.process.wait(timeout=60)
        process_guard.dismiss_guard(self.guard)
        for thread, stream in zip(self.threads, (self.process.stdout, self.process.stderr), strict=True):
            while thread.is_alive() and not self.queue.empty():  # it waits for room that nobody else makes
                self.queue.get_nowait()
            thread.join(timeout=TICK_S)
            if stream and not thread.is_alive():
                stream.close()
        return code


def _decoded(stream: IO[bytes]) -> Iterator[Event]:
    """Yield text as it arrives, short pieces of one line together; bytes that are not UTF-8 become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    waiting = b""
    while piece := os.read(stream.fileno(), READ_BYTES):
        waiting += piece
        if len(waiting) < READ_BYTES and not waiting.endswith(b"\n") and _more_comes(stream):
            continue
        if text := decoder.decode(waiting):
            yield {"data": text}
        waiting = b""
    if text := decoder.decode(waiting, final=True):
        yield {"data": text}


def _more_comes(stream: IO[bytes]) -> bool:
    """Wait a moment for the rest of a line; Windows cannot wait on pipes."""
    return sys.platform != "win32" and bool(select.select([stream], [], [], LINE_S)[0])


def _parsed(stream: IO[bytes]) -> Iterator[Event]:
    """Yield the runner's events; a line that is none is passed on as text."""
    for line in stream:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        yield event if isinstance(event, dict) else {"stream_name": "stdout", "data": line.decode(errors="replace")}
