"""What a download has so far: a file that a later process can go on with, or memory; hashed while it arrives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from kagg import decode_json, hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO
    from pathlib import Path
    from types import TracebackType

    from kagg import Stream

PIECE_BYTES = 1 << 18
NOTED_BYTES = 1 << 23  # a download of less begins again rather than being noted for a later process
SYNC_BYTES = 1 << 24  # the disk gets this much at a time while more arrives, so that little is left for the end


class Promise(NamedTuple):
    """What a file must be: its size and SHA-256 when they are known, and never more than `max_bytes`."""

    size_bytes: int | None = None
    sha256: str = ""
    max_bytes: int | None = None

    def exceeded(self, size_bytes: int) -> bool:
        """Tell whether so many bytes are too many."""
        return any(limit is not None and size_bytes > limit for limit in (self.size_bytes, self.max_bytes))


class _Beside:
    """A thread for what a download can do meanwhile; it starts with the first call, and `depth` calls may wait.

    With a depth of 0 there is none: a thread costs more than what a small file takes.
    """

    def __init__(self, depth: int) -> None:
        self._todo: queue.Queue[tuple[Callable[..., Any], Any] | None] = queue.Queue(depth)
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def do(self, call: Callable[..., Any], argument: Any, *, wait: bool = True) -> None:
        """Call `call(argument)` there; without `wait` not while earlier calls do."""
        if not self._todo.maxsize:
            call(argument)
            return
        if not self._thread:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Full):
            self._todo.put((call, argument), block=wait)

    def _work(self) -> None:
        while task := self._todo.get():
            try:
                task[0](task[1])
            except OSError as error:
                self._error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._thread:
            self._todo.put(None)
            self._thread.join()
        if self._error and not kind:
            raise self._error


class Part:
    """A download under way: `.NAME.part`, its hashes so far, and the ETag that a later process needs to go on."""

    md5: Any = None
    is_noted = True  # for a later process

    def __init__(self, dest: Path) -> None:
        name = _short(dest.name)
        self.path, self.note = dest.with_name(f".{name}.part"), dest.with_name(f".{name}.part.json")
        self.restarts = -1
        self.restart(keep_files=True)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            etag = str(decode_json(self.note.read_text(encoding="utf-8"))["etag"])
            self.size = self._feed(self.sha256)
            self.etag = etag

    def _feed(self, digest: Any) -> int:
        """Hash what is in the file and return how much that is."""
        size = 0
        with self.path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
        return size

    def with_md5(self) -> None:
        """Compute the MD5, too, because the server promises one and nobody a better hash."""
        if not self.md5:
            self.md5 = hashlib.md5(usedforsecurity=False)
            if self.size:
                self._feed(self.md5)

    def restart(self, *, keep_files: bool = False) -> None:
        """Begin again from byte 0."""
        self.sha256, self.size, self.etag = hashlib.sha256(), 0, ""
        self.md5 = None
        self.restarts += 1
        if not keep_files:
            self._drop()

    def _drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def receive(self, answer: Stream, promise: Promise, *, durable: bool) -> None:
        """Append an answer's body; the hashes and the disk are served by threads of their own."""
        synced = self.size
        with self.path.open("ab" if self.size else "wb", buffering=0) as stream:
            try:
                depth = 8 if is_long(answer.headers, self.size) else 0
                with _Beside(depth) as hashing, _Beside(depth) as md5, _Beside(1) as syncing:
                    for piece in answer.pieces(PIECE_BYTES):
                        _write(stream, piece)
                        hashing.do(self.sha256.update, piece)
                        self.size += len(piece)
                        if self.md5:
                            md5.do(self.md5.update, piece)
                        if durable and self.size - synced >= SYNC_BYTES:
                            syncing.do(_sync, stream.fileno(), wait=False)
                            synced = self.size
                        if promise.exceeded(self.size):
                            answer.close()
                            break
            finally:
                if durable:
                    os.fsync(stream.fileno())

    def settle(self, dest: Path, *, durable: bool) -> None:  # noqa: ARG002 - `receive` has synced it
        """Give what is whole its name."""
        self.path.replace(dest)
        self.note.unlink(missing_ok=True)


class Held(Part):
    """A small download under way, in memory: nobody else writes it, and a later process begins again."""

    is_noted = False

    def __init__(self, _dest: Path) -> None:
        self.content = bytearray()
        self.restarts = -1
        self.restart()

    def _feed(self, digest: Any) -> int:
        digest.update(self.content)
        return len(self.content)

    def _drop(self) -> None:
        self.content.clear()

    def receive(self, answer: Stream, promise: Promise, *, durable: bool) -> None:  # noqa: ARG002 - `settle` syncs
        """Append an answer's body."""
        for piece in answer.pieces(PIECE_BYTES):
            self.content += piece
            self.sha256.update(piece)
            self.size += len(piece)
            if self.md5:
                self.md5.update(piece)
            if promise.exceeded(self.size):
                answer.close()
                break

    def settle(self, dest: Path, *, durable: bool) -> None:
        """Write what is whole, under its name as the last step."""
        mark = f"{os.getpid():x}-{threading.get_ident():x}-{time.monotonic_ns():x}"  # a name that nobody else has
        temp = dest.with_name(f".{_short(dest.name)}.{mark}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(temp, flags, 0o666)
        except FileNotFoundError:
            dest.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temp, flags, 0o666)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                _write(stream, self.content)
                if durable:
                    os.fsync(stream.fileno())
            temp.replace(dest)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise


def _short(name: str) -> str:
    """Return a name to which a few characters can be added; NAME_MAX of Linux is 255 bytes."""
    return name if len(name.encode("utf-8", "surrogatepass")) < 80 else hashed(name)


def _write(stream: FileIO, piece: bytes | bytearray) -> None:
    """Write all of a piece; an unbuffered write may take a part of it."""
    view = memoryview(piece)
    while view:
        view = view[stream.write(view) or 0 :]


_sync = getattr(os, "fdatasync", os.fsync)


def is_long(headers: Mapping[str, str], size_bytes: int) -> bool:
    """Tell whether a download is worth going on with in a later process."""
    length = headers.get("Content-Length") or ""
    return not length.isdigit() or size_bytes + int(length) >= NOTED_BYTES
