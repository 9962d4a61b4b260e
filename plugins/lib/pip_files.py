"""Read a requirements file as pip does, as far as a package can record it: pip.pypa.io, "Requirements File Format"."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

from plugins.lib import pip_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_DEPTH, MAX_FILES, MAX_BYTES = 5, 20, 1024 * 1024  # of files that files name, and of one file
MAX_SAID = 10  # lines of one kind that are named one by one
_COMMENT = re.compile(r"(?:^|\s)#.*")
_CONTINUED = re.compile(r"\\\r?\n[ \t]*")
_HASH = re.compile(r"\s--hash[= ]\S+")
_PER_LINE = re.compile(r"\s--\w.*", re.DOTALL)  # --config-settings and the like behind a requirement
_OPTION = re.compile(r"(-[a-z]|--[a-z-]+)[ \t=]*(.*)", re.DOTALL)
_INDEX_OPTIONS = frozenset(("-i", "-f", "--index-url", "--extra-index-url", "--find-links", "--no-index", "--pypi-url"))
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Listed(NamedTuple):
    """What a file asks for, and the (same) names that only another index may have; what is wrong, what worth a note."""

    wanted: list[str]
    refused: set[str]
    warnings: list[str]
    notes: list[str]

    def without_refused(self, texts: Iterable[str]) -> list[str]:
        """Return other requirements without those names."""
        return [text for text in texts if pip_lines.key(text) not in self.refused]


NOTHING = Listed([], set(), [], [])


def read(folder: Path, name: str) -> Listed:
    """Read `name` in `folder` and the files in that folder that it names with -r."""
    reader = _Reader(folder.resolve())
    reader.file(folder / name, 0)
    return reader.listed()


class _Reader:
    """Collects the lines of one file and of those that it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[Path] = set()
        self.words: list[tuple[str, str]] = []  # name of the file, requirement
        self.elsewhere = ""  # the first file that names another index
        self.hashes = 0
        self.warnings: list[str] = []

    def file(self, path: Path, depth: int) -> None:
        """Read one file; it must lie in the folder."""
        real = path.resolve()
        if real in self.seen:
            return
        self.seen.add(real)
        shown = pip_lines.shown(path.name)
        if not real.is_relative_to(self.folder):
            self.warnings.append(f"{shown} is outside the folder and not read")
        elif depth > MAX_DEPTH or len(self.seen) > MAX_FILES:
            self.warnings.append(f"{shown} is not read: {MAX_FILES} files, {MAX_DEPTH} deep, at most")
        elif not real.is_file() or real.stat().st_size > MAX_BYTES:
            why = f"larger than {MAX_BYTES} bytes" if real.is_file() else "not there"
            self.warnings.append(f"{shown} is {why} and not read")
        else:
            for line in _lines(real.read_bytes()):
                self.line(line, path, depth)

    def line(self, line: str, path: Path, depth: int) -> None:
        """Take one logical line."""
        option = _OPTION.fullmatch(line)
        if option is None:
            self.hashes += bool(_HASH.search(line))
            self.words.append((path.name, _PER_LINE.sub("", line).strip()))
        elif option[1] in ("-r", "--requirement"):
            self.file(path.parent / option[2].strip("\"'"), depth + 1)
        elif option[1] in ("-c", "--constraint"):
            self.warnings.append(f"{path.name}: the constraints of {pip_lines.shown(option[2])} are not applied")
        elif option[1] in ("-e", "--editable"):
            self.warnings.append(f"{path.name}: {pip_lines.shown(line)!r} cannot be recorded")
        elif option[1] in _INDEX_OPTIONS:
            self.elsewhere = self.elsewhere or path.name

    def listed(self) -> Listed:
        """Return what was found; a name that only another index may have is left out."""
        found, refused = pip_lines.Wanted(), set[str]()
        odd, notes = list[str](), list[str]()
        warnings = self.warnings
        if self.elsewhere:
            warnings.append(f"{self.elsewhere} names another index; a deployment installs from PyPI only")
        for name, word in self.words:
            meant = pip_lines.as_requirement(word)
            if not meant:
                odd.append(f"{name}: {pip_lines.shown(word)!r} cannot be recorded")
                continue
            text, said = pip_lines.recorded(meant, elsewhere=bool(self.elsewhere))
            if said:
                warnings.append(f"{name}: {said}")
            if not text:
                refused.add(pip_lines.key(meant))
            elif fault := found.add(text):
                warnings.append(f"{name}: {fault}")
        more = [f"{len(odd) - MAX_SAID} more lines cannot be recorded"] if len(odd) > MAX_SAID else []
        if self.hashes:
            notes.append(f"the hashes of {self.hashes} requirements are not recorded")
        return Listed(found.texts, refused, warnings + odd[:MAX_SAID] + more, notes)


def _lines(content: bytes) -> list[str]:
    """Return the logical lines of a file without comments and empty ones."""
    codec = next((codec for mark, codec in _MARKS if content.startswith(mark)), "utf-8")
    text = _CONTINUED.sub(" ", content.decode(codec, "replace"))
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if line]
