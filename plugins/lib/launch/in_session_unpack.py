"""Unpack the code: a tar of plain files, every name and size checked before anything is written."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from plugins.lib.launch.in_session_base import CodeError

if TYPE_CHECKING:
    from pathlib import Path

GZIP_MARK = b"\x1f\x8b"
PIECE_BYTES = 1024**2
HEADER_BYTES = 4096  # of one file, at most: two headers with a long name, and what fills its last block


class Bounded(io.RawIOBase):
    """A stream that gives an error instead of more than `left` bytes."""

    def __init__(self, stream: IO[bytes], left: int) -> None:
        super().__init__()
        self.stream, self.left = stream, left

    def read(self, size: int = -1) -> bytes:
        """Read as the stream below does."""
        data = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise CodeError("the packed code is larger than announced")
        return data


def unpack(packed: bytes | Path, folder: Path, payload: dict[str, Any]) -> None:
    """Write the files of a tar, with or without gzip, into `folder`; those that begin with #! are made executable.

    `payload` announces `size_bytes` and `count`, the sum of all files and their number.

    Raises:
        CodeError: it is damaged, larger than announced, or holds links or names that leave the folder.
    """
    size_bytes, count = int(payload["size_bytes"]), int(payload["count"])
    try:
        with io.BytesIO(packed) if isinstance(packed, bytes) else packed.open("rb") as stream:
            plain: Any = gzip.GzipFile(fileobj=stream) if stream.read(2) == GZIP_MARK else stream
            stream.seek(0)
            bounded: Any = Bounded(plain, size_bytes + (count + 16) * HEADER_BYTES)
            with tarfile.open(fileobj=bounded, mode="r|") as archive:
                _write_all(archive, folder, size_bytes, count)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise CodeError(f"the packed code cannot be unpacked: {error}") from error


def _write_all(archive: tarfile.TarFile, folder: Path, left_bytes: int, left_files: int) -> None:
    for member in archive:
        if not is_plain(member.name) or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise CodeError(f"the packed code holds {member.name[:80]!a}, which is no plain file of its folder")
        source, left_files = archive.extractfile(member), left_files - 1
        left_bytes -= member.size
        if source is None or left_bytes < 0 or left_files < 0:
            raise CodeError("the packed code is larger than announced")
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        head = b""
        with target.open("xb") as stream:
            while piece := source.read(PIECE_BYTES):
                head = head or piece[:2]
                stream.write(piece)
        if head == b"#!":
            target.chmod(0o755)
    if left_files or left_bytes:
        raise CodeError("the packed code is smaller than announced")


def is_plain(name: str) -> bool:
    """Tell whether a name stays in its folder, on every system."""
    parts = name.split("/")
    return not ("\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts))
