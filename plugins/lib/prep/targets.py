"""Find the notebooks that a command line names, and the file that each becomes."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import bad_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STDIN = "-"
SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__", ".ipynb_checkpoints"})


class Target(NamedTuple):
    """A notebook to read, and the file to write: None for standard output. `path` is "-" for standard input."""

    path: str
    out: Path | None


def targets(paths: Sequence[str], out: str | None) -> list[Target]:
    """Return each notebook once: files, those below folders, and what matches a pattern, in this order.

    Raises:
        KaggError: USAGE when nothing is there, or several notebooks would become one file.
    """
    found: dict[str, tuple[str, str]] = {}  # real path -> path as it was given, folder that its place is relative to
    for path in paths:
        for file, base in _named(path, out):
            found.setdefault(file if file == STDIN else os.path.realpath(file), (file, base))
    if not found:
        raise bad_input(f"no notebooks in {', '.join(paths)}")
    files = list(found.values())
    several = len(files) > 1 or os.path.isdir(paths[0])  # noqa: PTH112 - the text may be a pattern or "-"
    if out is None or out == STDIN:
        if several and (out == STDIN or STDIN in found):
            raise bad_input(f"{len(files)} notebooks cannot all go to standard output", "give a folder with -o")
        return [Target(path, None if STDIN in (out, path) else Path(path)) for path, _ in files]
    folder = Path(out)
    if several and folder.exists() and not folder.is_dir():
        raise bad_input(f"{out} is a file, and there are {len(files)} notebooks", "give a folder with -o")
    if not several and not folder.is_dir() and not out.endswith(os.sep):
        return [Target(path, folder) for path, _ in files]
    made = [Target(path, folder / _relative(path, base)) for path, base in files]
    first: dict[str, str] = {}
    for target in made:
        other = first.setdefault(os.path.realpath(str(target.out)), target.path)
        if other != target.path:
            raise bad_input(f"{other} and {target.path} would both become {target.out}", "name a folder above them")
    return made


def _relative(path: str, base: str) -> str:
    if path == STDIN:
        raise bad_input("standard input has no file name", "give a file with -o")
    return os.path.relpath(path, base)


def _named(path: str, out: str | None) -> Iterator[tuple[str, str]]:
    """Yield (notebook, folder) for one word of the command line; what lies in the folder `out` is no input."""
    if not path:
        raise bad_input("a path is empty")
    if path == STDIN:
        yield path, ""
    elif os.path.isdir(path):  # noqa: PTH112 - the text may be a pattern or "-"
        yield from ((file, path) for file in _below(path, out))
    elif glob.has_magic(path) and not os.path.lexists(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - pathlib knows no absolute patterns
        if not matches:
            raise bad_input(f"nothing matches {path}")
        for match in matches:
            if Path(match).is_dir():
                yield from _named(match, out)
            elif Path(match).is_file() and not Path(match).is_symlink():
                yield match, str(Path(match).parent)
    else:
        yield path, str(Path(path).parent)


def _below(folder: str, out: str | None) -> Iterator[str]:
    """Yield the notebooks below a folder; links are not followed, so that nothing outside is changed."""
    own = os.path.realpath(out) if out and out != STDIN else ""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        folders[:] = [name for name in folders if not own or os.path.realpath(Path(place, name)) != own]
        for name in sorted(names):
            path = Path(place, name)
            if name.endswith(".ipynb") and path.is_file() and not path.is_symlink():
                yield str(path)
