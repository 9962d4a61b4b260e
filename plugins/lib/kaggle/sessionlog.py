"""The log of a session: events on disk as they happen, so that a crash loses nothing, read while they are written."""

from __future__ import annotations

import codecs
import json
import threading
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_LOG_BYTES = 64 * 1024**2  # a kernel that prints for ever must not fill the disk
END = b"data: END_OF_LOG\n\n"


class SessionLog:
    """Append-only JSON lines: {"stream_name", "time" (seconds since the start), "data"}."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = threading.Condition()
        self._file = path.open("ab")
        self._began = time.monotonic()
        self.closed = False

    def start_clock(self) -> None:
        """Count the time of events from now: from the start of the session, not from its place in the queue."""
        self._began = time.monotonic()

    def append(self, stream_name: str, text: str, at_s: float | None = None) -> None:
        """Add one event; `at_s` overrides its time. Nothing is kept beyond MAX_LOG_BYTES."""
        moment = time.monotonic() - self._began if at_s is None else at_s
        line = json.dumps({"stream_name": stream_name, "time": round(moment, 6), "data": text}, ensure_ascii=False)
        with self._changed:
            if not self.closed and self._file.tell() < MAX_LOG_BYTES:
                self._file.write(line.encode("utf-8", "replace") + b"\n")
                self._file.flush()
            self._changed.notify_all()

    def wake(self) -> None:
        """Let followers look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Write no more; followers get the rest and end."""
        with self._changed:
            self.closed = True
            self._file.close()
            self._changed.notify_all()

    def follow(self, patience_s: float = 0.5) -> Iterator[bytes]:
        """Yield every event from the first on as a server-sent event, then END_OF_LOG; b"" while nothing happens."""
        with self.path.open("rb") as events:
            while True:
                with self._changed:
                    over = self.closed
                    lines = events.readlines()
                    if not lines and not over:
                        self._changed.wait(patience_s)
                yield b"".join(b"data: " + line.rstrip(b"\n") + b"\n\n" for line in lines)
                if over:
                    yield END
                    return


def stored(path: Path) -> list[dict[str, object]]:
    """Return the events of a finished log; a half-written last line (a crash) is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1] if line]


def copier(pipe: IO[bytes] | None, name: str, take: Callable[[str, str], None]) -> threading.Thread:
    """Start a thread that hands the lines of one output stream to `take(stream name, line)`."""
    thread = threading.Thread(target=_copy_lines, args=(pipe, name, take), daemon=True)
    thread.start()
    return thread


def _copy_lines(pipe: IO[bytes], name: str, take: Callable[[str, str], None]) -> None:
    """Decode as UTF-8 line by line; a line over 64 KiB comes in pieces that never cut a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while piece := pipe.readline(65536):
        if line := decoder.decode(piece):
            take(name, line)
