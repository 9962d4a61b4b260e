"""Find the files that a run on Kaggle needs: a folder without what never belongs there, or a script and its modules."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kagg import bad_input, safe_path
from plugins.lib.launch.code import size_words
from plugins.lib.launch.code_ignored import ignored
from plugins.lib.launch.code_imports import imported
from plugins.lib.launch.code_patterns import Patterns
from plugins.lib.local_run import find_entry
from plugins.lib.packaging import KEY_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kagg import Context

MAX_FILES = 8_000  # each takes about 110 bytes of the script, which Kaggle limits to 1 MB
MAX_BYTES = 250_000_000  # ours: code is smaller, and data belongs into a dataset of its own
MAX_ENTRIES = 200_000  # looked at, beside a script, for what --include means
MAX_NAME_BYTES, MAX_PART_BYTES = 1024, 255  # ours; NAME_MAX of Linux
SHOWN = 8
HISTORY = frozenset({".git", ".hg", ".svn"})
CACHES = frozenset(
    (
        *("__pycache__", ".ipynb_checkpoints", "node_modules", ".venv", "venv", ".tox", ".nox", ".eggs"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".cache", ".virtual_documents"),
        *(".idea", ".vscode", "kaggle_results"),
    )
)
CACHED = ("*.pyc", "*.pyo", "*.egg-info", ".DS_Store", "Thumbs.db", "desktop.ini")
NOT_SENT = frozenset({"kernel-metadata.json", "session_started.json", "session_summary.json"})  # at the top
KEYS = (*KEY_FILES, ".netrc", "_netrc", ".pypirc", ".git-credentials", ".pgpass", ".htpasswd", "access_token")
KEY_FOLDERS = frozenset({".ssh", ".aws", ".gnupg", ".kaggle", ".kagg"})
PUBLIC = (".env.example", ".env.sample", ".env.template", "id_*.pub")


def collected(
    ctx: Context, path: Path, entry: str | None, include: Sequence[str], exclude: Sequence[str]
) -> tuple[dict[str, Path], str]:
    """Return the files by their POSIX paths and the name of the one that runs; see code.collect."""
    if path.is_dir():
        return _of_folder(ctx, path, entry, include, exclude)
    if entry is not None:
        raise bad_input("--entry is for a folder", f"{path} is none")
    return _of_file(ctx, find_entry(path), include, exclude)


def _of_folder(
    ctx: Context, folder: Path, entry: str | None, include: Sequence[str], exclude: Sequence[str]
) -> tuple[dict[str, Path], str]:
    """Collect everything below a folder that is neither ignored nor left out."""
    main = find_entry(folder) if entry is None else _entry(folder, entry)
    name = main.relative_to(folder).as_posix()
    walker = _Walker(ctx, folder, Patterns("--include", include, folder), Patterns("--exclude", exclude, folder))
    if walker.exclude.match(name):
        raise bad_input(f"--exclude takes out {name}, which is to run", "exclude less, or name another --entry")
    walker.take_folder()
    if name not in walker.files:
        walker.take_file(name, main)
    return walker.done(), name


def _entry(folder: Path, entry: str) -> Path:
    """Return the file that --entry names.

    Raises:
        KaggError: USAGE when it is not one to run, INTEGRITY when it lies outside.
    """
    found = Path(os.path.normpath(safe_path(folder, entry.removeprefix("./"))))
    if not found.is_file():
        raise bad_input(f"--entry {entry}: {folder} has no such file", "name it relative to the folder")
    if found.suffix not in (".py", ".ipynb"):
        raise bad_input(f"--entry {entry} is neither a notebook nor a Python script")
    return folder / found.relative_to(os.path.normpath(folder))


def _of_file(ctx: Context, path: Path, include: Sequence[str], exclude: Sequence[str]) -> tuple[dict[str, Path], str]:
    """Collect a script or notebook, the modules that it imports, its requirements, and what --include says."""
    folder, name = path.parent, path.name
    walker = _Walker(ctx, folder, Patterns("--include", include, folder), Patterns("--exclude", exclude, folder))
    if walker.exclude.match(name):
        raise bad_input(f"--exclude takes out {name}, which is to run", "exclude less")
    check_name(name)
    walker.files[name] = path
    found = imported(folder, path)
    for module, place in found.files.items():
        if module not in walker.files and not walker.exclude.match(module):
            walker.take_file(module, place)
    if include:
        walker.take_folder(all_files=False)
    for note in found.notes(walker.files):
        ctx.say(note)
    return walker.done(), name


def check_name(name: str) -> None:
    """Refuse names that a file in the session cannot have.

    Raises:
        KaggError: USAGE.
    """
    parts = name.split("/")
    bad = re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", name) or any(part in ("", ".", "..") for part in parts)
    sizes = [len(part.encode("utf-8", "replace")) for part in parts]
    if bad or max(sizes) > MAX_PART_BYTES or sum(sizes) + len(sizes) > MAX_NAME_BYTES:
        shown = ascii(name[:120])
        raise bad_input(f"{shown} cannot be a file's name on Kaggle", "rename it, or leave it out with --exclude")


class _Place(NamedTuple):
    """A folder on the walk: its name below the top, where it really is, the folders above it, and what counts."""

    name: str
    path: Path
    above: frozenset[str]
    wanted: bool  # False: only what --include means


class _Walker:
    """Collects the files below one folder."""

    def __init__(self, ctx: Context, folder: Path, include: Patterns, exclude: Patterns) -> None:
        self.ctx, self.folder, self.include, self.exclude = ctx, folder, include, exclude
        self.top = os.path.realpath(folder)
        self.files: dict[str, Path] = {}
        self.keys: list[str] = []
        self.broken: list[str] = []
        self.ignored: set[str] = set()
        self.size_bytes = self.looked = 0

    # ------------------------------------------------------------ the walk

    def take_folder(self, *, all_files: bool = True) -> None:
        """Walk the folder; without `all_files` only for what --include means."""
        waiting = [_Place("", Path(self.top), frozenset(), all_files)]
        while waiting:
            place = waiting.pop()
            real = os.path.realpath(place.path)
            if real in place.above:
                hint = f"leave it out: --exclude {place.name}"
                raise bad_input(f"{place.name} is a link to a folder that it is in", hint)
            with self._entries(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            if place.wanted and (not place.name or any(entry.name == ".git" for entry in found)):
                self._ask_git(place)
            for entry in found:
                waiting += self._look(place, entry, place.above | {real})

    def _entries(self, place: _Place) -> os._ScandirIterator[str]:
        try:
            return os.scandir(place.path)
        except OSError as error:
            shown = place.name or self.folder
            raise bad_input(f"cannot read {shown}: {error.strerror}", "leave it out with --exclude") from error

    def _ask_git(self, place: _Place) -> None:
        prefix = f"{place.name}/" if place.name else ""
        self.ignored |= {prefix + name for name in ignored(self.ctx, place.path)}

    def _look(self, place: _Place, entry: os.DirEntry[str], above: frozenset[str]) -> list[_Place]:
        """Take an entry when it is a file to send; return it when it is a folder to look into."""
        name = f"{place.name}/{entry.name}" if place.name else entry.name
        self.looked += 1
        if self.looked > MAX_ENTRIES:
            hint = "name the files themselves with --include, or leave folders out with --exclude"
            raise bad_input(f"{self.folder} holds more than {MAX_ENTRIES} files, too many to look through", hint)
        if self.exclude.match(name) or entry.name in HISTORY:
            return []
        path = Path(entry.path)
        if path.is_dir():
            return self._folder(place, name, path, above)
        if self._is_left_out(name) and not self.include.names(name, exactly=True):
            return []
        if self.include.match(name) or (place.wanted and name not in self.ignored):
            self.take_file(name, path)
        return []

    def _folder(self, place: _Place, name: str, path: Path, above: frozenset[str]) -> list[_Place]:
        cache = self._is_cache(path)
        if cache and not self.include.names(name):
            return []
        wanted = place.wanted and not cache and name not in self.ignored and name + "/" not in self.ignored
        if not wanted and not self.include.reach(name):
            return []
        if path.is_symlink() and (wanted or self.include.match(name)):
            self._check_inside(name, path)
        elif path.is_symlink():
            return []
        return [_Place(name, path, above, wanted)]

    def _is_cache(self, path: Path) -> bool:
        """Tell whether a folder is made by tools, keeps keys, or is the result of an earlier run."""
        name = path.name.lower()
        if name in CACHES or name in KEY_FOLDERS or fnmatch.fnmatchcase(name, "*.egg-info"):
            return True
        return (path / "pyvenv.cfg").exists() or ((path / "result.json").exists() and (path / "log.jsonl").exists())

    def _is_left_out(self, name: str) -> bool:
        last = name.rpartition("/")[2]
        return name in NOT_SENT or any(fnmatch.fnmatchcase(last, pattern) for pattern in CACHED)

    # ------------------------------------------------------------ one file

    def take_file(self, name: str, path: Path) -> None:
        """Take a file, unless it keeps keys and nobody called it by its name.

        Raises:
            KaggError: USAGE when it is no plain file, leads out of the folder, or is too much.
        """
        if name in self.files:
            return
        real = Path(os.path.realpath(path))
        if not real.exists():
            self.broken.append(name)
            return
        if path.is_symlink() or not real.is_relative_to(self.top):
            self._check_inside(name, path)
        keys = is_key(path.name) or is_key(real.name) or HISTORY & set(real.parts[len(Path(self.top).parts) :])
        if keys and not self.include.names(name, exactly=True):
            self.keys.append(name)
            return
        check_name(name)
        status = real.stat()
        if not stat.S_ISREG(status.st_mode):
            raise bad_input(f"{name} is no plain file and cannot be sent", f"leave it out: --exclude {name}")
        self.files[name] = real
        self.size_bytes += status.st_size
        if len(self.files) > MAX_FILES:
            raise bad_input(f"{self.folder} has more than {MAX_FILES} files to send", _TOO_MUCH)

    def _check_inside(self, name: str, path: Path) -> None:
        real = os.path.realpath(path)
        if not Path(real).is_relative_to(self.top):
            hint = f"copy it into the folder, or leave it out: --exclude {name}"
            raise bad_input(f"{name} is a link that leads out of {self.folder}, to {real}", hint)

    def done(self) -> dict[str, Path]:
        """Return the files, and say what is left out.

        Raises:
            KaggError: USAGE when they are too large, or --include means nothing.
        """
        for text in self.include.unused():
            hint = f"patterns are relative to {self.folder}, and --exclude comes first"
            raise bad_input(f"--include {text!r} is no file of {self.folder}", hint)
        for text in self.exclude.unused():
            self.ctx.say(f"note: --exclude {text!r} is no file of {self.folder}")
        if self.keys:
            hint = "to send one, name it with --include"
            self.ctx.say(f"left out, they may hold credentials: {_some(sorted(self.keys))} ({hint})")
        if self.broken:
            self.ctx.say(f"left out, links that lead nowhere: {_some(sorted(self.broken))}")
        if self.ignored:
            self.ctx.say(f"left out, git ignores them: {_some(sorted(self.ignored))}", 1)
        if self.size_bytes > MAX_BYTES:
            sizes = {name: path.stat().st_size for name, path in self.files.items()}
            total = size_words(self.size_bytes)
            raise bad_input(
                f"{self.folder} has {total} to send, {size_words(MAX_BYTES)} at most: {largest(sizes)}", _TOO_MUCH
            )
        return self.files


_TOO_MUCH = "leave data out with --exclude and attach it as a dataset (--dataset), or name the script itself"


def is_key(name: str) -> bool:
    """Tell from a file's name whether it is made to hold credentials."""
    low = name.lower()
    if any(fnmatch.fnmatchcase(low, pattern) for pattern in PUBLIC):
        return False
    return any(fnmatch.fnmatchcase(low, pattern) for pattern in KEYS)


def largest(sizes: dict[str, int]) -> str:
    """Return the largest files with their sizes, for people."""
    names = sorted(sizes, key=lambda name: (-sizes[name], name))[:3]
    return ", ".join(f"{name} {size_words(sizes[name])}" for name in names)


def _some(names: list[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1] for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
