"""Copy checkpoints from the scratch folders, which are lost with the session, into the working folder."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from plugins.lib.launch.in_session_base import say
from plugins.lib.launch.in_session_files import WORKING, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMP = Path("/kaggle/temp")
CHECKPOINTS = "checkpoints"
LARGEST_BYTES = 8 * 1024**3  # of all copies together; the working folder holds 20 GB
SPARE_BYTES = 64 * 1024**2  # stay free on the disk
BUSY_SHARE = 10  # copying may take a tenth of the time

Stamp = tuple[int, int, int]  # device's inode, size in bytes, mtime in ns


class Checkpoints:
    """A thread that copies files matching `patterns` below the scratch folders once they no longer change."""

    def __init__(self, scratch: Path, own: Path, patterns: list[str], every_s: float) -> None:
        self.roots = [scratch, *([TEMP] if TEMP.is_dir() else [])]
        self.own, self.patterns, self.every_s = own, patterns, every_s
        self.began = time.time()
        self.seen: dict[Path, Stamp] = {}
        self.copied: dict[Path, Stamp] = {}
        self.targets: dict[Path, Path] = {}  # by source
        self.refused: set[Path] = set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        if self.patterns:
            self.thread.start()

    def finish(self) -> None:
        """Stop watching and copy what is left; call it when nobody writes any more."""
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()
        for source, stamp in self._matching():
            self._copy(source, stamp)

    def _watch(self) -> None:
        pause_s = self.every_s
        while not self.over.wait(pause_s):
            began_s = time.monotonic()
            for source, stamp in self._matching():
                if self.seen.get(source) == stamp and not self.over.is_set():
                    self._copy(source, stamp)
                self.seen[source] = stamp
            pause_s = max(self.every_s, BUSY_SHARE * (time.monotonic() - began_s))

    def _matching(self) -> Iterator[tuple[Path, Stamp]]:
        """Yield new files and their stamps; hidden folders are caches, older files were unpacked, not written."""
        for root in self.roots if self.patterns else []:
            for folder, folders, names in os.walk(root):
                here = Path(folder)
                folders[:] = sorted(name for name in folders if name[0] != "." and here / name != self.own)
                for name in sorted(names):
                    stamp = self._stamp(here / name) if self._matches(root, here / name) else None
                    if stamp and self.copied.get(here / name) != stamp:
                        yield here / name, stamp

    def _matches(self, root: Path, path: Path) -> bool:
        """Hold a file against the patterns: its name, or its path below the root."""
        place = path.relative_to(root).as_posix()
        return any(fnmatch.fnmatchcase(path.name, one) or fnmatch.fnmatchcase(place, one) for one in self.patterns)

    def _stamp(self, path: Path) -> Stamp | None:
        """Return what changes when a file does; None for links, empty files and files from before the run."""
        try:
            found = path.lstat()
        except OSError:
            return None
        is_new = path.is_file() and not path.is_symlink() and found.st_size and found.st_mtime >= self.began - 1
        return (found.st_ino, found.st_size, found.st_mtime_ns) if is_new else None

    def _target(self, source: Path) -> Path:
        """Return where a copy goes: the same place for every version of a file, and for no other file."""
        if source not in self.targets:
            root = next(root for root in self.roots if source.is_relative_to(root))
            place = source.relative_to(root)
            wanted = WORKING / CHECKPOINTS / place
            taken = wanted in self.targets.values()
            self.targets[source] = WORKING / CHECKPOINTS / "temp" / place if taken else wanted
        return self.targets[source]

    def _make_room(self, source: Path, size_bytes: int) -> bool:
        """Give up copies that the program itself has given up, the oldest first; say once when that is not enough."""
        sizes = {path: stamp[1] for path, stamp in self.copied.items() if path != source}
        gone = [path for path in sizes if not path.exists()]
        lack = max(
            sum(sizes.values()) + size_bytes - LARGEST_BYTES,
            size_bytes + SPARE_BYTES - shutil.disk_usage(WORKING).free,
        )
        if lack > sum(sizes[path] for path in gone):
            if source not in self.refused:
                self.refused.add(source)
                say(f"no room for a copy of {source} ({size_bytes} bytes) in {WORKING / CHECKPOINTS}")
            return False
        while lack > 0:
            old = gone.pop(0)
            lack -= sizes[old]
            remove(self.targets[old])
            del self.copied[old]
        return True

    def _copy(self, source: Path, stamp: Stamp) -> None:
        """Copy one file; a reader sees the old copy or the new one. A copy of a file that changed is dropped."""
        target = self._target(source)
        part = target.with_name(f".{target.name}.part")
        try:
            if not self._make_room(source, stamp[1]):
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, part)
            if self._stamp(source) == stamp and part.stat().st_size == stamp[1]:
                part.replace(target)
                self.copied[source] = stamp
        except OSError as error:
            if source not in self.refused:
                self.refused.add(source)
                say(f"{source} was not copied: {error.strerror or error}")
        finally:
            with contextlib.suppress(OSError):
                remove(part)
