"""Read the code once, scan it, and pack it: a tar with gzip that depends on names and contents only.

The tar is the same bytes everywhere. The gzip around it is the same for the same implementation of deflate: zlib and
zlib-ng, which some systems have instead, find other matches.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tarfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from kagg import bad_input, kaggle_source, parse_notebook, shared
from plugins.lib.launch.code import files_sha256
from plugins.lib.launch.collecting import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kagg import Context
    from plugins.lib.launch.code import Tree

BLOCK = tarfile.BLOCKSIZE
BEST = 9
COMMENT = 0x10  # the flag for a comment in a header of gzip: RFC 1952, 2.3.1


class Contents(NamedTuple):
    """What is sent: the bytes of every file as they were read, sorted by name, and their SHA-256."""

    entry: str
    files: dict[str, bytes]
    hashes: dict[str, str]

    @property
    def size_bytes(self) -> int:
        """Return the sum of all files."""
        return sum(map(len, self.files.values()))

    @property
    def sha256(self) -> str:
        """Return what `Code.sha256` is."""
        return files_sha256(self.hashes)

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size of every file in bytes."""
        return {name: len(content) for name, content in self.files.items()}

    def announced(self) -> dict[str, int]:
        """Return what the session may expect at most; see in_session_unpack.py."""
        return {"size_bytes": self.size_bytes, "count": len(self.files)}


def read_tree(tree: Tree) -> Contents:
    """Read every file once: what is hashed, scanned and packed is the same bytes, whoever writes meanwhile.

    A notebook that is to run goes without its outputs.

    Raises:
        KaggError: USAGE for a file that cannot be read, or when all are larger than MAX_BYTES.
    """
    files: dict[str, bytes] = {}
    left_bytes = MAX_BYTES
    for name, path in sorted(tree.files.items()):
        files[name] = _read(name, path, left_bytes)
        left_bytes -= len(files[name])
    if tree.entry.endswith(".ipynb"):
        files[tree.entry] = _without_outputs(files[tree.entry], tree.entry)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return Contents(tree.entry, files, hashes)


def _read(name: str, path: Path, left_bytes: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe may be there by now
    try:
        with os.fdopen(os.open(path, flags), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise bad_input(f"{name} is no plain file and cannot be sent", f"leave it out: --exclude {name}")
            content = stream.read(left_bytes + 1)
    except OSError as error:
        hint = f"mend it, or leave it out: --exclude {name}"
        raise bad_input(f"cannot read {name}: {error.strerror}", hint) from error
    if len(content) > left_bytes:
        raise bad_input(f"the code is larger than {MAX_BYTES} bytes", "leave data out with --exclude")
    return content


def _without_outputs(content: bytes, name: str) -> bytes:
    try:
        return kaggle_source(parse_notebook(content, name)).encode()
    except UnicodeEncodeError:  # half a character somewhere: as it is
        return content


def refuse_secrets(ctx: Context, contents: Contents, allowed: Iterable[str]) -> None:
    """Let no file leave with a secret in it.

    Raises:
        KaggError: FINDINGS, with file and line.
    """
    shared("secrets.gate").refuse(ctx, f"the code of {contents.entry}", contents.files.items(), allowed)


def tar_pieces(files: dict[str, bytes]) -> Iterator[bytes]:
    """Yield a tar of plain files: sorted names, mode 0644, no owner, time 0."""
    for name, content in sorted(files.items()):
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        yield entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        yield content
        yield bytes(-len(content) % BLOCK)
    yield bytes(2 * BLOCK)


def gzip_pieces(pieces: Iterable[bytes], level: int = BEST, salt: int = 0) -> Iterator[bytes]:
    """Yield a gzip file without name and time; a `salt` is a comment of that many characters in its header."""
    yield struct.pack("<HBBLBB", 0x8B1F, 8, COMMENT if salt else 0, 0, 0, 255) + (b"-" * salt + b"\0" if salt else b"")
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc = size = 0
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        yield packer.compress(piece)
    yield packer.flush() + struct.pack("<LL", crc, size & 0xFFFFFFFF)


def count_words(contents: Contents) -> str:
    """Return the number of files for people."""
    return f"{len(contents.files)} file{'' if len(contents.files) == 1 else 's'}"
