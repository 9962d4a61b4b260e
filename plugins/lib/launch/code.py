"""The code of a run on Kaggle: which files it is, and what a transport made of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kagg import Context


class Tree(NamedTuple):
    """The files of a run by their POSIX paths, and the one that runs."""

    files: dict[str, Path]
    entry: str


class Code(NamedTuple):
    """What a transport made of a tree: what the session needs to have it again, and what was made for it."""

    transport: str  # inline, dataset or git
    entry: str
    files: dict[str, str]  # POSIX path: SHA-256
    size_bytes: int  # unpacked
    packed_bytes: int
    sha256: str  # of the sorted lines f"{sha256}  {path}\n"
    payload: dict[str, Any]  # JSON-able, for fetch_code in the session
    datasets: tuple[str, ...] = ()  # "owner/slug", to attach
    created: tuple[str, ...] = ()  # of these, made for this run: deleted afterwards
    commit: str = ""
    summary: str = ""  # the text of step 1


def collect(ctx: Context, path: Path, entry: str | None, include: Sequence[str], exclude: Sequence[str]) -> Tree:
    """Return the files to send: of a folder all but what collecting.py leaves out, of a script what it imports.

    Raises:
        KaggError: USAGE with the file and what to do; nothing is read that is not to be sent, but modules.
    """
    from plugins.lib.launch.collecting import collected

    files, name = collected(ctx, path, entry, include, exclude)
    return Tree(dict(sorted(files.items())), name)


def files_sha256(files: Mapping[str, str]) -> str:
    """Return the SHA-256 of a tree from those of its files, as `Code.sha256` says."""
    lines = sorted(f"{digest}  {name}\n" for name, digest in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def size_words(size_bytes: int) -> str:
    """Return a size for people, in decimal units."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    for unit, below in (("kB", 1e6), ("MB", 1e9)):
        if size_bytes < below:
            found = size_bytes / (below / 1000)
            return f"{found:.1f} {unit}" if found < 10 else f"{found:.0f} {unit}"
    return f"{size_bytes / 1e9:.1f} GB"
