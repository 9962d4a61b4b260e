"""Open what leaves as far as it can be opened: archives in archives, compressed files, the text in binary files.

What is not looked at, for its size, its kind or its damage, is listed in `unread`: the gate says so.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import re
import tarfile
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DEPTH, MAX_FILES = 6, 100_000
MAX_BYTES = 512 * 1024**2  # of everything that comes out of archives, for one file that leaves
# ASCII, and UTF-16 of either order: at least eight characters on end, as `strings` of binutils finds them.
TEXT_RUN = re.compile(rb"[\t\x20-\x7e]{8,}|(?:[\t\x20-\x7e]\0){8,}|(?:\0[\t\x20-\x7e]){8,}")
GLUED_CHARS = 400
COMPRESSED: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (
    (b"\x1f\x8b", lambda stream: cast("IO[bytes]", gzip.GzipFile(fileobj=stream))),
    (b"BZh", lambda stream: cast("IO[bytes]", bz2.BZ2File(stream))),
    (b"\xfd7zXZ\0", lambda stream: cast("IO[bytes]", lzma.LZMAFile(stream))),  # noqa: SIM115 - closed by its reader
)
CLOSED = {b"\x28\xb5\x2f\xfd": "zstandard", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OSError, KeyError,
)  # fmt: skip


def is_binary(content: bytes) -> bool:
    """Tell whether a file is neither text nor UTF-16."""
    if b"\0" not in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    head = content[:4096]
    even, odd = head[::2].count(0), head[1::2].count(0)
    return not (min(even, odd) == 0 and 20 * max(even, odd) >= 9 * len(head))  # UTF-16: every other byte is zero


def text_in(content: bytes) -> bytes:
    """Return the runs of text in a binary file, a line each; short ones also without their first two characters.

    A length or a type that stands before a text may happen to be a letter, as in the records of SQLite.
    """
    lines: list[bytes] = []
    for run in TEXT_RUN.findall(content):
        text = run.replace(b"\0", b"")
        lines += [text, text[1:], text[2:]] if len(text) <= GLUED_CHARS else [text]
    return b"\n".join(lines)


class Opener:
    """Opens files; `unread` holds a line for each part that nothing looked at."""

    def __init__(self) -> None:
        self.unread: list[str] = []
        self.left = MAX_BYTES

    def files(self, name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
        """Yield a file and everything in it as (name, bytes)."""
        yield name, content
        opened = self._members(name, content)
        if opened is None:
            return
        if depth >= MAX_DEPTH:
            self.unread.append(f"{name}: more than {MAX_DEPTH} archives inside each other")
            return
        try:
            for inner, body in opened:
                yield from self.files(inner, body, depth + 1)
        except DAMAGE as error:
            self.unread.append(f"{name}: damaged ({type(error).__name__})")

    def _members(self, name: str, content: bytes) -> Iterator[tuple[str, bytes]] | None:
        for mark, kind in CLOSED.items():
            if content.startswith(mark):
                self.unread.append(f"{name}: {kind} is not opened")
        for mark, open_stream in COMPRESSED:
            if content.startswith(mark):
                return self._whole(name, open_stream(io.BytesIO(content)))
        if content[257:262] == b"ustar":
            return self._tar(name, content)
        if b"PK\5\6" in content[-65_600:]:  # the end of a zip's directory, which a comment may follow
            return self._zip(name, content)
        return None

    def _taken(self, name: str, stream: IO[bytes]) -> bytes | None:
        """Read a member within what is left; None when it is larger."""
        body = stream.read(self.left + 1)
        if len(body) > self.left:
            self.unread.append(f"{name}: what comes out of archives exceeds {MAX_BYTES} bytes")
            return None
        self.left -= len(body)
        return body

    def _whole(self, name: str, stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
        with stream:
            body = self._taken(name, stream)
        if body is not None:
            yield name.rpartition(".")[0] or name, body

    def _zip(self, name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            said = [archive.comment, *(entry.comment for entry in entries)]
            names = "\n".join(entry.filename for entry in entries).encode("utf-8", "replace")
            yield f"{name} (names)", b"\n".join([names, *filter(None, said)])
            for number, entry in enumerate(entries):
                inner = f"{name}/{entry.filename}"
                if number >= MAX_FILES or entry.flag_bits & 1:
                    self.unread.append(f"{inner}: {'encrypted' if entry.flag_bits & 1 else 'too many files'}")
                    continue
                try:
                    with archive.open(entry) as stream:
                        body = self._taken(inner, stream)
                except DAMAGE as error:
                    self.unread.append(f"{inner}: damaged ({type(error).__name__})")
                    continue
                if body is not None:
                    yield inner, body

    def _tar(self, name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in itertools.islice(archive, MAX_FILES):
                inner = f"{name}/{member.name}"
                yield f"{name} (names)", f"{member.name}\n{member.linkname}".encode("utf-8", "replace")
                stream = archive.extractfile(member) if member.isreg() else None
                body = self._taken(inner, stream) if stream else None
                if body is not None:
                    yield inner, body
            if archive.next() is not None:
                self.unread.append(f"{name}: too many files")
